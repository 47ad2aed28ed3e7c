// The history view: totals over a range, as bars and a table.

import { byId, hide, lead, make, option, optionGroup, setText } from "./dom.js";
import { minute, plain, process, rate, remote, repeated, size, user } from "./format.js";
import { beyond, isFiltered, scope } from "./state.js";

const RANGES = ["today", "yesterday", "24h", "week", "last-week", "7d", "month", "last-month", "30d", "all"];
const REFRESH = 60000; // milliseconds
const RETRY = 5000; // milliseconds
const TYPING = 600; // milliseconds without a key until a date counts as complete
const EARLIEST = "1970-01-01";
const MOST = 2000; // remotes listed per process
const TIMES = ["hour", "day", "month"];

const port = (row) => (row.role === "server" ? `:${row.port} served` : row.port ? `:${row.port}` : "no port");

// The name of a row, by dimension.
const NAMES = {
  process: (row) => process(row),
  exe: (row) => plain(row.exe ?? "(unknown)"),
  user: (row) => String(user(row)),
  "process-name": (row) => plain(row.name),
  name: (row) => plain(row.remote_name),
  domain: (row) => plain(row.domain),
  unit: (row) => plain(row.container_name ?? row.container ?? row.unit ?? "(no unit)"),
  container: (row) => plain(row.container_name ?? row.container_id ?? "(no container)"),
  remote: (row) => plain(row.host ?? row.addr),
  host: (row, hosts) => hosts.label(row),
  "peer-host": (row, hosts) =>
    row.peer_host_id ? hosts.label({ hostname: row.peer_hostname, host_id: row.peer_host_id }) : "(other)",
  conversation: (row) => {
    const [client, server] = ["client", "server"].map((end) =>
      [row[`${end}_host`], row[`${end}_process`]].filter(Boolean).map(plain).join(" "));
    return `${client || "-"} → ${server || "-"} ${row.port ? `:${row.port} ` : ""}${plain(row.proto)}`;
  },
  net: (row) => plain(row.net),
  asn: (row) => plain(row.asn ?? "(unknown)"),
  country: (row) => plain(row.country ?? "(unknown)"),
  proto: (row) => plain(row.proto),
  port,
  hour: (row, _, twice) => (row.hour.includes("T") ? minute(row.hour, twice) : row.hour),
  day: (row) => row.day,
  month: (row) => row.month,
};

const MORE = {
  process: (row) => row.exe ?? "",
  remote: (row) => (row.host ? row.addr : ""),
  unit: (row) => (row.container && row.unit) || "",
  container: (row) => (row.container_name && row.runtime) || "",
};

const NUMBERS = [
  { id: "rx", title: "↓ received" },
  { id: "tx", title: "↑ sent" },
  { id: "total", title: "total" },
];

export class History {
  constructor(page) {
    this.page = page;
    this.details = new Map(); // remotes of open processes
  }

  // Fills the controls from `about`.
  prepare() {
    for (const range of RANGES) option(byId("range"), range);
    option(byId("per"), "", "—");
    for (const id of TIMES) option(byId("per"), id).title = this.help(id);
    this.groupings();
    for (const id of ["range", "by"]) {
      byId(id).addEventListener("change", (event) => this.page.change({ [id]: event.target.value, open: [] }));
    }
    byId("per").addEventListener("change", (event) => this.page.change({ per: event.target.value, open: [], sort: "" }));
    for (const id of ["from", "through"]) {
      byId(id).addEventListener("change", () => this.typed(id));
      byId(id).addEventListener("blur", () => this.left(id));
    }
    document.addEventListener("visibilitychange", () => {
      if (this.isLate && !document.hidden && this.page.state.view === "history") this.ask();
    });
  }

  help(id) {
    return this.page.about.dimensions.find((dimension) => dimension.id === id)?.help;
  }

  // Fills the groupings; `host` only for many hosts.
  groupings() {
    const ids = this.page.about.dimensions.map(({ id }) => id).filter((id) => id !== "host" && !TIMES.includes(id));
    const add = (select, id, value) => { option(select, value, value.replace(",", ", ")).title = this.help(id); };
    let select = byId("by");
    if (this.page.about.origin) {
      const each = optionGroup(select, "of each host");
      add(each, "host", "host");
      for (const id of ids) add(each, id, `host,${id}`);
      select = optionGroup(select, "of all hosts together");
    }
    for (const id of ids) add(select, id, id);
  }

  // Redraws with the names of hosts.
  named() {
    if (this.last && this.page.state.view === "history") this.draw();
  }

  show() {
    const { state } = this.page;
    this.controls(state);
    this.links(state);
    setText(byId("caption"), `traffic by ${state.by}`);
    if (this.last && this.shown === this.query(state).toString()) this.draw();
    if (this.wish(state) !== this.wanted) this.ask();
  }

  // The state that needs a new query: other parameters, or other open rows.
  wish(state) {
    return JSON.stringify([`${this.query(state)}`, [...state.open].sort()]);
  }

  hide() {
    clearTimeout(this.timer);
    clearTimeout(this.typing);
    this.asked?.abort();
    this.wanted = undefined;
    this.shown = undefined;
    document.body.classList.remove("stale");
  }

  // Controls.

  controls(state) {
    const select = byId("range");
    for (const old of [...select.options]) if (!RANGES.includes(old.value)) old.remove();
    if (!RANGES.includes(state.range)) option(select, state.range, shortened(state.range));
    select.value = state.range;
    byId("by").value = state.by;
    byId("per").value = state.per;
    const [from, through] = datesOf(state.range);
    this.dated = { from, through };
    for (const [id, date] of Object.entries(this.dated)) {
      if (document.activeElement !== byId(id)) byId(id).value = date;
    }
  }

  // Each key typed into a date field makes another date, such as one before 1970.  An incomplete date is ignored until
  // typing pauses or the field loses the focus.
  typed(id) {
    clearTimeout(this.typing);
    const [from, through] = [byId("from").value, byId("through").value];
    if (from && through && from > through) return;
    this.typing = setTimeout(() => this.dates(id), TYPING);
  }

  left(id) {
    this.dates(id);
    this.isTyped = false;
    if (this.dated) byId(id).value = this.dated[id];
  }

  // Drops dates typed on the page that Back or Forward left, also from a field that still has the focus.
  dropTyped() {
    clearTimeout(this.typing);
    this.isTyped = false;
    for (const [id, date] of Object.entries(this.dated ?? {})) byId(id).value = date;
  }

  // Sets the range to two inclusive dates; the end in its text is exclusive.  The changed date wins.
  dates(id) {
    clearTimeout(this.typing);
    const given = byId(id).value;
    if (this.page.state.view !== "history" || given < EARLIEST || given === this.dated[id]) return;
    let [from, through] = ["from", "through"].map((each) => (byId(each).value >= EARLIEST ? byId(each).value : given));
    if (through < from) from = through = given;
    const range = from === through ? from : `${from}..${moved(through, 1)}`;
    this.page.change({ range, open: [] }, { replace: this.isTyped });
    this.isTyped = document.activeElement === byId(id);
  }

  query(state, changes = {}) {
    const said = scope(state);
    said.set("range", state.range);
    if (state.host) said.set("host", state.host);
    said.set("by", state.per ? `${state.per},${state.by}` : state.by);
    if (state.sort) said.set("sort", state.sort);
    said.set("limit", beyond(state));
    for (const [name, value] of Object.entries(changes)) said.set(name, value);
    return said;
  }

  sort(id) {
    const natural = this.page.state.per ? "" : "total"; // rows by time are in its order by default
    const before = this.page.state.sort || natural;
    const isLast = before === `-${id}` && !natural;
    this.page.change({ sort: before === id ? `-${id}` : isLast || id === natural ? "" : id });
  }

  // Queries: totals, and the remotes of open processes, shown together.

  async ask() {
    const { state } = this.page;
    const query = this.query(state).toString();
    clearTimeout(this.timer);
    this.isLate = false;
    this.asked?.abort();
    const asked = new AbortController();
    this.asked = asked;
    this.wanted = this.wish(state);
    document.body.classList.toggle("stale", this.last !== undefined && this.shown !== query);
    if (this.page.about.origin && !this.last) this.page.empty("loading…"); // a server may be slow
    try {
      const { ok, status, headers, found } = await get(query, asked.signal);
      const { details, error } = ok ? await this.remotes(found, asked.signal) : found;
      document.body.classList.remove("stale");
      this.page.complain(error ?? "");
      if (ok) this.take(found, details, query);
      else if (status === 400 || this.shown !== query) this.blank();
      if (status === 400) return;
      const seconds = Number(headers.get("Retry-After"));
      this.again(seconds ? seconds * 1000 : REFRESH);
    } catch {
      if (asked.signal.aborted) return;
      this.page.say("not connected; trying again", true);
      this.again(RETRY);
    }
  }

  // Asks again after a delay; a hidden page waits until it is visible.
  again(milliseconds) {
    this.timer = setTimeout(() => {
      this.isLate = document.hidden;
      if (!this.isLate) this.ask();
    }, milliseconds);
  }

  take(found, details, query) {
    this.last = found;
    this.details = details;
    this.shown = query;
    const times = [...found.bars.map((bar) => bar.label), ...found.rows.map((row) => row.hour ?? "")];
    this.twice = repeated([found.from, found.to, ...times]);
    this.tell();
    this.draw();
    if (this.page.about.origin) this.page.hosts.look();
  }

  blank() {
    this.last = undefined;
    this.page.blank();
    this.page.say("", false);
    byId("bars").tBodies[0].replaceChildren();
    this.barred = undefined;
  }

  tell() {
    this.page.say(this.last.recorded ? "" : `${this.missing()} from ${this.span()}`, !this.last.recorded);
    this.page.note(this.last.notes);
  }

  span() {
    return `${minute(this.last.from, this.twice)} to ${minute(this.last.to, this.twice)}`;
  }

  // The reason for an empty view.
  missing() {
    return this.page.state.host ? "no matching host has recorded data" : "no data is recorded";
  }

  links(state) {
    const query = this.query(state);
    query.delete("limit");
    byId("csv").href = `api/v1/export.csv?${query}`;
    byId("json").href = `api/v1/export.json?${query}`;
    for (const id of ["csv", "json"]) byId(id).download = "";
  }

  // Returns the remotes of open processes by key, and the first error.
  async remotes(found, signal) {
    if (!isOfProcesses(found)) return { details: new Map() };
    const open = found.rows.filter((row) => this.page.state.open.includes(keyOf(row)));
    const answers = await Promise.all(open.map((row) => get(this.detail(row), signal)));
    const same = (row) => (other) => ["name", "exe", "uid", "kernel"].every((field) => other[field] === row[field]);
    const details = new Map(); // without refused ones: their remotes are unknown
    open.forEach((row, index) => {
      if (answers[index].ok) details.set(keyOf(row), answers[index].found.rows.filter(same(row)));
    });
    return { details, error: answers.find((answer) => !answer.ok)?.found.error };
  }

  detail(row) {
    const name = row.name.replace(/[*?[]/g, "[$&]").replace(/,/g, "?");
    const changes = { by: "process,remote,port,proto", process: name, limit: MOST };
    if (row.uid !== null) changes.user = row.uid;
    if (row.host_id) changes.host = row.host_id;
    return this.query(this.page.state, changes);
  }

  // Drawing.

  draw() {
    const { state } = this.page;
    const found = this.last;
    this.summary(found);
    this.bars(found);
    this.page.table.head(this.columns(state, found));
    const shown = found.rows.slice(0, Number(state.limit));
    this.page.table.body(shown.flatMap((row) => this.rows(row, found)));
    const nothing = isFiltered(state) ? "no traffic matches the filter" : "no traffic";
    this.page.empty(shown.length ? "" : found.recorded ? nothing : `${this.missing()} in this range`);
    this.page.more(found.rows.length > shown.length);
  }

  summary(found) {
    const { units } = this.page.state;
    const both = (rates) => `↓ ${rate(rates.rx_rate, units)} ↑ ${rate(rates.tx_rate, units)}`;
    const parts = [["rx", `↓ ${size(found.total.rx)}`], ["tx", `↑ ${size(found.total.tx)}`]];
    const say = (name, each) => {
      if (each) parts.push(["", `${name}${each.over ? ` (${each.over})` : ""} ${both(each)}`]);
    };
    const project = (each) => {
      if (each) parts.push(["", `projected by ${found.to.slice(0, 10)} ↓ ${size(each.rx)} ↑ ${size(each.tx)}`]);
    };
    for (const [name, { rx, tx }] of Object.entries(found.networks ?? {})) parts.push(["", `${name} ↓ ${size(rx)} ↑ ${size(tx)}`]);
    if (found.usage) {
      const names = found.usage.networks.join(", ");
      if (found.recorded) say(`${names}: 95th percentile`, found.usage.percentile95);
      project(found.usage.projection);
      if (found.recorded) {
        say(`${found.scope}: average`, found.average);
        say("peak", found.peak);
      }
    } else {
      if (found.recorded) {
        say("average", found.average);
        say("peak", found.peak);
        say("95th percentile", found.percentile95);
      }
      project(found.projection);
      parts.push(["", found.scope]);
    }
    const { host } = this.page.state;
    const whose = host ? `, ${this.page.hosts.called(host)}` : "";
    this.page.head(`${this.span()}${whose}`, parts);
    this.up(found);
    this.around();
  }

  // Links from part of a day to the day, and from a day to its month.
  up(found) {
    const link = byId("up");
    const hours = hoursOf(found);
    const wider = hours < 23 ? found.from.slice(0, 10) : hours <= 25 ? found.from.slice(0, 7) : "";
    hide(link, !wider);
    if (!wider) return;
    setText(link, `all of ${wider}`);
    this.lead(link, { range: wider, open: [] });
  }

  // Links from one host to all hosts, by host.
  around() {
    const { host, by } = this.page.state;
    hide(byId("all-hosts"), !host);
    this.lead(byId("all-hosts"), { host: "", by: by === "process" ? "host,process" : by, open: [] });
  }

  // Changes from all hosts to one, and to its processes.
  narrow(row) {
    const by = othersThanHost(this.page.state.by.split(",")).join(",") || "process";
    return { host: this.page.hosts.term(row), by, open: [] };
  }

  lead(link, changes) {
    lead(link, this.page.address(changes), () => this.page.change(changes));
  }

  bars(found) {
    const drill = (bar) => {
      const range = this.within(bar);
      if (range) this.page.change({ range, open: [] });
    };
    const isLong = hoursOf(found) > 26;
    this.page.graph.draw({
      labels: found.bars.map((bar) => (isLong ? this.label(bar) : this.label(bar).replace(/^\d\d-\d\d /, ""))),
      series: [{
        name: "",
        colour: "rx",
        colourSent: "tx",
        rx: found.bars.map((bar) => bar.rx),
        tx: found.bars.map((bar) => bar.tx),
      }],
      units: "sizes",
      gaps: true,
      text: `received and sent from ${this.span()}: ${byId("summary").textContent}`,
      click: (index) => drill(found.bars[index]),
    });
    const barred = JSON.stringify([found.bars, this.page.address({ range: "" })]);
    if (barred === this.barred) return; // also keeps the focus
    this.barred = barred;
    byId("bars").tBodies[0].replaceChildren(...found.bars.map((bar) => this.bar(bar, drill)));
  }

  // The range of a bar; empty for one that has no finer bars.
  within(bar) {
    const isWhole = bar.label.length <= "2026-11-01".length;
    const range = isWhole ? bar.label : `${bar.from}..${bar.to}`;
    const isShown = range === this.page.state.range || this.last.bars.length === 1;
    return isShown || (!isWhole && hoursOf(bar) < 0.4) ? "" : range; // where clocks change, an hour can have 30 minutes
  }

  // The label of a bar: its month, day, or time.
  label(bar) {
    return bar.label.includes("T") ? minute(bar.label, this.twice).slice(5) : bar.label;
  }

  bar(bar, drill) {
    const row = make("tr");
    const head = make("th");
    head.scope = "row";
    const range = this.within(bar);
    if (range) {
      const link = make("a", "", this.label(bar));
      lead(link, this.page.address({ range, open: [] }), () => drill(bar));
      head.append(link);
    } else {
      head.textContent = this.label(bar);
    }
    const text = (amount) => (bar.recorded || amount ? size(amount) : "not recorded");
    row.append(head, make("td", "number", text(bar.rx)), make("td", "number", text(bar.tx)));
    return row;
  }

  columns(state, found) {
    const sort = state.sort || (state.per ? "" : "total");
    const numbers = NUMBERS.map((column) => ({
      ...column,
      className: `number-column number${column.id === "total" ? "" : " low"}`,
      sortable: true,
      sort: sort.replace("-", "") !== column.id ? "none" : sort.startsWith("-") ? "ascending" : "descending",
    }));
    const title = namedBy(found).join(", ");
    const host = hasHostColumn(found) ? [{ id: "host", title: "host", help: this.help("host"), className: "host-column" }] : [];
    const share = `number-column number share${host.length ? " spare" : ""}`;
    return [{ id: title, title, className: "process-column" }, ...host, ...numbers, { id: "share", title: "share", className: share }];
  }

  rows(row, found) {
    const all = found.total.rx + found.total.tx;
    const key = keyOf(row);
    const open = isOfProcesses(found) ? this.page.state.open.includes(key) : undefined;
    const { hosts, about } = this.page;
    const to = row.host_id && about.origin ? this.narrow(row) : undefined;
    const wide = hasHostColumn(found);
    const host = wide ? [{ text: hosts.label(row), to, title: `${hosts.label(row)}\n${row.host_id}` }] : [];
    const top = {
      key,
      name: namedBy(found).map((by) => NAMES[by](row, hosts, this.twice)).join("  "),
      to: wide ? undefined : to,
      more: namedBy(found).map((by) => plain(MORE[by]?.(row) ?? "")).join(" "),
      title: found.by.includes("process") ? [row.exe ?? "", user(row)].map(plain).join("\n") : "",
      open,
      cells: [...host, ...cells(row, all)],
    };
    if (!open) return [top];
    const child = (name, each) => ({ key: `${key} ${keyOf(each)}`, parent: key, name, title: each.addr, className: "child", wide, cells: cells(each, all) });
    const listed = this.details.get(key);
    if (!listed) return [top];
    return [top, ...listed.map((each) => child(remote(each), each)), ...rest(row, listed).map((each) => child("others", each))];
  }
}

// Queries the API.
async function get(query, signal) {
  const answer = await fetch(`api/v1/history?${query}`, { signal });
  return { ok: answer.ok, status: answer.status, headers: answer.headers, found: await answer.json() };
}

const othersThanHost = (by) => by.filter((each) => each !== "host");

// The dimensions in the first column: hosts have a column of their own besides any other.
const namedBy = (found) => (hasHostColumn(found) ? othersThanHost(found.by) : found.by);
const hasHostColumn = (found) => found.by.length > 1 && found.by.includes("host");

// True if rows are processes, which open to their remotes.
const isOfProcesses = (found) => othersThanHost(found.by).join() === "process";

// The bytes of remotes that are not listed.
function rest(row, listed) {
  const left = (direction) => row[direction] - listed.reduce((sum, each) => sum + each[direction], 0);
  const [rx, tx] = [left("rx"), left("tx")];
  return rx >= 0 && tx >= 0 && rx + tx > 0 ? [{ rx, tx }] : [];
}

// The key of a row: its labels.
function keyOf(row) {
  return JSON.stringify(Object.entries(row).filter(([name]) => !["rx", "tx", "host"].includes(name)).map(([, value]) => value));
}

// Shortens a range for the list: no year, seconds or needless UTC offset, and its day once.
function shortened(range) {
  const twice = repeated(range.split(".."));
  const short = range.replace(/(\d{4}-)?(\d\d-\d\d)T(\d\d:\d\d)[^.]*/g, (time, _, day, clock) =>
    `${day} ${clock}${twice.has(minute(time)) ? ` ${time.slice(19)}` : ""}`);
  return short.replace(/^(\d\d-\d\d) ([^.]+)\.\.\1 /, "$1 $2–");
}

// The first and last day of a range of whole days; empty for other ranges.
function datesOf(range) {
  const days = /^(\d{4}-\d\d-\d\d)(?:\.\.(\d{4}-\d\d-\d\d))?$/.exec(range);
  if (!days || !isDate(days[1]) || !isDate(days[2] ?? days[1])) return ["", ""];
  return [days[1], days[2] ? moved(days[2], -1) : days[1]];
}

// True for a valid day.
function isDate(text) {
  const time = Date.parse(`${text}T00:00:00Z`);
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(text);
}

function cells(row, all) {
  const share = all ? (row.rx + row.tx) / all : 0;
  return [
    { text: size(row.rx) },
    { text: size(row.tx) },
    { text: size(row.rx + row.tx) },
    { text: `${(100 * share).toFixed(1)} %`, part: share },
  ];
}

const hoursOf = (span) => (Date.parse(span.to) - Date.parse(span.from)) / 3600000;

// The date `days` later.
function moved(date, days) {
  const day = new Date(`${date}T00:00:00Z`);
  day.setUTCDate(day.getUTCDate() + days);
  return day.toISOString().slice(0, 10);
}
