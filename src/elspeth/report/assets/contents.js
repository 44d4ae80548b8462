import { folded, longText } from "./dom.js";
import { element } from "./element.js";
import { PackedBlock, textOf } from "./packed.js";
import { shortened, visible } from "./text.js";

/** How the names of contents in a bag begin; the rest is their reference. */
const CONTENTS = "data/contents/";

/** Return the content that a record refers to, to be opened; without one in the page, its reference. */
export function keptContent(reference) {
  if (!reference) return "";
  const packed = packedContents().get(reference);
  if (packed === undefined) return element("span", { class: "kept" }, "kept as ", element("code", {}, reference));
  return folded("content", () => {
    const shown = element("pre", {}, "…");
    showContent(shown, reference, packed);
    return shown;
  }, { class: "content" });
}

/** Return the packed contents in the page by their references. */
function packedContents() {
  const found = [...document.querySelectorAll("script.file, script.content")].filter(({ dataset }) => dataset.name.startsWith(CONTENTS));
  return new Map(found.map((each) => [each.dataset.name.slice(CONTENTS.length), each.textContent]));
}

/** Return what a gate saw, by the reason that a record refers to; it is there when the reason has been read. */
export function seenByGate(reference) {
  const packed = packedContents().get(reference);
  const place = element("div", { class: "seen" });
  if (packed === undefined) return "";
  readContent(reference, packed).then((text) => place.append(visible(valuesIn(JSON.parse(text)))), () => {}); // shown with the content
  return place;
}

/** Return the values in a reason, and the answer; nothing for a reason without them. */
function valuesIn({ values, absent, label }) {
  if (values === undefined) return "";
  const fields = Object.entries(values).map(([name, value]) => `${name} = ${shortened(JSON.stringify(value), 200)}`);
  return `${[...fields, ...absent.map((name) => `no ${name}`)].join(", ") || "no field"} → ${label}`;
}

/** Return the text of a content if it has the SHA-256 that is its reference. */
async function readContent(reference, packed) {
  const bytes = await new PackedBlock(packed).bytes();
  const digest = hexOf(await crypto.subtle.digest("SHA-256", bytes));
  if (digest !== reference) throw new Error(`expected the SHA-256 ${reference}, got ${digest}`);
  return textOf(bytes);
}

async function showContent(place, reference, packed) {
  try {
    place.replaceChildren(longText(indented(await readContent(reference, packed))));
  } catch (error) {
    place.replaceChildren(`The content cannot be shown: ${error.message}`);
  }
}

function hexOf(buffer) {
  return [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Return JSON with line breaks, and any other text as it is. */
function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
