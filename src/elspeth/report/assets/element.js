import { visible } from "./text.js";

/**
 * Return a new element.
 *
 * `attributes` may hold functions, as listeners of the event of that name. Children are elements or texts; a text is
 * never taken for HTML, and what cannot be seen in it is escaped. Empty children are left out.
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(9)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    made.append(child instanceof Node ? child : visible(String(child)));
  }
  return made;
}
