import { element } from "./element.js";
import { count, visible } from "./text.js";

/** The most characters of a text that are shown at once. */
const SHOWN_TEXT = 2000;

/** The most items of a list that are shown at once. */
const SHOWN_ITEMS = 20;

/** Return foreign text of any length, the beginning first and the rest on demand. */
export function longText(text) {
  if (text.length <= SHOWN_TEXT) return element("span", { class: "foreign" }, text);
  const shown = element("span", { class: "foreign" }, text.slice(0, SHOWN_TEXT));
  let place = SHOWN_TEXT;
  const more = element("button", { type: "button", click: () => {
    shown.append(visible(text.slice(place, place + 100_000)));
    place += 100_000;
    label();
  } });
  const label = () => {
    more.textContent = `show more (${count(Math.max(0, text.length - place))} characters left)`;
    more.hidden = place >= text.length;
  };
  label();
  return element("span", {}, shown, " ", more);
}

/** Return a list whose items are made when they are shown: the first ones, and more on demand. */
export function longList(items, make, attributes = {}) {
  const list = element("ol", attributes);
  let next = 0;
  const grow = (most) => {
    for (const end = Math.min(items.length, next + most); next < end; next += 1) list.append(element("li", {}, make(items[next])));
    more.hidden = next >= items.length;
    more.textContent = `show ${count(Math.min(items.length - next, 200))} more of ${count(items.length)}`;
  };
  const more = element("button", { type: "button", click: () => grow(200) });
  grow(SHOWN_ITEMS);
  return items.length <= SHOWN_ITEMS ? [list] : [list, more];
}

/** Return a closed part of the page whose content is made when it is opened. */
export function folded(title, make, attributes = {}) {
  const part = element("details", attributes, element("summary", {}, title));
  part.addEventListener("toggle", () => {
    if (part.open && part.childElementCount === 1) part.append(...[make()].flat());
  });
  return part;
}
