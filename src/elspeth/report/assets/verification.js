import { BAGIT, RECORDS, parseManifest } from "./bag.js";
import { Members, parseCanonical } from "./canonical.js";
import { EvidenceError, shownValue } from "./errors.js";
import { RecordHasher } from "./lines.js";
import { HASH_SIZE, sha256, toHex } from "./sha256.js";
import { parseEnvelope, verifyEnvelope } from "./signature.js";
import { LEAF_SALTS_VERSION, PAYLOAD_TYPE, parseStatement } from "./statement.js";

const BAGIT_TEXT = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";
const MANIFEST = "manifest-sha256.txt";
const TAG_MANIFEST = "tagmanifest-sha256.txt";
const ENVELOPE = "statement.dsse.json";
const STATEMENT = "statement.json";
const TIMESTAMP = "statement.dsse.json.tsr";
const LEAVES = "data/leaf-hashes.bin";
const SALTS = "data/salts.json";
const PAYLOAD = "data/";

const UNLISTED = [TAG_MANIFEST, TIMESTAMP]; // no manifest lists them
const NOT_SUBJECTS = [BAGIT, MANIFEST, TAG_MANIFEST, ENVELOPE, STATEMENT, TIMESTAMP]; // the statement cannot name them

const SALT_ALGORITHM = "shake-256: elspeth leaf salts, NUL, block of 1024 lines (8 bytes), secret";

/** The steps of `elspeth verify`: what the page checks of each, and what it leaves to that command. */
export const STEPS = [
  {
    title: "structure and manifests",
    checks: "the manifests list these files and no others, with their SHA-256",
    leaves: "the SHA-256 of the records as one file: step 6 covers their lines",
  },
  {
    title: "envelope and signature",
    checks: "the key given signed the statement",
    leaves: "time-stamps and certificates",
  },
  {
    title: "statement against files",
    checks: "the statement is complete and names these files and no others, with their SHA-256",
    leaves: "whether schema and epoch belong together",
  },
  {
    title: "lines",
    checks: "each ends with a line feed, and has at most 64 MiB",
    leaves: "canonical JSON, schema, order and keys",
  },
  { title: "counts", checks: "there are as many records as the statement says", leaves: "how many of each type" },
  { title: "Merkle root", checks: "the lines, in this order, have the root in the statement", leaves: "nothing" },
  { title: "references", checks: "nothing", leaves: "all" },
  { title: "lifecycles", checks: "nothing", leaves: "all" },
  { title: "accounting", checks: "nothing", leaves: "all" },
];

/** Collects how the steps end. The first fault of a step stands, whatever follows. */
class CheckedSteps {
  constructor() {
    this.found = STEPS.map(({ title, checks }) => {
      return { title, status: checks === "nothing" ? "not checked here" : "not reached", detail: "" };
    });
  }

  /** Take a step, or a part of one; return whether no part has failed. */
  async take(number, check) {
    try {
      const detail = await check();
      if (detail !== undefined) {
        this.end(number, "ok", detail);
      }
    } catch (error) {
      if (!(error instanceof EvidenceError)) {
        throw error;
      }
      this.end(number, "FAILED", error.message);
    }
    return !this.failed(number);
  }

  end(number, status, detail) {
    if (!this.failed(number)) {
      Object.assign(this.found[number - 1], { status, detail });
    }
  }

  failed(...numbers) {
    return numbers.some((number) => this.found[number - 1].status === "FAILED");
  }

  /** The detail of the first fault, or null. */
  get fault() {
    return this.found.find((step) => step.status === "FAILED")?.detail ?? null;
  }
}

/**
 * Check the files of a bag.
 *
 * `key` is null if none was given; `tell` is called with the number of lines and bytes read so far. With `isWhole` false
 * only some files of the bag are there: the records, the statement, and the salts if there are any.
 */
export async function verifyBag(files, key, { tell = () => {}, isWhole = true } = {}) {
  return new BagVerification(files, key, tell, isWhole).run();
}

class BagVerification {
  constructor(files, key, tell, isWhole) {
    this.files = files;
    this.isWhole = isWhole;
    this.key = key;
    this.tell = tell;
    this.steps = new CheckedSteps();
    this.digests = new Map(); // the SHA-256 of the files, but for the records
    this.listed = new Map(); // what the manifest says
    this.source = files.sizes.has(ENVELOPE) ? ENVELOPE : STATEMENT;
  }

  async run() {
    const { steps } = this;
    if (this.isWhole) {
      await steps.take(1, () => this.checkStructure());
    } else {
      [1, 3].forEach((number) => steps.end(number, "not checked here", "only some files of the bag were given"));
    }
    let statement = null;
    await steps.take(2, async () => {
      statement = await this.readStatement();
      await checkSignature(steps, { ...statement, key: this.key, place: this.source });
    });
    if (statement !== null) {
      await steps.take(this.isWhole ? 3 : 2, () => this.checkFiles(statement.said));
      if (!steps.failed(1, 2, 3)) {
        await this.checkRecords(statement.said);
      }
    }
    return conclude(steps, statement, this.key);
  }

  async checkStructure() {
    const { files } = this;
    if (new TextDecoder().decode(await files.read(BAGIT)) !== BAGIT_TEXT) {
      throw new EvidenceError(BAGIT, "expected BagIt 1.0 in UTF-8, got another declaration");
    }
    const names = [...files.sizes.keys()];
    for (const name of names) {
      if (name !== RECORDS) {
        this.digests.set(name, await files.sha256(name));
      }
    }
    this.listed = parseManifest(await files.read(MANIFEST), MANIFEST);
    const tags = parseManifest(await files.read(TAG_MANIFEST), TAG_MANIFEST);
    const isPayload = (name) => name.startsWith(PAYLOAD);
    this.compare(this.listed, names.filter(isPayload), MANIFEST);
    this.compare(tags, names.filter((name) => !isPayload(name) && !UNLISTED.includes(name)), TAG_MANIFEST);
    if (files.sizes.has(ENVELOPE) && files.sizes.has(STATEMENT)) {
      throw new EvidenceError(STATEMENT, `expected no unsigned statement beside ${ENVELOPE}, got one`);
    }
    return `${names.length} files`;
  }

  async readStatement() {
    const document = await this.files.read(this.source);
    if (this.source === STATEMENT) {
      return { envelope: null, said: parseStatement(document, STATEMENT), sha256: toHex(sha256(document)) };
    }
    const envelope = parseEnvelope(document, ENVELOPE);
    if (envelope.payloadType !== PAYLOAD_TYPE) {
      const problem = `expected a payload of type ${PAYLOAD_TYPE}, got ${shownValue(envelope.payloadType)}`;
      throw new EvidenceError(ENVELOPE, problem);
    }
    return { envelope, said: parseStatement(envelope.payload, ENVELOPE), sha256: toHex(sha256(envelope.payload)) };
  }

  async checkFiles(said) {
    if (!this.isWhole) {
      await this.checkSalts(said);
      return undefined;
    }
    const names = [...this.files.sizes.keys()].filter((name) => !NOT_SUBJECTS.includes(name));
    this.compare(said.subjects, names, this.source);
    if (said.subjects.get(RECORDS) !== this.listed.get(RECORDS)) {
      throw new EvidenceError(this.source, `expected the SHA-256 of ${RECORDS} as in ${MANIFEST}`);
    }
    const hasSalts = this.files.sizes.has(SALTS);
    if (said.version >= LEAF_SALTS_VERSION && said.salted !== hasSalts) {
      throw new EvidenceError(`${this.source}: salted`, `expected ${hasSalts}, as ${SALTS} says`);
    }
    return `${names.length} files`;
  }

  /** Compare the salts, of which the hashes of the lines are made, with the statement. */
  async checkSalts(said) {
    if (said.salted && (await this.files.sha256(SALTS)) !== said.subjects.get(SALTS)) {
      throw new EvidenceError(SALTS, `expected the SHA-256 ${said.subjects.get(SALTS)} as in ${this.source}`);
    }
  }

  /** Compare files with a list; the records by name only. */
  compare(listed, names, place) {
    for (const name of [...new Set([...listed.keys(), ...names])].sort()) {
      if (!names.includes(name)) {
        throw new EvidenceError(name, `expected this file, which ${place} lists, got none`);
      }
      if (!listed.has(name)) {
        throw new EvidenceError(name, `expected no such file, as ${place} does not list it, got one`);
      }
      if (name !== RECORDS && listed.get(name) !== this.digests.get(name)) {
        throw new EvidenceError(name, `expected the SHA-256 ${listed.get(name)} as in ${place}`);
      }
    }
  }

  async checkRecords(said) {
    const { files, steps } = this;
    const expected = HASH_SIZE * said.recordCount;
    let hasher = null;
    let altered = null;
    const isReadable = await steps.take(4, async () => {
      hasher = new RecordHasher(said.salted ? await this.readSecret() : null, RECORDS);
      altered = await this.hashRecords(hasher, this.isWhole ? new ByteReader(files.blocks(LEAVES)) : null);
      hasher.end();
      return `${hasher.lines} lines`;
    });
    if (!isReadable) {
      return;
    }
    await steps.take(6, () => {
      if (this.isWhole && files.sizes.get(LEAVES) !== expected) {
        throw new EvidenceError(LEAVES, `expected ${HASH_SIZE} bytes for each of ${said.recordCount} records`);
      }
      if (altered !== null) {
        throw new EvidenceError(hasher.linePlace(altered), `expected the line that was sealed, as in ${LEAVES}`);
      }
      const root = toHex(hasher.root());
      if (root !== said.root) {
        throw new EvidenceError(RECORDS, `expected the root ${said.root} as in the statement, got ${root}`);
      }
      return `the root ${root}`;
    });
    await steps.take(5, () => {
      if (hasher.lines !== said.recordCount) {
        throw new EvidenceError(RECORDS, `expected ${said.recordCount} records as in the statement, got ${hasher.lines}`);
      }
      return `${hasher.lines} records`;
    });
  }

  async readSecret() {
    const members = new Members(parseCanonical(await this.files.read(SALTS), SALTS), SALTS);
    members.expect("algorithm", SALT_ALGORITHM);
    const secret = members.take("secret", "a text that is not empty", (value) => typeof value === "string" && value);
    members.close();
    return secret;
  }

  /** Hash all lines; return the number of the first, from 0, whose leaf hash is not the one in `leaves`, or null. */
  async hashRecords(hasher, leaves) {
    let bytes = 0;
    let altered = null;
    for await (const block of this.files.blocks(RECORDS)) {
      const before = hasher.lines;
      const hashes = hasher.add(block);
      const difference = leaves === null ? -1 : firstDifference(hashes, await leaves.read(hashes.length));
      if (difference >= 0 && altered === null) {
        altered = before + Math.floor(difference / HASH_SIZE);
      }
      bytes += block.length;
      this.tell({ lines: hasher.lines, bytes });
    }
    return altered;
  }
}

/** Reads bytes from blocks, as many as are asked for. */
class ByteReader {
  constructor(blocks) {
    this.blocks = blocks;
    this.block = new Uint8Array(0);
    this.at = 0;
  }

  /** Return the next bytes, fewer at the end. */
  async read(size) {
    const found = new Uint8Array(size);
    let filled = 0;
    while (filled < size) {
      if (this.at === this.block.length) {
        const { done, value } = await this.blocks.next();
        if (done) {
          return found.subarray(0, filled);
        }
        this.block = value;
        this.at = 0;
      }
      const part = this.block.subarray(this.at, this.at + size - filled);
      found.set(part, filled);
      filled += part.length;
      this.at += part.length;
    }
    return found;
  }
}

/** Return where bytes first differ or one of them ends, or -1. */
function firstDifference(one, other) {
  for (let at = 0; at < one.length; at++) {
    if (one[at] !== other[at]) {
      return at;
    }
  }
  return -1;
}

/** Take step 2 with an envelope, or without one. */
async function checkSignature(steps, { envelope, said, key, place, sha256: identity }) {
  const statement = `the statement has the SHA-256 ${identity}`;
  if (envelope === null && key !== null) {
    const expected = `expected a signature by the key ${key.fingerprint}`;
    throw new EvidenceError(place, `${expected}, got none: it is unsigned, or the envelope was removed`);
  }
  if (envelope === null) {
    steps.end(2, "OPEN", `UNSIGNED; ${statement}`);
  } else if (key === null) {
    const claim = `it claims to be signed by the key ${shownValue(envelope.keyid)}`;
    steps.end(2, "OPEN", `NOT CHECKED: no key was given; ${claim}; ${statement}`);
  } else {
    await verifyEnvelope(envelope, key, place, { lowS: said.version > 1 });
    steps.end(2, "ok", `signed by the key ${key.fingerprint}; ${statement}`);
  }
}

/** Return the result: how the steps ended, and what may be said of the records. */
function conclude(steps, statement, key) {
  const { fault } = steps;
  const result = { steps: steps.found, runId: statement?.said.runId ?? null, fault };
  if (fault !== null) {
    const what = key === null ? "what their statement says" : `what the key SHA256:${key.fingerprint} signed`;
    return { ...result, verdict: "refused", text: `These records are not ${what}. ${fault}` };
  }
  if (statement.envelope === null) {
    const text = "These records are what their statement says. Nobody signed it: anybody could have made both.";
    return { ...result, verdict: "unsigned", text };
  }
  if (key === null) {
    const text = "These records are what their statement says. Its signature was not checked, as no key was given.";
    return { ...result, verdict: "unchecked", text };
  }
  return { ...result, verdict: "signed", text: `These records are what the key SHA256:${key.fingerprint} signed.` };
}
