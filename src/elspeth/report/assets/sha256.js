/** Length of a SHA-256 in bytes. */
export const HASH_SIZE = 32;

const HASH_BLOCK = 64;

// The fractional parts of the cube roots of the first 64 primes (FIPS 180-4, section 4.2.2).
const ROUND_CONSTANTS = new Int32Array([
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
]);

// The fractional parts of the square roots of the first 8 primes (FIPS 180-4, section 5.3.3).
const INITIAL_STATE = new Int32Array([
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
]);

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
