// The hosts of a shared history: their names, and the host filter.

import { byId, option } from "./dom.js";
import { plain } from "./format.js";

const FRESH = 600000; // milliseconds until the list of hosts is reloaded

export class Hosts {
  // `page` is that of main.js; `act` is called when the hosts are loaded.
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
      if (!field.value || this.isOffered(field.value)) this.choose(field.value); // chosen from the list, or cleared
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

  // Loads the hosts after another answer: no view waits for them, and an unreachable server is not asked twice.
  async look() {
    if (performance.now() - this.asked < FRESH) return;
    this.asked = performance.now();
    try {
      const answer = await fetch("api/v1/hosts");
      if (!answer.ok) throw new Error("not now");
      this.take((await answer.json()).hosts);
    } catch {
      this.asked = -FRESH; // retry after the next answer
    }
  }

  take(hosts) {
    this.names = new Map(hosts.map((host) => [host.host_id, host.hostname]));
    byId("hosts").replaceChildren();
    for (const host of hosts) option(byId("hosts"), this.term(host), this.label(host));
    this.act();
  }

  // The filter for one host: its name if printable and unique, else its id.
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

  // The name of a chosen host.
  called(text) {
    const name = this.names.get(text);
    return name === undefined ? plain(text) : this.label({ hostname: name, host_id: text });
  }
}
