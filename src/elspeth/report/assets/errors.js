import { shortened, visible } from "./text.js";

/** Evidence that does not hold: `place` says where, `problem` what was expected and what was found. */
export class EvidenceError extends Error {
  constructor(place, problem) {
    super(`${visible(place)}: ${problem}`);
  }
}

/** Return a foreign value for a message: visible, and not long. */
export function shownValue(value) {
  return shortened(visible(JSON.stringify(value) ?? String(value)), 80);
}
