import { Helper } from "./helper.js";
import { leafHashes } from "./salts.js";

const MOST_WORKERS = 4; // one thread reads for all of them

/** Workers inside a worker that hash lines, as many as there are cores. They run the same code, and end with it. */
export class LeafWorkers {
  constructor(code) {
    this.code = code;
    this.most = Math.min(navigator.hardwareConcurrency ?? 1, MOST_WORKERS);
    this.helpers = null;
    this.asked = 0;
  }

  /** The number of pieces that may wait for their hashes. */
  get ahead() {
    return 2 * this.most;
  }

  /** Return the leaf hashes of a piece, or a promise of them; a bag of one piece needs no workers. */
  hash(piece) {
    if (this.helpers === null) {
      this.helpers = [];
      return leafHashes(piece);
    }
    if (this.helpers.length < this.most) {
      this.helpers.push(Helper.ofCode(this.code));
    }
    const helper = this.helpers[this.asked++ % this.most];
    return helper.ask("leaves", piece, undefined, [piece.bytes.buffer]);
  }
}
