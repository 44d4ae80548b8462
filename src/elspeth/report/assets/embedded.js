import { BagFiles, RECORDS } from "./bag.js";
import { canonicalJson, parseCanonical } from "./canonical.js";
import { CheckedSteps } from "./checkedsteps.js";
import { EvidenceError } from "./errors.js";
import { LeafWorkers } from "./leafworkers.js";
import { RecordHasher } from "./lines.js";
import { PackedBlock } from "./packed.js";
import { sha256, toHex } from "./sha256.js";
import { VerifyingKey, parseEnvelope } from "./signature.js";
import { blocksOf } from "./stream.js";
import { checkSignature, conclude, verifyBag } from "./verification.js";

/** The name under which a page made from a bag has the first bytes of each leaf hash, which show an altered line. */
const PREFIXES = "leaf-prefixes";

const SEAL_TYPE = "application/vnd.elspeth.run-seal+json";
const LINE_END = new Uint8Array([10]);

/**
 * Check the records in a page.
 *
 * `files` are pairs of name and packed content if it was made from a bag, `seal` what a database says of the run, `code`
 * the script of workers. With `archive`, a bag of the run, that is checked in place of the records in the page.
 * `tell` is called with the number of records so far.
 */
export async function checkEmbedded({ pem, files, blocks, seal, embedded, total, code, archive, runId, epoch }, tell) {
  if (archive === undefined && embedded < total) {
    return unchecked(`This page holds ${embedded} of ${total} records, and only all of them together can be checked.`);
  }
  const key = pem === null ? null : await VerifyingKey.fromPem(pem, "key");
  const workers = new LeafWorkers(code);
  if (archive !== undefined) {
    const result = await verifyBag(await BagFiles.ofArchive(archive), key, { tell: ({ lines }) => tell(lines), workers });
    return result.fault === null ? ofThisRun(result, runId, epoch) : result;
  }
  if (files.length) {
    return checkBag(files, blocks, key, workers, tell);
  }
  if (seal) {
    return checkSeal(seal, blocks, key, workers, tell);
  }
  return unchecked("This page was made from records that nobody sealed: nothing shows whether they were changed.");
}

function unchecked(text) {
  return { verdict: "unchecked", text, steps: [] };
}

function ofThisRun(result, runId, epoch) {
  const found = `of the run ${result.runId} in epoch ${result.epoch}`;
  const expected = `of the run ${runId} in epoch ${epoch}`;
  if (found !== expected) {
    throw new EvidenceError("bag", `expected one ${expected}, got one ${found}`);
  }
  return result;
}

async function checkBag(files, blocks, key, workers, tell) {
  const packed = new Map(files.map(([name, content]) => [name, new PackedBlock(content)]));
  const prefixes = packed.get(PREFIXES);
  packed.delete(PREFIXES);
  const entries = [...packed].map(([name, block]) => [name, 0, () => blocksOf(block.stream(), name)]);
  entries.push([RECORDS, 0, () => linesIn(blocks)]);
  const hints = prefixes === undefined ? new Uint8Array(0) : await prefixes.bytes();
  return verifyBag(new BagFiles(entries), key, { tell: ({ lines }) => tell(lines), prefixes: hints, workers });
}

/** Yield the lines of blocks, of which the last has no line feed. */
async function* linesIn(blocks) {
  for (const packed of blocks) {
    yield* blocksOf(new PackedBlock(packed).stream(), "a block of this page");
    yield LINE_END;
  }
}

/** Check the records of a run in a database against its seal, which leaves out the columns that may still change. */
async function checkSeal({ payload, envelope, columns }, blocks, key, workers, tell) {
  const place = "seal";
  const steps = new CheckedSteps();
  [1, 3, 4].forEach((number) => steps.end(number, "not checked here", "this page was made from a database"));
  const content = new TextEncoder().encode(payload);
  const said = { ...parseCanonical(content, place), version: 2 };
  await steps.take(2, async () => {
    const found = envelope === null ? null : parseEnvelope(new TextEncoder().encode(envelope), place);
    if (found !== null && (found.payloadType !== SEAL_TYPE || toHex(found.payload) !== toHex(content))) {
      throw new EvidenceError(place, "expected the signature of this seal, got that of another document");
    }
    await checkSignature(steps, { envelope: found, said, key, place, sha256: toHex(sha256(content)) });
  });
  const hasher = new RecordHasher(null, "records", workers);
  const open = new Set(); // columns that may still change
  await steps.take(6, async () => {
    for await (const hashes of hasher.hashes(sealedLines(blocks, columns, hasher, open))) {
      tell(hasher.lines);
    }
    const root = toHex(hasher.root());
    if (root !== said.root) {
      throw new EvidenceError("records", `expected the root ${said.root} as in the seal, got ${root}`);
    }
    return `the root ${root}`;
  });
  await steps.take(5, () => {
    if (hasher.lines !== said.record_count) {
      throw new EvidenceError("records", `expected ${said.record_count} as in the seal, got ${hasher.lines}`);
    }
    return `${hasher.lines} records`;
  });
  const result = conclude(steps, { envelope, said: { runId: said.run_id } }, key, "seal");
  const rest = [...open].sort().join(", ");
  const tail = rest && result.fault === null ? ` Not sealed, as they may still change: ${rest}.` : "";
  return { ...result, text: result.text + tail };
}

/** Yield lines with the sealed columns alone, where a type has others; each with a line feed. */
async function* sealedLines(blocks, columns, hasher, open) {
  let before = 0;
  for (const packed of blocks) {
    const lines = (await new PackedBlock(packed).text()).split("\n");
    const sealed = lines.map((line, number) => {
      const type = /"record_type":"([^"]*)"/.exec(line)?.[1];
      if (!Object.hasOwn(columns, type)) {
        return line;
      }
      const place = hasher.linePlace(before + number);
      const record = parseCanonical(new TextEncoder().encode(line), place);
      const kept = new Set(["record_type", ...columns[type]]);
      const [inside, outside] = [true, false].map((is) => Object.entries(record).filter(([name]) => kept.has(name) === is));
      outside.forEach(([name]) => open.add(`${type}.${name}`));
      return canonicalJson(Object.fromEntries(inside), place);
    });
    before += lines.length;
    yield new TextEncoder().encode(`${sealed.join("\n")}\n`);
  }
}
