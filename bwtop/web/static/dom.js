// Helpers for the document.  Text is inserted as text, never as markup.

export function byId(id) {
  return document.getElementById(id);
}

export function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Sets the text only if it differs: no flicker, and the selection stays.
export function setText(element, text) {
  const words = String(text);
  if (element.textContent !== words) element.textContent = words;
}

export function setClass(element, className) {
  if (element.className !== className) element.className = className;
}

// Hides an element.  If it had the focus, the focus moves to the table, not to the top of the page.
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

// Adds a titled group of options.
export function optionGroup(select, title) {
  const made = make("optgroup");
  made.label = title;
  select.append(made);
  return made;
}

// Makes a link within the page.  A plain click calls `go`; with a modifier the browser opens a new tab or window.
export function lead(link, address, go) {
  if (link.getAttribute("href") !== address) link.href = address;
  link.onclick = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go();
  };
}
