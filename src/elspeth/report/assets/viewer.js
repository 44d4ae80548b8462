import { startWorker } from "./answering.js";
import { BAGIT, BagFiles } from "./bag.js";
import { element } from "./element.js";
import { EvidenceError } from "./errors.js";
import { Helper } from "./helper.js";
import { LeafWorkers } from "./leafworkers.js";
import { MAX_FILES } from "./limits.js";
import { leafHashes } from "./salts.js";
import { VerifyingKey } from "./signature.js";
import { STEPS } from "./steps.js";
import { stepRow } from "./stepview.js";
import { count, counted } from "./text.js";
import { verifyBag } from "./verification.js";

const MAX_KEY = 64 * 1024; // bytes; a key takes less than one kilobyte

/** What the worker answers. */
const CHECKS = {
  /** Check files, each a pair of its path and its `File`; `pem` is the text of a key or null, `code` this script. */
  async check({ pem, files, code }, tell) {
    const key = pem === null ? null : await VerifyingKey.fromPem(pem, "key");
    const [opened, isWhole] = await openFiles(files);
    return verifyBag(opened, key, { tell, isWhole, workers: new LeafWorkers(code) });
  },

  /** Return the leaf hashes of some lines. */
  leaves: leafHashes,
};

/** Open a zip archive, a folder, or some files of a bag; return the files, and whether they are a whole bag. */
async function openFiles(files) {
  const names = files.map(([path]) => path.split("/").at(-1));
  if (names.includes(BAGIT)) {
    return [BagFiles.ofFolder(files), true];
  }
  const [[, first]] = files;
  const mark = new DataView(await first.slice(0, 4).arrayBuffer());
  if (files.length === 1 && mark.byteLength === 4 && mark.getUint32(0) === 0x504b0304) {
    return [await BagFiles.ofArchive(first), true];
  }
  if (!names.some((name) => name.startsWith("statement."))) {
    const problem = "expected a bag as a zip archive or folder: without a statement nothing shows what was signed";
    throw new EvidenceError(names.slice(0, 3).join(", "), problem);
  }
  return [BagFiles.ofParts(files.map(([, file]) => file)), false];
}

/** The page: a key and a bag are chosen or dropped, and the worker checks them. */
class Viewer {
  constructor() {
    this.key = null;
    this.helper = null;
    this.said = byId("said");
    this.result = byId("result");
    this.onChoice("key", ([file]) => this.takeKey(file));
    this.onChoice("archive", (files) => this.check(files.map((file) => [file.name, file])));
    this.onChoice("folder", (files) => this.check(files.map((file) => [file.webkitRelativePath, file])));
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
      event.preventDefault();
      const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
      this.takeDropped(items.map((item) => [item.webkitGetAsEntry(), item.getAsFile()]));
    });
    byId("steps").append(...STEPS.map(stepRow));
  }

  onChoice(id, take) {
    byId(id).addEventListener("change", ({ target }) => target.files.length && take([...target.files]));
  }

  async takeDropped(dropped) {
    let files;
    try {
      files = await filesIn(dropped);
    } catch {
      this.show({ verdict: "refused", text: "This browser does not read a dropped folder here: choose it above.", steps: [] });
      return;
    }
    const keys = files.filter(([path]) => path.endsWith(".pem"));
    if (keys.length === 1 && files.length === 1) {
      await this.takeKey(keys[0][1]);
    } else if (files.length) {
      await this.check(files);
    }
  }

  /** Take the key, and check the files again that were given before. */
  async takeKey(file) {
    try {
      if (file.size > MAX_KEY) {
        throw new EvidenceError(file.name, `expected a key, got a file of more than ${MAX_KEY} bytes`);
      }
      const pem = await file.text();
      const { fingerprint, kind } = await VerifyingKey.fromPem(pem, file.name);
      this.key = pem;
      byId("fingerprint").textContent = `${kind.title} key SHA256:${fingerprint}`;
    } catch (error) {
      this.key = null;
      byId("fingerprint").textContent = error.message;
    }
    if (this.files) {
      await this.check(this.files);
    }
  }

  async check(files) {
    this.helper?.stop();
    this.files = files;
    this.result.replaceChildren();
    delete document.body.dataset.verdict;
    const code = byId("code").textContent;
    const helper = Helper.ofCode(code);
    this.helper = helper;
    this.said.textContent = "reading";
    const onProgress = ({ lines, bytes }) => {
      this.said.textContent = `${counted(lines, "record")}, ${count(Math.round(bytes / 1e6))} MB checked`;
    };
    try {
      this.show(await helper.ask("check", { pem: this.key, files, code }, onProgress));
    } catch (error) {
      this.show({ verdict: "refused", text: error.message, steps: [] });
    }
    helper.stop();
  }

  show({ verdict, text, steps, runId = null }) {
    this.said.textContent = "";
    const run = runId === null ? "" : element("p", {}, "Run ", element("code", {}, runId), ".");
    this.result.replaceChildren(element("p", { class: `verdict ${verdict}` }, text), run);
    byId("steps").replaceChildren(...STEPS.map((step, number) => stepRow(step, number, steps)));
    document.body.dataset.verdict = verdict;
  }
}

/**
 * Return pairs of path and `File` for dropped files, and all that is in dropped folders.
 *
 * Each is given as its entry and its `File`: on a page from disk, Chromium reads no file by its entry.
 */
async function filesIn(dropped) {
  const found = dropped.filter(([entry]) => !entry.isDirectory).map(([, file]) => [file.name, file]);
  const waiting = dropped.map(([entry]) => entry).filter((entry) => entry.isDirectory);
  while (waiting.length && found.length <= MAX_FILES) {
    const entry = waiting.pop();
    if (entry.isFile) {
      found.push([entry.fullPath.slice(1), await new Promise((resolve, reject) => entry.file(resolve, reject))]);
      continue;
    }
    const reader = entry.createReader();
    for (let more = [null]; more.length && waiting.length <= MAX_FILES; ) {
      more = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      waiting.push(...more);
    }
  }
  return found;
}

function byId(id) {
  return document.getElementById(id);
}

if (typeof document === "undefined") startWorker(self, CHECKS);
else new Viewer();
