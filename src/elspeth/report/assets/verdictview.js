import { element } from "./element.js";
import { STEPS } from "./steps.js";
import { stepRow } from "./stepview.js";

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
