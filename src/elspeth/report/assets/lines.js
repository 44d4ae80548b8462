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
    for await (const piece of this.pieces(blocks)) {
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
    return `${this.place}, line ${number + 1}`;
  }

  /** Yield whole lines, as many as have their salts in common, or fewer if they are long. */
  async *pieces(blocks) {
    let [first, lines, size, held] = [0, 0, 0, 0]; // `size` without and `held` with the line that has not ended
    let parts = [];
    for await (const block of blocks) {
      let start = 0;
      for (let at = 0; at < block.length; ) {
        const feed = block.indexOf(LINE_FEED, at);
        const end = feed < 0 ? block.length : feed;
        held += end - at;
        if (held > MAX_LINE) {
          throw new EvidenceError(this.linePlace(first + lines), `expected at most ${MAX_LINE} bytes, got more`);
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
          yield { bytes: joined(parts), lines, first, secret: this.secret };
          [first, lines, size, start, parts] = [first + lines, 0, 0, at, []];
        }
      }
      parts.push(block.subarray(start));
      this.bytes += block.length;
    }
    if (held > 0) {
      throw new EvidenceError(this.linePlace(first + lines), "expected a line feed at its end: the file is truncated");
    }
    if (lines > 0) {
      yield { bytes: joined(parts), lines, first, secret: this.secret };
    }
  }

  take(hashes) {
    for (let at = 0; at < hashes.length; at += HASH_SIZE) {
      this.tree.add(hashes, at);
    }
    return hashes;
  }
}
