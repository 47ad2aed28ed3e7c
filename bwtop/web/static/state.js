// What is shown, as it stands in the address: so that a view can be bookmarked, sent, and gone back to.

const DEFAULTS = Object.freeze({
  view: "live",
  filter: "",
  proto: "tcp,udp,other",
  loopback: "show",
  units: "bytes",
  sort: "",
  limit: "100",
  range: "today",
  by: "process",
  per: "",
});

// Where many hosts' past is all there is.
const FLEET = Object.freeze({ ...DEFAULTS, view: "history", by: "host,process", host: "" });

const OPEN = 100; // rows that are open at most

const CHOICES = { view: ["live", "history"], units: ["bytes", "bits"] };

// `origin`: from where the past comes; nothing where it is this machine's.
export function defaults(origin) {
  return origin ? FLEET : DEFAULTS;
}

export function read(search, usual) {
  const given = new URLSearchParams(search);
  const state = { ...usual, open: given.getAll("open").slice(-OPEN) };
  for (const name of Object.keys(usual)) {
    const value = given.get(name);
    if (value && (!CHOICES[name] || CHOICES[name].includes(value))) state[name] = value;
  }
  if (!/^[1-9][0-9]{0,5}$/.test(state.limit)) state.limit = DEFAULTS.limit;
  if (usual === FLEET) state.view = FLEET.view;
  return state;
}

// What differs from the usual, as a query.
export function write(state, usual) {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(usual)) {
    if (state[name] !== value) said.set(name, state[name]);
  }
  for (const key of state.open) said.append("open", key);
  const text = said.toString();
  return text ? `?${text}` : "?";
}

// One row more than is shown: whether there are more.
export function beyond(state) {
  return String(Math.min(Number(state.limit) + 1, 999999));
}

// Whether anything is left out.
export function isFiltered(state) {
  return Boolean(state.host) || ["filter", "proto", "loopback"].some((name) => state[name] !== DEFAULTS[name]);
}

// Parameters of the API that both views have.
export function scope(state) {
  const said = new URLSearchParams();
  for (const name of ["filter", "proto", "loopback"]) {
    if (state[name] !== DEFAULTS[name]) said.set(name, state[name]);
  }
  return said;
}
