import { element } from "./element.js";
import { STEPS } from "./steps.js";

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

/** Return what a page says of its records, with the steps. */
export function showVerdict({ verdict, text, steps }) {
  const said = element("p", { class: `verdict ${verdict}` }, text);
  if (!steps.length) return [said];
  const titles = ["Step", "Result", "What this page checks", "What it leaves to elspeth verify"];
  const head = element("tr", {}, ...titles.map((title) => element("th", { scope: "col" }, title)));
  const rows = STEPS.map((step, number) => stepRow(step, number, steps));
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
  const scrolled = element("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Steps" }, table);
  return [said, element("details", {}, element("summary", {}, "How this was checked"), scrolled)];
}
