import { shake256 } from "./shake.js";
import { Sha256 } from "./sha256.js";

const SALT_SIZE = 32;
const SALT_BLOCK = 1024; // lines whose salts come from one call
const SALT_DOMAIN = "elspeth leaf salts\0";

/**
 * Computes the leaf hashes of lines: SHA-256 over a zero byte, the salt of the line if there is a secret, and the line.
 *
 * The line may come in parts, and is without its line feed.
 */
export class LeafHasher {
  /** @param {?string} secret - that of the bag's salts, or null if lines have none. */
  constructor(secret) {
    this.line = 0;
    this.hasher = new Sha256();
    this.seed = secret === null ? null : saltSeed(secret);
    this.salts = new Uint8Array(0);
    this.started = false;
    this.zero = new Uint8Array(1);
  }

  /** Add a part of the line. */
  update(bytes, start, end) {
    if (!this.started) {
      this.start();
    }
    this.hasher.update(bytes, start, end);
  }

  /** End the line, and write its leaf hash into `out` at a position. */
  finish(out, position) {
    if (!this.started) {
      this.start();
    }
    this.hasher.finish(out, position);
    this.started = false;
    this.line += 1;
  }

  start() {
    this.started = true;
    this.hasher.update(this.zero);
    if (this.seed === null) {
      return;
    }
    const place = this.line % SALT_BLOCK;
    if (place === 0) {
      new DataView(this.seed.buffer).setBigUint64(SALT_DOMAIN.length, BigInt(this.line / SALT_BLOCK));
      this.salts = shake256(this.seed, SALT_BLOCK * SALT_SIZE);
    }
    this.hasher.update(this.salts, place * SALT_SIZE, (place + 1) * SALT_SIZE);
  }
}

/** Return what SHAKE-256 hashes for a block of lines, with room for the number of the block. */
function saltSeed(secret) {
  const encoder = new TextEncoder();
  const end = encoder.encode(secret);
  const seed = new Uint8Array(SALT_DOMAIN.length + 8 + end.length);
  seed.set(encoder.encode(SALT_DOMAIN));
  seed.set(end, SALT_DOMAIN.length + 8);
  return seed;
}
