// Formats numbers and names as the other views of bwtop do.

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const DECIMAL = ["bit", "kbit", "Mbit", "Gbit", "Tbit", "Pbit", "Ebit"];

function scaled(amount, base, units) {
  let unit = 0;
  let left = amount;
  while (Math.abs(left) >= base && unit < units.length - 1) {
    left /= base;
    unit += 1;
  }
  return `${unit ? tenths(left) : Math.trunc(left)} ${units[unit]}`;
}

// Formats with one decimal digit; ties round to even, as elsewhere in bwtop.
function tenths(number) {
  const isBetween = (number * 20) % 2 === 1 && (number * 4) % 1 === 0;
  return isBetween ? ((2 * Math.round(number * 5)) / 10).toFixed(1) : number.toFixed(1);
}

// Formats bytes with a binary prefix: "1.2 MiB".
export function size(bytes) {
  return scaled(bytes, 1024, BINARY);
}

// Formats a rate: bytes per second, or bits per second with a decimal prefix, the unit of network links.
export function rate(perSecond, units) {
  const bits = Number((perSecond * 8).toPrecision(4)); // avoids "1000.0 kbit/s"
  return `${units === "bits" ? scaled(bits, 1000, DECIMAL) : size(perSecond)}/s`;
}

// Makes text from outside printable: controls, bidi marks and line separators become visible escapes.
export function plain(text) {
  return String(text).replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu, (character) => {
    const code = character.codePointAt(0).toString(16);
    if (code.length <= 2) return `\\x${code.padStart(2, "0")}`;
    return code.length <= 4 ? `\\u${code.padStart(4, "0")}` : `\\U${code.padStart(8, "0")}`;
  });
}

// Formats a remote as "to HOST:PORT tcp", or for a server "from HOST on :PORT tcp".
export function remote(row, name = row.host) {
  const host = plain(name ?? row.addr);
  if (row.role === "server") return `from ${host} on :${row.port} ${row.proto}`;
  const port = row.port ? `:${row.port}` : "";
  return `to ${port && host.includes(":") ? `[${host}]` : host}${port} ${row.proto}`;
}

// Formats the name of a process as lists show it.
export function process(row) {
  return row.kernel ? `[${plain(row.name)}]` : plain(row.name);
}

export function user(row) {
  return row.user === null || row.user === undefined ? (row.uid ?? "-") : plain(row.user);
}

// Formats a time in the server's time zone: browsers in any time zone show the same.  `twice` has times as repeated() does.
export function minute(iso, twice) {
  const text = iso.slice(0, 16).replace("T", " ");
  return twice?.has(text) ? `${text} ${iso.slice(19)}` : text;
}

// Returns the formatted times that have several UTC offsets among the given ones, as where clocks go back.
export function repeated(times) {
  const found = new Set(times.map((iso) => `${minute(iso)} ${iso.slice(19)}`));
  const texts = [...found].map((text) => minute(text));
  return new Set(texts.filter((text, index) => texts.indexOf(text) < index));
}
