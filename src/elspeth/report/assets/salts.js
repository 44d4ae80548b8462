import { shake256 } from "./shake.js";
import { HASH_SIZE, Sha256 } from "./sha256.js";

/** Lines whose salts come from one call. */
export const SALT_BLOCK = 1024;

const SALT_SIZE = 32;
const SALT_DOMAIN = "elspeth leaf salts\0";
const ZERO = new Uint8Array(1);

/**
 * Return the leaf hashes of whole lines: SHA-256 over a zero byte, the salt of the line if there is a secret, and the line.
 *
 * Each of the `lines` in `bytes` ends with a line feed, which is not hashed. `first` is the number of the first one.
 */
export function leafHashes({ bytes, lines, first, secret }) {
  const hashes = new Uint8Array(lines * HASH_SIZE);
  const hasher = new Sha256();
  const seed = secret === null ? null : saltSeed(secret);
  let salts = null;
  for (let line = 0, start = 0; line < lines; line++) {
    const end = bytes.indexOf(10, start);
    hasher.update(ZERO);
    if (seed !== null) {
      const place = (first + line) % SALT_BLOCK;
      if (place === 0 || salts === null) {
        salts = blockSalts(seed, (first + line - place) / SALT_BLOCK);
      }
      hasher.update(salts, place * SALT_SIZE, (place + 1) * SALT_SIZE);
    }
    hasher.update(bytes, start, end).finish(hashes, line * HASH_SIZE);
    start = end + 1;
  }
  return hashes;
}

function blockSalts(seed, block) {
  new DataView(seed.buffer).setBigUint64(SALT_DOMAIN.length, BigInt(block));
  return shake256(seed, SALT_BLOCK * SALT_SIZE);
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
