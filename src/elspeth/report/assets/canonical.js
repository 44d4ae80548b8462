import { EvidenceError, shownValue } from "./errors.js";

const DEEPEST_JSON = 64;

/**
 * Return the object in a document of canonical JSON (RFC 8785).
 *
 * Any other bytes are refused: a document with one spelling has no name that occurs twice and no number that programs
 * read differently.
 */
export function parseCanonical(bytes, place) {
  let value;
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
  } catch (error) {
    throw new EvidenceError(place, `expected JSON in UTF-8: ${error.message}`);
  }
  if (!isObject(value)) {
    throw new EvidenceError(place, `expected a JSON object, got ${shownValue(text.slice(0, 24))}`);
  }
  if (canonicalJson(value, place) !== text) {
    throw new EvidenceError(place, "is not canonical JSON");
  }
  return value;
}

/** Return the canonical JSON of a value (RFC 8785): JavaScript defines its numbers, texts and order. */
export function canonicalJson(value, place, depth = DEEPEST_JSON) {
  if (depth === 0) {
    throw new EvidenceError(place, "has no canonical JSON: it is nested too deep");
  }
  if (Array.isArray(value)) {
    return `[${value.map((each) => canonicalJson(each, place, depth - 1)).join(",")}]`;
  }
  if (isObject(value)) {
    const member = (name) => `${canonicalJson(name, place, depth)}:${canonicalJson(value[name], place, depth - 1)}`;
    return `{${Object.keys(value).sort().map(member).join(",")}}`;
  }
  if (typeof value === "string" && /\p{Cs}/u.test(value)) {
    throw new EvidenceError(place, "has no canonical JSON: a text is not Unicode");
  }
  return JSON.stringify(value);
}

/** Tell whether a value of JSON is an object. */
export function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/** The members of a JSON object, each taken once: what nothing reads, nothing checks. */
export class Members {
  constructor(value, place) {
    if (!isObject(value)) {
      throw new EvidenceError(place, `expected an object, got ${shownValue(value)}`);
    }
    this.rest = new Map(Object.entries(value));
    this.place = place;
  }

  /** Take a member for which `holds` is true. */
  take(name, expected, holds) {
    const value = this.rest.get(name);
    if (!this.rest.delete(name)) {
      throw new EvidenceError(this.place, `expected a member ${name}, got none`);
    }
    if (!holds(value)) {
      throw new EvidenceError(`${this.place}: ${name}`, `expected ${expected}, got ${shownValue(value)}`);
    }
    return value;
  }

  /** Return whether a member is there and not taken. */
  has(name) {
    return this.rest.has(name);
  }

  /** Take a member that has this value. */
  expect(name, expected) {
    return this.take(name, shownValue(expected), (value) => value === expected);
  }

  text(name) {
    return this.take(name, "text", isText);
  }

  sha256(name) {
    return this.take(name, "a SHA-256 in hexadecimal", (value) => isText(value) && /^[0-9a-f]{64}$/.test(value));
  }

  number(name) {
    return this.take(name, "a whole number", Number.isSafeInteger);
  }

  optionalNumber(name) {
    return this.take(name, "a whole number or null", (value) => value === null || Number.isSafeInteger(value));
  }

  boolean(name) {
    return this.take(name, "true or false", (value) => typeof value === "boolean");
  }

  texts(name) {
    return this.take(name, "an array of texts", (value) => Array.isArray(value) && value.every(isText));
  }

  members(name) {
    return new Members(this.take(name, "an object", isObject), `${this.place}: ${name}`);
  }

  objects(name) {
    const values = this.take(name, "an array of objects", (value) => Array.isArray(value) && value.every(isObject));
    return values.map((value, number) => new Members(value, `${this.place}: ${name}[${number}]`));
  }

  /** End the reading; a member that is left is refused. */
  close() {
    for (const name of this.rest.keys()) {
      throw new EvidenceError(this.place, `expected no further member, got ${shownValue(name)}`);
    }
  }
}

function isText(value) {
  return typeof value === "string";
}
