// Many hosts: which there are, how each is called, and the choice of some of them.

import { byId, option } from "./dom.js";
import { plain } from "./format.js";

const FRESH = 600000; // milliseconds after which it is asked again which there are

export class Hosts {
  // `page` is main.js's; `act` is told when they are known.
  constructor(page, act) {
    this.page = page;
    this.act = act;
    this.names = new Map(); // by id
    this.asked = -FRESH;
  }

  prepare() {
    const field = byId("on-host");
    byId("host-box").hidden = false;
    field.addEventListener("change", () => this.choose(field.value.trim()));
    field.addEventListener("input", () => {
      if (!field.value || this.isOffered(field.value)) this.choose(field.value); // no other key is to come
    });
  }

  choose(host) {
    if (host !== this.page.state.host) this.page.change({ host, open: [] });
  }

  isOffered(text) {
    return [...byId("hosts").options].some((each) => each.value === text);
  }

  controls(state) {
    const field = byId("on-host");
    if (field.value.trim() !== state.host) field.value = state.host;
  }

  // Once something was answered: no page waits for this, and a server that is gone need not be asked twice.
  async look() {
    if (performance.now() - this.asked < FRESH) return;
    this.asked = performance.now();
    try {
      const answer = await fetch("api/v1/hosts");
      if (!answer.ok) throw new Error("not now");
      this.take((await answer.json()).hosts);
    } catch {
      this.asked = -FRESH; // again with the next answer
    }
  }

  take(hosts) {
    this.names = new Map(hosts.map((host) => [host.host_id, host.hostname]));
    byId("hosts").replaceChildren();
    for (const host of hosts) option(byId("hosts"), this.term(host), this.label(host));
    this.act();
  }

  // What the API understands as this one alone: its name where that can be typed and is no other's, else its id.
  term(host) {
    const name = host.hostname;
    const isPlain = name && plain(name) === name && name.trim() === name && !/[*?[,]/.test(name);
    return isPlain && this.names.has(host.host_id) && !this.isTwin(host) ? name : host.host_id;
  }

  isTwin(host) {
    return [...this.names].some(([id, name]) => name === host.hostname && id !== host.host_id);
  }

  label(host) {
    return `${plain(host.hostname)}${this.isTwin(host) ? ` (${host.host_id.slice(0, 8)})` : ""}`;
  }

  // How what was chosen is called.
  called(text) {
    const name = this.names.get(text);
    return name === undefined ? plain(text) : this.label({ hostname: name, host_id: text });
  }
}
