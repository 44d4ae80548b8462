import { element } from "./element.js";

/** Return the row of a table about a step: how it ended, what the page checks, and what it leaves. */
export function stepRow({ title, checks, leaves }, number, found = []) {
  const { status = "", detail = "" } = found[number] ?? {};
  return element(
    "tr",
    status === "FAILED" ? { class: "bad" } : {},
    element("th", { scope: "row" }, `${number + 1}. ${title}`),
    element("td", {}, element("strong", {}, status), detail ? `: ${detail}` : ""),
    element("td", {}, checks),
    element("td", {}, leaves),
  );
}
