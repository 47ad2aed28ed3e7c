// A table that reuses the element of each row key.

import { lead, make, setClass, setText } from "./dom.js";

const CALM = 2000; // milliseconds after pointer or key input in which rows keep their places

export class Table {
  // `act` has sort(column), toggle(key), change(changes), and address(changes), which returns a URL.
  constructor(element, act) {
    this.element = element;
    this.act = act;
    this.rows = new Map();
    this.columns = [];
    this.touched = -CALM;
    const touch = () => { this.touched = performance.now(); };
    for (const kind of ["pointermove", "pointerdown", "keydown", "focusin"]) {
      element.tBodies[0].addEventListener(kind, touch);
    }
  }

  // Columns: {id, title, help, className, sort: "ascending" | "descending" | undefined}.
  head(columns) {
    const same = JSON.stringify(columns);
    if (same === this.same) return;
    this.same = same;
    const names = (all) => JSON.stringify(all.map((column) => [column.id, column.className]));
    if (names(columns) !== names(this.columns)) this.clear();
    this.columns = columns;
    const focused = document.activeElement?.dataset?.column;
    const row = make("tr");
    for (const column of columns) row.append(this.title(column));
    this.element.tHead.replaceChildren(row);
    if (focused) row.querySelector(`[data-column="${CSS.escape(focused)}"]`)?.focus();
  }

  title(column) {
    const cell = make("th", column.className);
    cell.scope = "col";
    cell.title = column.help ?? "";
    if (column.sort !== undefined) cell.setAttribute("aria-sort", column.sort);
    if (!column.sortable) {
      cell.textContent = column.title;
      return cell;
    }
    const marks = { ascending: " ▲", descending: " ▼" };
    const button = make("button", "", column.title + (marks[column.sort] ?? ""));
    button.type = "button";
    button.dataset.column = column.id;
    button.addEventListener("click", () => this.act.sort(column.id));
    cell.append(button);
    return cell;
  }

  // Removes rows and columns.
  reset() {
    this.clear();
    this.columns = [];
    this.same = undefined;
    this.element.tHead.replaceChildren();
  }

  clear() {
    this.rows.clear();
    this.element.tBodies[0].replaceChildren();
  }

  isCalm() {
    return performance.now() - this.touched < CALM;
  }

  // Rows: {key, parent, name, to, more, title, className, wide, open: boolean | undefined, cells: [{text, to, part, title}]};
  // `to` are state changes: they make a link.  A `wide` row spans the first two columns.
  // With an `order`, rows keep their places after input as long as that is the same; another one moves them at once.
  body(rows, { order } = {}) {
    const wanted = order && order === this.order && this.isCalm() ? this.inPlace(rows) : rows;
    this.order = order;
    const known = this.rows;
    this.rows = new Map();
    const focused = document.activeElement;
    let place = this.element.tBodies[0].firstElementChild;
    for (const row of wanted) {
      if (this.rows.has(row.key)) continue; // a duplicate key would leave a stale element
      const element = known.get(row.key) ?? this.make(row);
      known.delete(row.key);
      this.rows.set(row.key, element);
      this.fill(element, row);
      if (element === place) place = place.nextElementSibling;
      else this.element.tBodies[0].insertBefore(element, place);
    }
    for (const gone of known.values()) gone.remove();
    if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true }); // moving the row dropped the focus
  }

  // Keeps the current order; new rows come last.  Children follow their parents.
  inPlace(rows) {
    const places = new Map([...this.rows.keys()].map((key, index) => [key, index]));
    const at = (row) => places.get(row.key) ?? Infinity;
    const tops = rows.filter((row) => !row.parent).sort((one, other) => at(one) - at(other) || 0);
    const children = new Map();
    for (const row of rows.filter((each) => each.parent)) {
      if (!children.has(row.parent)) children.set(row.parent, []);
      children.get(row.parent).push(row);
    }
    const below = (top) => (children.get(top.key) ?? []).sort((one, other) => at(one) - at(other) || 0);
    return tops.flatMap((top) => [top, ...below(top)]);
  }

  make(row) {
    const element = make("tr");
    const first = make("th", "process-column");
    first.scope = "row";
    if (row.wide) first.colSpan = 2;
    if (row.to) {
      first.append(make("a", "plain"));
    } else if (row.open === undefined) {
      first.append(make("span", row.parent ? "" : "plain"));
    } else {
      const button = make("button", "toggle");
      button.type = "button";
      button.addEventListener("click", () => this.act.toggle(row.key));
      first.append(button);
    }
    first.append(make("span", "more"));
    element.append(first);
    for (const column of this.columns.slice(first.colSpan)) element.append(make("td", column.className));
    return element;
  }

  fill(element, row) {
    setClass(element, row.className ?? "");
    const [name, more] = element.firstElementChild.children;
    setText(name, row.name);
    if (row.to) this.lead(name, row.to);
    setText(more, row.more ?? "");
    if (element.firstElementChild.title !== (row.title ?? "")) element.firstElementChild.title = row.title ?? "";
    if (row.open !== undefined) name.setAttribute("aria-expanded", String(row.open));
    row.cells.forEach((cell, index) => {
      const place = element.children[index + 1];
      if (cell.to) this.link(place, cell);
      else setText(place, cell.text);
      if (cell.title !== undefined && place.title !== cell.title) place.title = cell.title;
      if (cell.part !== undefined) place.style.setProperty("--part", `${(100 * cell.part).toFixed(1)}%`);
    });
  }

  link(place, cell) {
    const link = place.firstElementChild ?? make("a");
    setText(link, cell.text);
    this.lead(link, cell.to);
    if (!link.isConnected) place.replaceChildren(link);
  }

  lead(link, to) {
    lead(link, this.act.address(to), () => this.act.change(to));
  }
}
