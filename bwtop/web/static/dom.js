// The few things that are done to the document again and again.  Text goes in as text, never as markup.

export function byId(id) {
  return document.getElementById(id);
}

export function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Changes only what differs: so nothing flickers, and no selection is lost.
export function setText(element, text) {
  const words = String(text);
  if (element.textContent !== words) element.textContent = words;
}

export function setClass(element, className) {
  if (element.className !== className) element.className = className;
}

// Where what is hidden had the focus, that goes to the table, not back to the page's beginning.
export function hide(element, isHidden) {
  if (isHidden && element === document.activeElement) byId("rows").focus({ preventScroll: true });
  element.hidden = isHidden;
}

export function option(select, value, text = value) {
  const made = make("option", "", text);
  made.value = value;
  select.append(made);
  return made;
}

// Options with a title of their own.
export function optionGroup(select, title) {
  const made = make("optgroup");
  made.label = title;
  select.append(made);
  return made;
}

// A link within the page: a click changes what is shown, and opens it elsewhere where links do.
export function lead(link, address, go) {
  if (link.getAttribute("href") !== address) link.href = address;
  link.onclick = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go();
  };
}
