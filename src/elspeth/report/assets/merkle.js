import { HASH_SIZE, Sha256 } from "./sha256.js";

const DEEPEST_TREE = 53; // no integer of JavaScript counts more leaves

/**
 * Computes the root of a Merkle tree over leaf hashes as they come (RFC 9162, section 2.1.1).
 *
 * Memory does not grow with their number.
 */
export class TreeHasher {
  constructor() {
    this.size = 0;
    this.hasher = new Sha256();
    // Level n holds the root of the last perfect subtree of 2^n leaves, if the binary number of leaves has that digit.
    this.levels = new Uint8Array(DEEPEST_TREE * HASH_SIZE);
    this.node = new Uint8Array(1 + 2 * HASH_SIZE);
    this.node[0] = 1;
  }

  /** Add the leaf hash at a position of `bytes`. */
  add(bytes, position = 0) {
    const { levels, node } = this;
    for (let each = 0; each < HASH_SIZE; each++) {
      node[1 + HASH_SIZE + each] = bytes[position + each];
    }
    let level = 0;
    for (let rest = this.size; rest % 2 === 1; rest = (rest - 1) / 2) {
      this.combine(level++);
    }
    for (let each = 0; each < HASH_SIZE; each++) {
      levels[level * HASH_SIZE + each] = node[1 + HASH_SIZE + each];
    }
    this.size += 1;
  }

  /** Return the root over the leaves so far, 32 bytes. */
  root() {
    if (this.size === 0) {
      return this.hasher.reset().digest();
    }
    let isFirst = true;
    for (let level = 0, rest = this.size; rest > 0; level++, rest = Math.floor(rest / 2)) {
      if (rest % 2 === 0) {
        continue;
      }
      if (isFirst) {
        this.node.set(this.levels.subarray(level * HASH_SIZE, (level + 1) * HASH_SIZE), 1 + HASH_SIZE);
      } else {
        this.combine(level);
      }
      isFirst = false;
    }
    return this.node.slice(1 + HASH_SIZE);
  }

  /** Replace the right half of the node by its hash, with the subtree of a level on the left. */
  combine(level) {
    const { levels, node } = this;
    for (let each = 0; each < HASH_SIZE; each++) {
      node[1 + each] = levels[level * HASH_SIZE + each];
    }
    this.hasher.update(node).finish(node, 1 + HASH_SIZE);
  }
}
