import { EvidenceError } from "./errors.js";
import { MAX_LINE } from "./limits.js";
import { TreeHasher } from "./merkle.js";
import { LeafHasher } from "./salts.js";
import { HASH_SIZE } from "./sha256.js";

const LINE_FEED = 10;

/** Hashes records as they are read: the leaf hash of each line, and the Merkle root over all of them. */
export class RecordHasher {
  /**
   * @param {?string} secret - that of the salts, or null if lines have none.
   * @param {string} place - the name of the file, for messages.
   */
  constructor(secret, place) {
    this.leaves = new LeafHasher(secret);
    this.tree = new TreeHasher();
    this.place = place;
    this.hashes = new Uint8Array(1024 * HASH_SIZE);
    this.held = 0; // bytes of a line that has not ended
  }

  /** The number of lines so far. */
  get lines() {
    return this.tree.size;
  }

  /** Add bytes; return the leaf hashes of the lines that end in them, which the next call overwrites. */
  add(bytes) {
    let found = 0;
    let start = 0;
    for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, start)) {
      this.take(bytes, start, end);
      if ((found + 1) * HASH_SIZE > this.hashes.length) {
        const larger = new Uint8Array(2 * this.hashes.length);
        larger.set(this.hashes);
        this.hashes = larger;
      }
      this.leaves.finish(this.hashes, found * HASH_SIZE);
      this.tree.add(this.hashes, found * HASH_SIZE);
      found += 1;
      start = end + 1;
      this.held = 0;
    }
    if (start < bytes.length) {
      this.take(bytes, start, bytes.length);
    }
    return this.hashes.subarray(0, found * HASH_SIZE);
  }

  /** End the records: the last line must have ended. */
  end() {
    if (this.held > 0) {
      throw new EvidenceError(this.linePlace(this.lines), "expected a line feed at its end: the file is truncated");
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

  take(bytes, start, end) {
    this.held += end - start;
    if (this.held > MAX_LINE) {
      throw new EvidenceError(this.linePlace(this.lines), `expected at most ${MAX_LINE} bytes, got more`);
    }
    this.leaves.update(bytes, start, end);
  }
}
