// The page: its state in the URL, its controls, and its two views.

import { byId, hide, make, setText } from "./dom.js";
import { Graph } from "./graph.js";
import { History } from "./history.js";
import { Hosts } from "./hosts.js";
import { Live } from "./live.js";
import { defaults, read, write } from "./state.js";
import { Table } from "./table.js";

const TYPING = 250; // milliseconds without a key until the filter is applied
const RETRY = 2000; // milliseconds
const STEP = 200; // rows added by "show more"
const LONGEST = 4000; // characters of the URL with its open rows; servers refuse 8192

class Page {
  constructor(about) {
    this.about = about;
    this.usual = defaults(about.origin);
    this.state = read(location.search, this.usual);
    this.graph = new Graph();
    this.draw();
    const act = {
      sort: (id) => this.view.sort(id),
      toggle: (key) => this.toggle(key),
      address: (changes) => this.address(changes),
      change: (changes) => this.change(changes),
    };
    this.table = new Table(byId("rows"), act);
    this.views = { live: new Live(this), history: new History(this) };
    this.views.history.prepare();
    this.hosts = new Hosts(this, () => this.views.history.named());
    if (about.origin) this.hosts.prepare();
    this.describe();
    this.wire();
    addEventListener("popstate", () => {
      this.typed(); // drop typing that belongs to the page left
      this.go(read(location.search, this.usual));
      this.views.history.dropTyped();
    });
    this.go(this.state);
  }

  get view() {
    return this.views[this.state.view];
  }

  // Changes the state and the URL.
  change(changes, { replace = false } = {}) {
    const state = { ...this.state, ...this.typed(), ...changes };
    const address = write(state, this.usual);
    if (replace) history.replaceState(null, "", address);
    else if (address !== write(this.state, this.usual)) history.pushState(null, "", address);
    this.go(state);
  }

  // Takes a filter that is typed but not applied yet.
  typed() {
    if (!this.typing) return {};
    clearTimeout(this.typing);
    this.typing = undefined;
    return { filter: byId("filter").value.trim() };
  }

  // Opens or closes a row.
  toggle(key) {
    const open = this.state.open.filter((other) => other !== key);
    if (open.length === this.state.open.length) open.push(key);
    while (open.length > 1 && this.address({ open }).length > LONGEST) open.shift();
    this.change({ open });
  }

  address(changes) {
    return write({ ...this.state, ...changes }, this.usual);
  }

  go(state) {
    if (state.view !== this.shown) {
      this.views[this.shown]?.hide();
      this.table.reset();
      this.blank();
      this.complain("");
      this.say("", false);
      hide(byId("up"), true);
    }
    this.shown = state.view;
    this.state = state;
    this.controls();
    this.view.show();
  }

  // Controls of both views.

  wire() {
    for (const view of ["live", "history"]) {
      byId(`to-${view}`).addEventListener("click", (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        if (view !== this.state.view) this.change(this.other(view));
      });
    }
    const filter = byId("filter");
    filter.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.change({}, { replace: true }), TYPING);
    });
    byId("controls").addEventListener("submit", (event) => event.preventDefault());
    byId("proto").addEventListener("change", () => this.protocols());
    for (const name of ["loopback", "units"]) {
      byId(name).addEventListener("change", (event) => this.change({ [name]: event.target.value }));
    }
    byId("more").addEventListener("click", () => this.change({ limit: String(Number(this.state.limit) + STEP) }));
    addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const filter = byId("filter");
    const typing = event.target.matches?.("input:not([type=checkbox]), textarea");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      filter.focus();
      filter.select();
    } else if (event.key === "Escape" && event.target === filter) {
      this.change({ filter: "" }, { replace: true });
    }
  }

  protocols() {
    const boxes = [...byId("proto").querySelectorAll("input")];
    const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
    if (chosen.length) this.change({ proto: chosen.join(",") });
    else this.controls(); // at least one protocol stays checked
  }

  // State changes for the other view: order, limit and open rows belong to one view.
  other(view) {
    return { view, sort: "", open: [], limit: "100" };
  }

  controls() {
    const { state } = this;
    for (const view of ["live", "history"]) {
      const link = byId(`to-${view}`);
      link.href = this.address(this.other(view));
      if (view === state.view) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
      for (const own of document.querySelectorAll(`.${view}-only`)) own.classList.toggle("unseen-view", view !== state.view);
    }
    const filter = byId("filter");
    if (filter.value.trim() !== state.filter && !this.typing) filter.value = state.filter;
    const shown = state.proto.split(",");
    for (const box of byId("proto").querySelectorAll("input")) box.checked = shown.includes(box.value);
    byId("loopback").value = state.loopback;
    byId("units").value = state.units;
    if (this.about.origin) this.hosts.controls(state);
  }

  describe() {
    const { host, origin, status, version, fields } = this.about;
    setText(byId("host"), origin ? status.history : host);
    setText(byId("version"), `bwtop ${version}`);
    for (const field of fields.filter(({ live, recorded }) => (origin ? recorded : live))) {
      byId("fields").append(make("dt", "", `${field.id}:`), make("dd", "", field.recorded ? field.help : `${field.help} (live only)`));
    }
    if (!origin) return;
    byId("views").hidden = true;
    byId("elsewhere").hidden = false;
    byId("filter").placeholder = "host:web* curl port:443";
  }

  // Loads Chart.js; rows do not wait for it.
  async draw() {
    if (this.about.chart) await import(`.${this.about.chart}`).catch(() => {});
    this.graph.use(globalThis.Chart);
    byId("no-charts").hidden = Boolean(globalThis.Chart);
  }

  // Texts of the views.

  say(text, warning) {
    const status = byId("status");
    setText(status, text);
    status.classList.toggle("warning", warning);
  }

  complain(text) {
    byId("error").hidden = !text;
    setText(byId("error"), text);
    byId("filter").setAttribute("aria-invalid", String(text.startsWith("filter:")));
    byId("on-host").setAttribute("aria-invalid", String(text.startsWith("host:")));
  }

  note(words) {
    const notes = byId("notes");
    notes.hidden = !words.length;
    if (JSON.stringify(words) === this.noted) return;
    this.noted = JSON.stringify(words);
    notes.replaceChildren(...words.map((text) => make("li", "", text)));
  }

  head(title, parts) {
    setText(byId("title"), title);
    const summary = byId("summary");
    const text = JSON.stringify(parts);
    if (text === this.summed) return;
    this.summed = text;
    const dot = (index) => (index && index < parts.length - 1 ? " ·" : ""); // within the part, which lines begin with
    summary.replaceChildren(...parts.flatMap(([className, words], index) => [make("span", className, words + dot(index)), " "]));
  }

  empty(text) {
    byId("empty").hidden = !text;
    setText(byId("empty"), text);
  }

  more(isThere) {
    hide(byId("more"), !isThere);
  }

  // Clears the page.
  blank() {
    this.table.clear();
    this.graph.clear();
    this.head("", []);
    this.note([]);
    this.empty("");
    this.more(false);
  }
}

// Starts the page as soon as bwtop answers.
async function begin() {
  let about;
  try {
    const answer = await fetch("api/v1/about");
    about = await answer.json();
    if (!answer.ok) throw new Error(about.error);
  } catch (error) {
    setText(byId("status"), `not connected (${error.message}); trying again`);
    setTimeout(begin, RETRY);
    return;
  }
  new Page(about);
}

begin();
