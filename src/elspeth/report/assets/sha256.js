/** Length of a SHA-256 in bytes. */
export const HASH_SIZE = 32;

const HASH_BLOCK = 64;

const PRIMES = firstPrimes(64);

// The first 32 bits of the fractional parts of cube roots and square roots (FIPS 180-4, sections 4.2.2 and 5.3.3).
const ROUND_CONSTANTS = Int32Array.from(PRIMES, (prime) => (Math.cbrt(prime) % 1) * 2 ** 32);
const INITIAL_STATE = Int32Array.from(PRIMES.slice(0, 8), (prime) => (Math.sqrt(prime) % 1) * 2 ** 32);

const schedule = new Int32Array(64);

/**
 * Computes a SHA-256 (FIPS 180-4) of bytes as they come.
 *
 * WebCrypto hashes asynchronously and only whole buffers: for a line of some hundred bytes a promise costs more than
 * the hash.
 */
export class Sha256 {
  constructor() {
    this.state = new Int32Array(8);
    this.waiting = new Uint8Array(HASH_BLOCK);
    this.reset();
  }

  /** Begin again. */
  reset() {
    this.state.set(INITIAL_STATE);
    this.size = 0;
    this.held = 0;
    return this;
  }

  /** Add bytes, from `start` up to but not including `end`. */
  update(bytes, start = 0, end = bytes.length) {
    this.size += end - start;
    let at = start;
    if (this.held > 0) {
      const wanted = Math.min(HASH_BLOCK - this.held, end - at);
      for (let each = 0; each < wanted; each++) {
        this.waiting[this.held + each] = bytes[at + each];
      }
      this.held += wanted;
      at += wanted;
      if (this.held < HASH_BLOCK) {
        return this;
      }
      compressBlock(this.state, this.waiting, 0);
      this.held = 0;
    }
    for (; at + HASH_BLOCK <= end; at += HASH_BLOCK) {
      compressBlock(this.state, bytes, at);
    }
    while (at < end) {
      this.waiting[this.held++] = bytes[at++];
    }
    return this;
  }

  /** Write the hash into `out` at a position, and begin again. */
  finish(out, position = 0) {
    const waiting = this.waiting;
    const bits = this.size * 8;
    waiting[this.held++] = 0x80;
    if (this.held > HASH_BLOCK - 8) {
      waiting.fill(0, this.held);
      compressBlock(this.state, waiting, 0);
      this.held = 0;
    }
    waiting.fill(0, this.held);
    for (let each = 0, rest = bits; rest > 0; each++, rest = Math.floor(rest / 256)) {
      waiting[HASH_BLOCK - 1 - each] = rest % 256;
    }
    compressBlock(this.state, waiting, 0);
    for (let each = 0; each < 8; each++) {
      const word = this.state[each];
      out[position + 4 * each] = word >>> 24;
      out[position + 4 * each + 1] = word >>> 16;
      out[position + 4 * each + 2] = word >>> 8;
      out[position + 4 * each + 3] = word;
    }
    this.reset();
    return out;
  }

  /** Return the hash, 32 bytes, and begin again. */
  digest() {
    return this.finish(new Uint8Array(HASH_SIZE));
  }
}

function firstPrimes(count) {
  const found = [];
  for (let each = 2; found.length < count; each++) {
    if (found.every((prime) => each % prime)) {
      found.push(each);
    }
  }
  return found;
}

/** Return the SHA-256 of bytes, 32 bytes. */
export function sha256(bytes) {
  return new Sha256().update(bytes).digest();
}

/** Return bytes in hexadecimal. */
export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Take 64 bytes into the state (FIPS 180-4, section 6.2.2). */
function compressBlock(state, bytes, start) {
  const w = schedule;
  for (let t = 0, at = start; t < 16; t++, at += 4) {
    w[t] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
  }
  for (let t = 16; t < 64; t++) {
    const x = w[t - 15];
    const y = w[t - 2];
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    w[t] = (w[t - 16] + s0 + w[t - 7] + s1) | 0;
  }
  let a = state[0], b = state[1], c = state[2], d = state[3];
  let e = state[4], f = state[5], g = state[6], h = state[7];
  for (let t = 0; t < 64; t++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + (g ^ (e & (f ^ g))) + ROUND_CONSTANTS[t] + w[t]) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) | (c & (a | b)))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
  state[5] += f;
  state[6] += g;
  state[7] += h;
}
