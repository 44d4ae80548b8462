import { element } from "./element.js";
import { Helper } from "./helper.js";
import { PackedBlock } from "./packed.js";
import { showStory } from "./storyview.js";
import { count, counted, visible } from "./text.js";
import { showVerdict } from "./verdictview.js";

/** Make the static page answer questions. */
export async function startPage() {
  const facts = JSON.parse(part("facts").textContent);
  const code = await new PackedBlock(part("worker").textContent).text();
  const helper = Helper.ofCode(code);
  const stories = new Stories(helper, facts);
  for (const each of document.querySelectorAll(".needs-script")) each.hidden = false;
  const blocks = [...document.querySelectorAll("script.block")].map((each) => each.textContent.trim());
  const files = [...document.querySelectorAll("script.file")].map((each) => [each.dataset.name, each.textContent]);
  if (blocks.length) await stories.open({ blocks }); // before the check, which takes all cores
  const checked = checkRecords({ ...facts, files, blocks, code });
  if (facts.embedded < facts.total) takeBags((archive) => openBag(archive, stories, { ...facts, code }));
  return { helper, stories, checked };
}

/** Check the records in a worker of its own; return the verdict. */
async function checkRecords({ key, total, ...given }) {
  const helper = Helper.ofCode(given.code);
  let result;
  try {
    const onProgress = (lines) => { part("checking").textContent = `checked ${count(lines)} of ${counted(total, "record")}`; };
    result = await helper.ask("check", { ...given, pem: key, total }, onProgress);
  } catch (error) {
    result = { verdict: "refused", text: error.message, steps: [] };
  }
  helper.stop();
  part("checking").textContent = given.archive ? `The bag ${visible(given.archive.name)}:` : "";
  part("checked").replaceChildren(...showVerdict(result));
  performance.mark("checked");
  document.body.dataset.verdict = result.verdict;
  return result;
}

/** Call `take` with each bag that is chosen or dropped, one after the other. */
function takeBags(take) {
  let last = Promise.resolve();
  const next = ([file]) => { if (file) last = last.then(() => take(file)); };
  part("bag").hidden = false;
  part("whole").addEventListener("change", ({ target }) => next(target.files));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    next(event.dataTransfer.files);
  });
}

/** Check a bag of the run, and open all of its records unless it is refused. */
async function openBag(archive, stories, given) {
  const { verdict } = await checkRecords({ ...given, archive });
  if (verdict !== "refused") await stories.open({ archive });
}

/** The part of the page in which the story of a row is asked for and told. */
class Stories {
  constructor(helper, facts) {
    this.helper = helper;
    this.facts = facts;
    this.form = part("ask");
    this.input = part("wanted");
    this.said = part("said");
    this.hits = part("hits");
    this.told = part("told");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.search(this.input.value);
    });
    addEventListener("hashchange", () => this.follow());
  }

  /** Open the blocks of the page, or the archive of a bag. */
  async open(given) {
    const { types, runId, embedded, total } = this.facts;
    const all = given.archive ? total : embedded;
    this.form.hidden = false; // what is asked now is answered once they are open
    const onProgress = (done) => this.say(`reading record ${count(done)} of ${count(all)}`);
    try {
      const records = await this.helper.ask("open", { facts: { types, runId }, ...given }, onProgress);
      this.facts.embedded = records;
      this.say(`${counted(records, "record")} can be searched.`);
      performance.mark("opened");
      document.body.dataset.ready = "records";
      this.follow();
    } catch (error) {
      this.form.hidden = true;
      this.say(`The records in this page cannot be read: ${error.message}`);
      document.body.dataset.ready = "failed";
    }
  }

  /** Tell the story that the address of the page names, such as `#row=3`. */
  follow() {
    const named = new URLSearchParams(location.hash.slice(1));
    if (named.has("row")) this.tell({ row: Number(named.get("row")) });
    else if (named.has("token")) this.tell({ token: named.get("token") });
  }

  async search(text) {
    if (!text.trim()) return;
    this.say("searching");
    this.hits.replaceChildren();
    try {
      const { hits, more } = await this.helper.ask("search", { text }, (found) => this.say(`searching, ${count(found)} found`));
      if (hits.length === 1 && hits[0].row !== null) this.go({ row: hits[0].row });
      else this.hits.append(...hits.map((hit) => this.showHit(hit)));
      this.say(hits.length ? `${counted(hits.length, "place")} found${more ? ", and there are more: ask for more of the text" : ""}.` : this.notFound(text));
    } catch (error) {
      this.say(`The search failed: ${error.message}`);
    }
  }

  showHit({ row, token, why }) {
    if (row === null) return element("li", {}, why);
    const open = element("button", { type: "button", class: "link", click: () => this.go({ row }) }, `row ${row}`);
    return element("li", {}, open, token ? ` token ${token}: ` : ": ", why);
  }

  notFound(text) {
    const { embedded, total } = this.facts;
    const missing = embedded < total ? ` This page has ${count(embedded)} of the ${count(total)} records.` : "";
    return `Nothing here has the number, id or error ${JSON.stringify(text)}.${missing}`;
  }

  /** Change the address of the page, so that the story has a link and a way back. */
  go({ row, token }) {
    const hash = `#${new URLSearchParams(row === undefined ? { token } : { row })}`;
    if (location.hash === hash) this.follow();
    else location.hash = hash;
  }

  async tell(asked) {
    try {
      const story = await this.helper.ask("story", asked);
      this.told.replaceChildren(showStory(story, (other) => this.go(other)));
      this.told.querySelector("#story-title").focus();
    } catch (error) {
      this.told.replaceChildren(element("p", { class: "problem", role: "alert" }, error.message));
    }
  }

  say(text) {
    this.said.textContent = text;
  }
}

function part(id) {
  return document.getElementById(id);
}

/** The running page, for whoever looks into it. */
export const page = startPage();
