import { EvidenceError } from "./errors.js";

/** Yield the blocks of a stream; what cannot be read is a fault of the evidence. */
export async function* blocksOf(stream, place) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      yield value;
    }
  } catch (error) {
    throw new EvidenceError(place, `cannot be read: ${error.message}`);
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** Return blocks of bytes as one. */
export function joined(blocks) {
  const whole = new Uint8Array(blocks.reduce((size, block) => size + block.length, 0));
  let at = 0;
  for (const block of blocks) {
    whole.set(block, at);
    at += block.length;
  }
  return whole;
}
