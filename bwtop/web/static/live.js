// The live view: a stream of intervals, as a chart and a table.

import { byId, setText } from "./dom.js";
import { plain, process, rate, remote, size, user } from "./format.js";
import { beyond, isFiltered, scope } from "./state.js";

const SLOTS = 120; // places in the chart, each as long as a usual interval
const GAP = 1.5; // usual intervals from one to the next beyond which there is a gap
const TOP = 5; // processes with a colour of their own
const TICK = 20; // places between marks of the time axis; twice that on a narrow page
const NARROW = 480; // pixels
const EACH = 200; // remotes listed per process
const RETRY = 2000; // milliseconds
const SLACK = 4000; // milliseconds after the end of an interval until its data is stale
const SORT = "rate"; // default

const COLUMNS = [
  { id: "name", title: "process", className: "process-column", text: true, value: (row) => row.name.toLowerCase() },
  { id: "user", title: "user", className: "user-column", text: true, value: (row) => String(user(row)).toLowerCase() },
  { id: "rx_rate", title: "↓ /s", className: "number-column number", value: (row) => row.rx_rate },
  { id: "tx_rate", title: "↑ /s", className: "number-column number", value: (row) => row.tx_rate },
  { id: "rate", title: "both /s", className: "number-column number low", value: (row) => row.rx_rate + row.tx_rate },
  { id: "rx_total", title: "↓ total", className: "number-column number low", value: (row) => row.rx_total },
  { id: "tx_total", title: "↑ total", className: "number-column number low", value: (row) => row.tx_total },
];

const keyOf = (row) => [row.pid, row.start, row.exec, row.name].join("@"); // a process that calls exec has a row for each program

export class Live {
  // `page` is that of main.js.
  constructor(page) {
    this.page = page;
    this.points = [];
    this.names = new Map();
    this.colours = new Map();
    this.paused = false;
    this.age = 0; // seconds since the end of the interval that a stream begins with
    byId("pause").addEventListener("click", () => this.pause(!this.paused));
    document.addEventListener("visibilitychange", () => this.seen(!document.hidden));
    setInterval(() => this.look(), 1000);
  }

  // A browser has few connections per host: a hidden page closes its stream.
  seen(isSeen) {
    if (this.page.state.view !== "live" || this.paused) return;
    if (isSeen) this.open(true);
    else this.close();
  }

  // Shows the current state.
  show() {
    const { state } = this.page;
    setText(byId("caption"), "processes and their remotes");
    const shown = scope(state).toString();
    if (shown !== this.scope) {
      this.forget();
      this.mark(false); // no rows of another scope are held
    }
    this.scope = shown;
    this.page.table.head(COLUMNS.map((column) => ({
      ...column, sortable: true, help: this.help(column.id), sort: this.direction(column),
    })));
    this.links();
    const wanted = this.query(state).toString();
    if (!this.paused && (wanted !== this.wanted || !this.isOpen())) this.open(!this.isOpen() || !this.points.length);
    else if (this.last) this.draw();
  }

  hide() {
    this.close();
    this.mark(false);
    this.forget();
  }

  // Discards data of an old query.
  forget() {
    this.points = [];
    this.last = undefined;
    this.page.blank();
    document.body.classList.remove("stale");
    document.title = "bwtop";
  }

  help(id) {
    return this.page.about.columns.find((column) => column.id === id)?.help;
  }

  // The sort direction of a column.
  direction(column) {
    const sort = this.order();
    if (sort.replace("-", "") !== column.id) return "none";
    return sort.startsWith("-") === Boolean(column.text) ? "descending" : "ascending";
  }

  // The column that sorts the rows, with `-` before it if reversed.
  order() {
    return this.page.state.sort || SORT;
  }

  sort(id) {
    const before = this.order();
    this.page.change({ sort: before === id ? `-${id}` : id === SORT ? "" : id });
  }

  query(state) {
    const said = scope(state);
    if (state.sort) said.set("sort", state.sort);
    said.set("idle", "show");
    said.set("limit", beyond(state));
    said.set("each", EACH);
    const pids = state.open.map((key) => key.split("@")[0]).filter((pid) => /^[0-9]{1,10}$/.test(pid));
    said.set("remotes", pids.length ? [...new Set(pids)].join(",") : "none");
    return said;
  }

  // Pause: the page keeps the interval.  All of its processes with their remotes are loaded once, for browsing.

  pause(paused) {
    this.mark(paused);
    if (!paused) {
      this.open(true);
      return;
    }
    this.close();
    this.page.say("paused", false);
    if (this.last) this.draw();
    this.hold();
  }

  mark(paused) {
    this.paused = paused;
    byId("exports").hidden = paused; // they would show a later interval
    byId("pause").classList.toggle("paused", paused);
    setText(byId("pause"), paused ? "Resume" : "Pause"); // no aria-pressed beside a label that changes
  }

  // Loads the rest of the shown interval.  A later one is of no use: its numbers are not those of then.
  async hold() {
    const query = this.query(this.page.state);
    query.delete("limit");
    query.set("remotes", "all");
    this.held = query;
    this.isPart = false;
    const { found, why } = await this.ask(query);
    if (!this.paused || this.held !== query) return;
    if (found && (!this.last || this.last.time === found.time)) this.last = found;
    else this.part(why);
    if (this.last) this.draw();
  }

  async ask(query) {
    try {
      const answer = await fetch(`api/v1/live?${query}`);
      const found = await answer.json();
      return answer.ok ? { found } : { why: found.error };
    } catch {
      return { why: "not connected" };
    }
  }

  // Says what of the interval is missing.
  part(why) {
    const rows = this.last?.processes ?? [];
    this.isPart = rows.length > Number(this.page.state.limit) || rows.some((row) => row.remote_count === null);
    const words = ["paused", this.isPart && "only the rows shown are held", why].filter(Boolean);
    this.page.say(words.join("; "), words.length > 1);
  }

  // Stream.

  isOpen() {
    return this.source !== undefined && this.source.readyState !== EventSource.CLOSED;
  }

  close() {
    this.source?.close();
    this.source = undefined;
    clearTimeout(this.retry);
    document.title = "bwtop"; // rates there would be stale
  }

  open(past) {
    this.close();
    const query = this.query(this.page.state);
    this.wanted = query.toString();
    this.asked = this.order();
    if (document.hidden) return;
    if (past) query.set("past", "show");
    const source = new EventSource(`api/v1/stream?${query}`);
    this.source = source;
    source.addEventListener("past", (event) => this.takePast(JSON.parse(event.data), Number(event.lastEventId)));
    source.addEventListener("status", (event) => this.takeStatus(JSON.parse(event.data)));
    source.addEventListener("age", (event) => { this.age = Number(event.data); });
    source.addEventListener("interval", (event) => this.take(JSON.parse(event.data), Number(event.lastEventId)));
    source.addEventListener("error", () => this.broken(source));
  }

  // Reopens a broken stream, with the missed intervals.  The browser hides why a stream was refused.
  async broken(source) {
    if (source !== this.source) return;
    const isRefused = source.readyState === EventSource.CLOSED;
    source.close();
    document.title = "bwtop";
    const { why, isMistake } = isRefused ? await this.refusal() : { why: "connection lost" };
    if (source !== this.source) return;
    if (isMistake) {
      this.forget();
      this.page.say("", false);
      this.page.complain(why);
      return;
    }
    this.page.say(`${why}; trying again`, true);
    this.retry = setTimeout(() => this.open(true), RETRY);
  }

  // Returns why the stream was refused, and whether retrying is useless.
  async refusal() {
    try {
      const answer = await fetch(`api/v1/live?${this.query(this.page.state)}`);
      if (answer.ok) return { why: "too many pages are open" };
      return { why: (await answer.json()).error, isMistake: answer.status === 400 };
    } catch {
      return { why: "not connected" };
    }
  }

  takePast(past, number) {
    const first = number - past.points.length + 1;
    this.points = past.points.map((point, index) => ({
      number: first + index, time: Date.parse(point.time), seconds: point.interval, rx: point.rx_rate, tx: point.tx_rate, by: new Map(),
    }));
    for (const one of past.processes) {
      const key = keyOf(one);
      this.names.set(key, `${process(one)} (${one.pid})`);
      one.rates.forEach((rates, index) => {
        if (rates.rx_rate || rates.tx_rate) this.points[index]?.by.set(key, [rates.rx_rate, rates.tx_rate]);
      });
    }
  }

  takeStatus(status) {
    this.status = status;
    this.tell();
  }

  take(found, number) {
    this.at = performance.now() - 1000 * this.age;
    this.age = 0;
    this.page.complain("");
    this.last = found;
    this.answered = this.asked;
    const by = new Map();
    for (const row of [...found.processes, ...found.busiest]) { // in some orders the busiest are not listed
      if (!row.rx_rate && !row.tx_rate) continue;
      by.set(keyOf(row), [row.rx_rate, row.tx_rate]);
      this.names.set(keyOf(row), `${process(row)} (${row.pid})`);
    }
    const time = Date.parse(found.time);
    const seconds = found.interval;
    const point = { number, time, seconds, rx: found.total.rx / seconds, tx: found.total.tx / seconds, by };
    this.points = this.points.filter((other) => other.number < number && other.number > number - SLOTS);
    this.points.push(point);
    this.tell();
    this.draw();
    this.look();
  }

  // True if the last interval is held, or the one after it is overdue.
  isPast() {
    return this.paused || performance.now() - this.at > this.last.interval * 1000 + SLACK;
  }

  // Marks data as stale when intervals stop.
  look() {
    if (this.paused || !this.source || !this.last || !this.isPast()) return;
    if (!document.body.classList.contains("stale")) this.draw();
    if (this.isOpen() && !this.status?.warning) this.page.say("stale: no new intervals", true);
  }

  tell() {
    const { status } = this;
    if (!status) return;
    const how = { measuring: `measuring (${status.backend}), `, following: "", waiting: "" }[status.state];
    this.page.say(status.warning || `${how}${status.history}`, Boolean(status.warning));
    this.page.note([...status.degradations, ...(this.last?.notes ?? [])]);
    if (status.state === "waiting" && !this.last) this.page.empty(status.warning);
  }

  links() {
    const said = this.query(this.page.state);
    for (const name of ["limit", "each", "remotes"]) said.delete(name);
    byId("csv").href = `api/v1/live.csv?${said}`;
    byId("csv").download = "bwtop-live.csv";
    byId("json").href = `api/v1/live?${said}`;
    byId("json").download = "bwtop-live.json";
  }

  // Drawing.

  draw() {
    const { state } = this.page;
    const { total, interval, processes } = this.last;
    const down = rate(total.rx / interval, state.units);
    const up = rate(total.tx / interval, state.units);
    const isPast = this.isPast();
    document.body.classList.toggle("stale", isPast && !this.paused);
    document.title = isPast ? "bwtop" : `↓ ${down} ↑ ${up} – bwtop`;
    this.page.head(isPast ? "Then" : "Now", [["rx", `↓ ${down}`], ["tx", `↑ ${up}`], ...this.networks()]);
    const open = new Set(state.open);
    const shown = this.inOrder(processes).slice(0, Number(state.limit));
    const order = this.paused ? this.order() : this.answered;
    this.page.table.body(shown.flatMap((row) => this.rows(row, open)), { order });
    const nothing = isFiltered(state) ? "no traffic matches the filter" : "no traffic yet";
    this.page.empty(shown.length ? "" : nothing);
    this.page.more(processes.length > shown.length);
    this.drawGraph();
  }

  // Rates by network, as parts of the summary: internet first.
  networks() {
    const { interval, networks } = this.last;
    const units = this.page.state.units;
    const names = new Set(["internet", "lan", "loopback", ...Object.keys(networks)]);
    return [...names].map((name) => {
      const { rx, tx } = networks[name] ?? { rx: 0, tx: 0 };
      return ["", `${name} ↓ ${rate(rx / interval, units)} ↑ ${rate(tx / interval, units)}`];
    });
  }

  // Rows in server order; while paused, sorted here.
  inOrder(rows) {
    const sort = this.order();
    const column = COLUMNS.find((known) => known.id === sort.replace("-", ""));
    if (!this.paused || !column) return rows;
    const sign = sort.startsWith("-") ? -1 : 1;
    const compare = column.text
      ? (one, other) => (column.value(one) < column.value(other) ? -1 : column.value(one) > column.value(other) ? 1 : 0)
      : (one, other) => column.value(other) - column.value(one);
    return [...rows].sort((one, other) => sign * compare(one, other));
  }

  rows(row, open) {
    const key = keyOf(row);
    const top = {
      key,
      name: process(row),
      more: row.exited ? `${row.pid} exited` : row.pid || "",
      title: [row.exe, row.cmdline, row.unit, row.container_name, row.container, row.image].filter(Boolean).map(plain).join("\n"),
      className: row.exited ? "dim" : "",
      open: open.has(key),
      cells: this.cells(row, user(row)),
    };
    if (!top.open) return [top];
    const below = row.remotes.map((each) => ({
      key: `${key} ${each.proto} ${each.role} ${each.addr} ${each.port}`,
      parent: key,
      name: remote(each, each.name),
      title: each.name_source ? `${each.addr} (name: ${each.name_source})` : each.addr,
      className: "child",
      cells: this.cells(each, ""),
    }));
    const left = (row.remote_count ?? 0) - below.length;
    const isMissing = this.paused && this.isPart && row.remote_count === null;
    const rest = isMissing ? "its remotes are not held" : left > 0 && `and ${left} more`;
    if (rest) below.push({ key: `${key} more`, parent: key, name: rest, className: "child", cells: [] });
    return [top, ...below];
  }

  cells(row, who) {
    const { units } = this.page.state;
    return [
      { text: who },
      { text: rate(row.rx_rate, units) },
      { text: rate(row.tx_rate, units) },
      { text: rate(row.rx_rate + row.tx_rate, units) },
      { text: size(row.rx_total) },
      { text: size(row.tx_total) },
    ];
  }

  drawGraph() {
    const now = this.points.at(-1);
    if (!now) return;
    const usual = median(this.points.map((point) => point.seconds));
    const slots = placed(this.points, 1000 * usual);
    this.points = slots.filter(Boolean);
    const rates = (direction, of) => slots.map((point) => (point ? of(point)?.[direction] ?? 0 : null));
    const series = this.top().map((key) => ({
      name: this.names.get(key),
      colour: `series-${this.colours.get(key)}`,
      rx: rates(0, (point) => point.by.get(key)),
      tx: rates(1, (point) => point.by.get(key)),
    }));
    const rest = (direction) => slots.map((point, slot) => {
      const known = series.reduce((sum, one) => sum + one[direction][slot], 0);
      return point ? Math.max(point[direction] - known, 0) : null;
    });
    const others = { name: "others", colour: "series-other", rx: rest("rx"), tx: rest("tx") };
    const age = (index) => Math.round(slots[index] ? (now.time - slots[index].time) / 1000 : (SLOTS - 1 - index) * usual);
    const [newest, before] = this.isPast() ? ["then", "before"] : ["now", "ago"];
    const ago = (index) => (index === SLOTS - 1 ? newest : `${age(index)} s ${before}`);
    const isLong = (point) => point?.seconds > GAP * usual;
    const tick = innerWidth < NARROW ? 2 * TICK : TICK;
    this.page.graph.draw({
      labels: slots.map((point, index) => ago(index) + (isLong(point) ? `, average of ${Math.round(point.seconds)} s` : "")),
      ticks: (index) => ((SLOTS - 1 - index) % tick ? "" : index === SLOTS - 1 ? newest : `−${age(index)} s`),
      series: [...series, others],
      units: this.page.state.units,
      text: `received and sent in the last ${Math.round((now.time - this.points[0].time) / 1000 + this.last.interval)} seconds: ${newest} ${byId("summary").textContent.trim()}`,
    });
  }

  // The busiest processes; each keeps its colour.
  top() {
    const sums = new Map();
    for (const point of this.points) {
      for (const [key, [rx, tx]] of point.by) sums.set(key, (sums.get(key) ?? 0) + rx + tx);
    }
    const most = [...sums].sort((one, other) => other[1] - one[1]).slice(0, TOP).map(([key]) => key);
    for (const key of this.names.keys()) if (!sums.has(key)) this.names.delete(key);
    for (const key of this.colours.keys()) if (!most.includes(key)) this.colours.delete(key);
    const taken = new Set(this.colours.values());
    const free = [0, 1, 2, 3, 4, 5].filter((colour) => !taken.has(colour));
    for (const key of most) if (!this.colours.has(key)) this.colours.set(key, free.shift());
    return most;
  }
}

// The lower of the middle values.
function median(values) {
  return [...values].sort((one, other) => one - other)[Math.floor((values.length - 1) / 2)];
}

// The points by their place in time, the newest in the last one.  Intervals that follow each other have neighbouring
// places, though none is exactly as long as another; after a gap, the place is that of the time.
function placed(points, length) {
  const slots = Array.from({ length: SLOTS });
  const now = points.at(-1);
  let age = 0;
  let later = now;
  for (const point of [...points].reverse()) {
    if (point !== now) {
      const isNext = later.time - point.time < GAP * length;
      age = isNext ? age + 1 : Math.max(age + 2, Math.round((now.time - point.time) / length));
    }
    if (age >= SLOTS) break;
    slots[SLOTS - 1 - age] = point;
    later = point;
  }
  return slots;
}
