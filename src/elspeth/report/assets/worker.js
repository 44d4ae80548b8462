import { checkEmbedded } from "./embedded.js";
import { startWorker } from "./helper.js";
import { PackedBlock } from "./packed.js";
import { leafHashes } from "./salts.js";
import { RecordStore } from "./store.js";
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

  /** Return the leaf hashes of some lines. */
  leaves: leafHashes,

  /** Check the records of a page against what was signed. */
  async check(given, tell) {
    return checkEmbedded(given, tell);
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

if (typeof document === "undefined") startWorker(self, ANSWERS);
