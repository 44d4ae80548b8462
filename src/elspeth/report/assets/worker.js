import { PackedBlock, RecordStore } from "./store.js";
import { rowStory, tokenStory } from "./story.js";
import { search } from "./search.js";

/** What the worker knows of the page: `types` and `runId`, and the records once they are opened. */
const known = { types: {}, runId: "", store: null };

/** What the worker answers, by the name of the question. `tell` reports progress. */
export const ANSWERS = {
  /** Open the blocks of a page; return the number of records. */
  async open({ facts, blocks }, tell) {
    return openRecords(facts, blocks.map((base64) => new PackedBlock(base64)), tell);
  },

  async story({ row, token }) {
    const { store, types, runId } = known;
    return row === undefined ? tokenStory(store, types, runId, token) : rowStory(store, types, runId, row);
  },

  async search({ text }, tell) {
    return search(known.store, known.types, text, tell);
  },
};

/** Open records from any blocks; those that were open before are forgotten. */
export async function openRecords({ types, runId }, blocks, tell) {
  const store = new RecordStore(types, blocks);
  await store.fill(tell);
  Object.assign(known, { store, types, runId });
  return store.index.size;
}

/** Answer the questions that the page posts, one after the other. */
export function startWorker(scope) {
  let last = Promise.resolve();
  scope.onmessage = ({ data: { id, question, given } }) => {
    const answer = async () => {
      try {
        const tell = (progress) => scope.postMessage({ id, progress });
        scope.postMessage({ id, answer: await ANSWERS[question](given, tell) });
      } catch (error) {
        scope.postMessage({ id, problem: error.message });
      }
    };
    last = last.then(answer);
  };
}

/** A worker that runs this page's own code. */
export class Helper {
  constructor(code) {
    this.url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    this.worker = new Worker(this.url);
    this.waiting = new Map();
    this.worker.onmessage = ({ data }) => this.take(data);
    this.worker.onerror = (event) => this.fail(event.message);
  }

  /** Ask a question; `onProgress` is called while it is answered. */
  ask(question, given, onProgress = () => {}) {
    const id = this.waiting.size ? Math.max(...this.waiting.keys()) + 1 : 1;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, onProgress });
      this.worker.postMessage({ id, question, given });
    });
  }

  take({ id, answer, problem, progress }) {
    const asked = this.waiting.get(id);
    if (progress !== undefined) {
      asked.onProgress(progress);
      return;
    }
    this.waiting.delete(id);
    if (problem === undefined) asked.resolve(answer);
    else asked.reject(new Error(problem));
  }

  fail(message) {
    for (const { reject } of this.waiting.values()) reject(new Error(message));
    this.waiting.clear();
  }
}
