// The state of the page in the URL: views can be bookmarked, shared, and reached by Back.

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

// Defaults for the history of many hosts, without a live view.
const FLEET = Object.freeze({ ...DEFAULTS, view: "history", by: "host,process", host: "" });

const OPEN = 100; // maximum number of open rows

const CHOICES = { view: ["live", "history"], units: ["bytes", "bits"] };

// `origin`: the URL of the history's server; empty for the history of this machine.
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

// Formats the state as a query, without default values.
export function write(state, usual) {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(usual)) {
    if (state[name] !== value) said.set(name, state[name]);
  }
  for (const key of state.open) said.append("open", key);
  const text = said.toString();
  return text ? `?${text}` : "?";
}

// One row more than shown, to know if there are more.
export function beyond(state) {
  return String(Math.min(Number(state.limit) + 1, 999999));
}

// True if any filter is set.
export function isFiltered(state) {
  return Boolean(state.host) || ["filter", "proto", "loopback"].some((name) => state[name] !== DEFAULTS[name]);
}

// Parameters of the API for both views.
export function scope(state) {
  const said = new URLSearchParams();
  for (const name of ["filter", "proto", "loopback"]) {
    if (state[name] !== DEFAULTS[name]) said.set(name, state[name]);
  }
  return said;
}
