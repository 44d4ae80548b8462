import { EvidenceError } from "./errors.js";
import { MAX_LINE } from "./limits.js";
import { TreeHasher } from "./merkle.js";
import { SALT_BLOCK, leafHashes } from "./salts.js";
import { HASH_SIZE } from "./sha256.js";
import { joined } from "./stream.js";

const LINE_FEED = 10;
const PIECE_SIZE = 1 << 20; // bytes of long lines that are hashed at once

/** Hashes records as they are read: the leaf hash of each line, and the Merkle root over all of them. */
export class RecordHasher {
  /**
   * @param {?string} secret - that of the salts, or null if lines have none.
   * @param {string} place - the name of the file, for messages.
   * @param {?LeafWorkers} workers - who hash lines at the same time, or null if they are hashed here.
   */
  constructor(secret, place, workers = null) {
    this.secret = secret;
    this.tree = new TreeHasher();
    this.place = place;
    this.workers = workers;
    this.bytes = 0; // that were read
  }

  /** The number of lines that were hashed. */
  get lines() {
    return this.tree.size;
  }

  /** Yield the leaf hashes of the lines in blocks of bytes, some lines at once; each line must end with a line feed. */
  async *hashes(blocks) {
    const ahead = [];
    for await (const lines of piecesOf(blocks, this.place)) {
      const piece = { ...lines, secret: this.secret };
      this.bytes += piece.bytes.length;
      ahead.push(this.workers?.hash(piece) ?? leafHashes(piece));
      if (ahead.length > (this.workers?.ahead ?? 0)) {
        yield this.take(await ahead.shift());
      }
    }
    for (const each of ahead) {
      yield this.take(await each);
    }
  }

  /** Return the Merkle root over the lines so far, 32 bytes. */
  root() {
    return this.tree.root();
  }

  /** Return the name of a line, whose number counts from 0, for messages. */
  linePlace(number) {
    return placeOf(this.place, number);
  }

  take(hashes) {
    for (let at = 0; at < hashes.length; at += HASH_SIZE) {
      this.tree.add(hashes, at);
    }
    return hashes;
  }
}

/** Yield whole lines of a file, at most as many as have their salts in common; each must end with a line feed. */
export async function* piecesOf(blocks, place) {
  let [first, lines, size, held] = [0, 0, 0, 0]; // `size` without and `held` with the line that has not ended
  let parts = [];
  for await (const block of blocks) {
    let start = 0;
    for (let at = 0; at < block.length; ) {
      const feed = block.indexOf(LINE_FEED, at);
      const end = feed < 0 ? block.length : feed;
      held += end - at;
      if (held > MAX_LINE) {
        throw new EvidenceError(placeOf(place, first + lines), `expected at most ${MAX_LINE} bytes, got more`);
      }
      at = end + 1;
      if (feed < 0) {
        break;
      }
      lines += 1;
      size += held + 1;
      held = 0;
      if ((first + lines) % SALT_BLOCK === 0 || size >= PIECE_SIZE) {
        parts.push(block.subarray(start, at));
        yield { bytes: joined(parts), lines, first };
        [first, lines, size, start, parts] = [first + lines, 0, 0, at, []];
      }
    }
    parts.push(block.subarray(start));
  }
  if (held > 0) {
    throw new EvidenceError(placeOf(place, first + lines), "expected a line feed at its end: the file is truncated");
  }
  if (lines > 0) {
    yield { bytes: joined(parts), lines, first };
  }
}

function placeOf(file, number) {
  return `${file}, line ${number + 1}`;
}
