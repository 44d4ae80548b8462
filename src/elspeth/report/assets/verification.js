import { BAGIT, RECORDS, parseManifest } from "./bag.js";
import { Members, parseCanonical } from "./canonical.js";
import { CheckedSteps } from "./checkedsteps.js";
import { EvidenceError, shownValue } from "./errors.js";
import { RecordHasher } from "./lines.js";
import { HASH_SIZE, Sha256, sha256, toHex } from "./sha256.js";
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
const PREFIX_SIZE = 4;

const UNLISTED = [TAG_MANIFEST, TIMESTAMP]; // no manifest lists them
const NOT_SUBJECTS = [BAGIT, MANIFEST, TAG_MANIFEST, ENVELOPE, STATEMENT, TIMESTAMP]; // the statement cannot name them

const SALT_ALGORITHM = "shake-256: elspeth leaf salts, NUL, block of 1024 lines (8 bytes), secret";

/**
 * Check the files of a bag.
 *
 * `key` is null if none was given; `tell` is called with the number of lines and bytes read so far. With `isWhole` false
 * only some files of the bag are there: the records, the statement, and the salts if there are any. With `prefixes`, the
 * first bytes of the leaf hashes of all lines, the file of leaf hashes is not there, and is derived from the records.
 * `workers` hash lines, if they are not hashed here.
 */
export async function verifyBag(files, key, { tell = () => {}, isWhole = true, prefixes = null, workers = null } = {}) {
  return new BagVerification(files, key, { tell, isWhole, prefixes, workers }).run();
}

class BagVerification {
  constructor(files, key, { tell, isWhole, prefixes, workers }) {
    this.files = files;
    this.key = key;
    this.tell = tell;
    this.isWhole = isWhole;
    this.prefixes = prefixes;
    this.workers = workers;
    this.names = [...files.sizes.keys(), ...(prefixes === null ? [] : [LEAVES])];
    this.later = prefixes === null ? [RECORDS] : [RECORDS, LEAVES]; // whose SHA-256 follows from the lines
    this.steps = new CheckedSteps();
    this.digests = new Map(); // the SHA-256 of the files, but for those
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
    const { files, names } = this;
    if (new TextDecoder("utf-8", { ignoreBOM: true }).decode(await files.read(BAGIT)) !== BAGIT_TEXT) {
      throw new EvidenceError(BAGIT, "expected BagIt 1.0 in UTF-8, got another declaration");
    }
    for (const name of names) {
      if (!this.later.includes(name)) {
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
    const names = this.names.filter((name) => !NOT_SUBJECTS.includes(name));
    this.compare(said.subjects, names, this.source);
    for (const name of this.later) {
      if (said.subjects.get(name) !== this.listed.get(name)) {
        throw new EvidenceError(this.source, `expected the SHA-256 of ${name} as in ${MANIFEST}`);
      }
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

  /** Compare files with a list; those whose SHA-256 is not known yet by name only. */
  compare(listed, names, place) {
    const found = new Set(names);
    for (const name of [...new Set([...listed.keys(), ...found])].sort()) {
      if (!found.has(name)) {
        throw new EvidenceError(name, `expected this file, which ${place} lists, got none`);
      }
      if (!listed.has(name)) {
        throw new EvidenceError(name, `expected no such file, as ${place} does not list it, got one`);
      }
      if (!this.later.includes(name) && listed.get(name) !== this.digests.get(name)) {
        throw new EvidenceError(name, `expected the SHA-256 ${listed.get(name)} as in ${place}`);
      }
    }
  }

  async checkRecords(said) {
    const { steps } = this;
    let hasher = null;
    let found = null;
    const isReadable = await steps.take(4, async () => {
      hasher = new RecordHasher(said.salted ? await this.readSecret() : null, RECORDS, this.workers);
      found = await this.hashRecords(hasher);
      return `${hasher.lines} lines`;
    });
    if (!isReadable) {
      return;
    }
    await steps.take(6, () => {
      const root = toHex(hasher.root());
      if (found.altered !== null && (root !== said.root || this.prefixes === null)) {
        throw new EvidenceError(hasher.linePlace(found.altered), "expected the line that was sealed, got another");
      }
      if (root !== said.root) {
        throw new EvidenceError(RECORDS, `expected the root ${said.root} as in the statement, got ${root}`);
      }
      if (this.prefixes !== null && found.digest !== said.subjects.get(LEAVES)) {
        throw new EvidenceError(LEAVES, `expected the SHA-256 ${said.subjects.get(LEAVES)} as in the statement`);
      }
      if (this.isWhole && this.prefixes === null && this.files.sizes.get(LEAVES) !== HASH_SIZE * said.recordCount) {
        throw new EvidenceError(LEAVES, `expected ${HASH_SIZE} bytes for each of ${said.recordCount} records`);
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

  /**
   * Hash all lines.
   *
   * Returns the SHA-256 of their leaf hashes, and the number of the first line, from 0, that has another leaf hash than
   * the bag says, or null.
   */
  async hashRecords(hasher) {
    const size = this.prefixes === null ? HASH_SIZE : PREFIX_SIZE;
    const claimed = this.claimedHashes();
    const digest = new Sha256();
    let altered = null;
    let before = 0;
    for await (const hashes of hasher.hashes(this.files.blocks(RECORDS))) {
      if (this.prefixes !== null) {
        digest.update(hashes);
      }
      if (claimed !== null && altered === null) {
        const count = hashes.length / HASH_SIZE;
        const difference = firstDifference(hashes, await claimed.read(count * size), count, size);
        altered = difference === null ? null : before + difference;
      }
      before = hasher.lines;
      this.tell({ lines: hasher.lines, bytes: hasher.bytes });
    }
    return { altered, digest: toHex(digest.digest()) };
  }

  /** Return a reader of the leaf hashes that the bag claims, or of their first bytes; null if there are none. */
  claimedHashes() {
    if (this.prefixes !== null) {
      return new ByteReader([this.prefixes].values());
    }
    return this.isWhole ? new ByteReader(this.files.blocks(LEAVES)) : null;
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

/** Return the number of the first hash that does not begin with the `size` bytes claimed for it, or null. */
function firstDifference(hashes, claimed, count, size) {
  for (let number = 0; number < count; number++) {
    for (let at = 0; at < size; at++) {
      if (hashes[number * HASH_SIZE + at] !== claimed[number * size + at]) {
        return number;
      }
    }
  }
  return null;
}

/** Take step 2 with an envelope, or without one. */
export async function checkSignature(steps, { envelope, said, key, place, sha256: identity }) {
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
export function conclude(steps, statement, key, noun = "statement") {
  const { fault } = steps;
  const result = { steps: steps.found, runId: statement?.said.runId ?? null, epoch: statement?.said.epoch, fault };
  if (fault !== null) {
    const what = key === null ? `what their ${noun} says` : `what the key SHA256:${key.fingerprint} signed`;
    return { ...result, verdict: "refused", text: `These records are not ${what}. ${fault}` };
  }
  if (statement.envelope === null) {
    const text = `These records are what their ${noun} says. Nobody signed it: anybody could have made both.`;
    return { ...result, verdict: "unsigned", text };
  }
  if (key === null) {
    const text = `These records are what their ${noun} says. Its signature was not checked, as no key was given.`;
    return { ...result, verdict: "unchecked", text };
  }
  return { ...result, verdict: "signed", text: `These records are what the key SHA256:${key.fingerprint} signed.` };
}
