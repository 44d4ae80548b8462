import { startWorker } from "./answering.js";
import { BagFiles, RECORDS } from "./bag.js";
import { checkEmbedded } from "./embedded.js";
import { piecesOf } from "./lines.js";
import { PackedBlock } from "./packed.js";
import { leafHashes } from "./salts.js";
import { search } from "./search.js";
import { RecordStore } from "./store.js";
import { rowStory, tokenStory } from "./story.js";

/** What the worker knows of the page: `types` and `runId`, and the records once they are opened. */
const known = { types: {}, runId: "", store: null };

/** What the worker answers, by the name of the question. `tell` reports progress. */
export const ANSWERS = {
  /** Open the blocks of a page, or all records in the archive of a bag; return the number of records. */
  async open({ facts, blocks, archive }, tell) {
    return openRecords(facts, archive ? blocksOfBag(archive) : blocks.map((base64) => new PackedBlock(base64)), tell);
  },

  async story({ row, token }) {
    const { store, types, runId } = known;
    if (store === null) throw new Error("This page holds no records: choose the bag of the run.");
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
  const store = new RecordStore(types);
  await store.fill(blocks, tell);
  Object.assign(known, { store, types, runId });
  return store.index.size;
}

/** Yield the lines of a bag in blocks that a story can read without the rest. */
async function* blocksOfBag(archive) {
  const files = await BagFiles.ofArchive(archive);
  for await (const { bytes } of piecesOf(files.blocks(RECORDS), RECORDS)) yield PackedBlock.of(bytes);
}

if (typeof document === "undefined") startWorker(self, ANSWERS);
