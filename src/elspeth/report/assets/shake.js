const SHAKE_RATE = 136; // bytes that SHAKE-256 takes or gives per permutation
const KECCAK_ROUNDS = 24;

// By how much rho rotates the lanes, and the halves to which pi moves them, in the order of the moves (FIPS 202, section
// 3.2).
const KECCAK_ROTATIONS = new Uint8Array([1, 3, 6, 10, 15, 21, 28, 36, 45, 55, 2, 14, 27, 41, 56, 8, 25, 43, 62, 18, 39, 61, 20, 44]);
const KECCAK_LANES = new Uint8Array([20, 14, 22, 34, 36, 6, 10, 32, 16, 42, 48, 8, 30, 46, 38, 26, 24, 4, 40, 28, 44, 18, 12, 2]);
const KECCAK_IOTA = keccakIota();

const keccakColumns = new Int32Array(10);
const keccakChanges = new Int32Array(10);

/** Return `length` bytes of SHAKE-256 over `input` (FIPS 202, section 6.2). */
export function shake256(input, length) {
  const lanes = new Int32Array(50); // the low and the high half of each of the 25 lanes
  const mix = (index, byte) => {
    lanes[index >> 2] ^= byte << (8 * (index & 3));
  };
  let taken = 0;
  for (const byte of input) {
    mix(taken++, byte);
    if (taken === SHAKE_RATE) {
      permuteKeccak(lanes);
      taken = 0;
    }
  }
  mix(taken, 0x1f);
  mix(SHAKE_RATE - 1, 0x80);
  const output = new Uint8Array(length);
  for (let at = 0; at < length; at += SHAKE_RATE) {
    permuteKeccak(lanes);
    const part = Math.min(SHAKE_RATE, length - at);
    for (let each = 0; each < part; each++) {
      output[at + each] = lanes[each >> 2] >>> (8 * (each & 3));
    }
  }
  return output;
}

/** Apply Keccak-p[1600, 24] (FIPS 202, section 3.3). */
function permuteKeccak(lanes) {
  const columns = keccakColumns;
  const changes = keccakChanges;
  for (let round = 0; round < KECCAK_ROUNDS; round++) {
    // theta, of which the lanes take the changes where they are read
    for (let x = 0; x < 10; x++) {
      columns[x] = lanes[x] ^ lanes[x + 10] ^ lanes[x + 20] ^ lanes[x + 30] ^ lanes[x + 40];
    }
    for (let x = 0; x < 10; x += 2) {
      const next = x < 8 ? x + 2 : 0;
      const last = x > 0 ? x - 2 : 8;
      changes[x] = columns[last] ^ ((columns[next] << 1) | (columns[next + 1] >>> 31));
      changes[x + 1] = columns[last + 1] ^ ((columns[next + 1] << 1) | (columns[next] >>> 31));
    }
    lanes[0] ^= changes[0];
    lanes[1] ^= changes[1];
    // rho and pi
    let low = lanes[2] ^ changes[2];
    let high = lanes[3] ^ changes[3];
    for (let step = 0; step < 24; step++) {
      const lane = KECCAK_LANES[step];
      const column = lane % 10;
      const turn = KECCAK_ROTATIONS[step];
      const first = turn < 32 ? low : high;
      const second = turn < 32 ? high : low;
      low = lanes[lane] ^ changes[column];
      high = lanes[lane + 1] ^ changes[column + 1];
      lanes[lane] = (first << turn) | (second >>> -turn); // both modulo 32
      lanes[lane + 1] = (second << turn) | (first >>> -turn);
    }
    // chi
    for (let y = 0; y < 50; y += y % 10 ? 9 : 1) {
      const a = lanes[y];
      const b = lanes[y + 2];
      const c = lanes[y + 4];
      const d = lanes[y + 6];
      const e = lanes[y + 8];
      lanes[y] = a ^ (~b & c);
      lanes[y + 2] = b ^ (~c & d);
      lanes[y + 4] = c ^ (~d & e);
      lanes[y + 6] = d ^ (~e & a);
      lanes[y + 8] = e ^ (~a & b);
    }
    // iota
    lanes[0] ^= KECCAK_IOTA[2 * round];
    lanes[1] ^= KECCAK_IOTA[2 * round + 1];
  }
}

/** Return the low and the high half of each round's constant (FIPS 202, algorithm 5). */
function keccakIota() {
  const constants = new Int32Array(2 * KECCAK_ROUNDS);
  let register = 1;
  for (let round = 0; round < KECCAK_ROUNDS; round++) {
    for (let j = 0; j < 7; j++) {
      const bit = 2 ** j - 1;
      constants[2 * round + (bit >> 5)] ^= (register & 1) << (bit & 31);
      register <<= 1;
      register ^= register & 0x100 ? 0x171 : 0;
    }
  }
  return constants;
}
