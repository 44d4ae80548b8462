import { Members, isObject, parseCanonical } from "./canonical.js";
import { EvidenceError, shownValue } from "./errors.js";

/** The DSSE payload type of a statement. */
export const PAYLOAD_TYPE = "application/vnd.in-toto+json";

const STATEMENT_TYPE = "https://in-toto.io/Statement/v1";
const RUN_STATEMENT = /^urn:elspeth:audit-trail-export:v([1-3])$/;
const DATABASE_STATEMENT = "urn:elspeth:database-as-found:v1";
const DATABASE_VERSION = 3; // the version of a run's statements whose rules hold for those of databases

/** The first version of the statement whose salts belong to the leaves of the tree. */
export const LEAF_SALTS_VERSION = 3;

/**
 * Return what a statement says: an in-toto Statement v1 about a run or a database as found.
 *
 * `subjects` maps names of files to their SHA-256 in hexadecimal. `runId` is null for a database.
 */
export function parseStatement(bytes, place) {
  const members = new Members(parseCanonical(bytes, place), place);
  members.expect("_type", STATEMENT_TYPE);
  const kind = members.text("predicateType");
  const isDatabase = kind === DATABASE_STATEMENT;
  const version = isDatabase ? DATABASE_VERSION : Number(RUN_STATEMENT.exec(kind)?.[1]);
  if (!version) {
    throw new EvidenceError(`${place}: predicateType`, `got ${shownValue(kind)}: use a newer page`);
  }
  const subjects = parseSubjects(members.objects("subject"), place);
  const predicate = members.members("predicate");
  members.close();
  const tree = predicate.members("merkle_tree");
  tree.expect("algorithm", "rfc9162-sha256");
  const root = tree.sha256("root");
  const salted = version >= LEAF_SALTS_VERSION && tree.boolean("salted");
  tree.close();
  const counts = predicate.take("counts", "an object of counts of at least one", isCounts);
  const recordCount = Object.values(counts).reduce((sum, each) => sum + each, 0);
  predicate.expect("record_count", recordCount);
  if (!predicate.boolean("complete")) {
    throw new EvidenceError(`${place}: complete`, "expected true, got false: the export says that it is incomplete");
  }
  const { runId, epoch } = isDatabase ? parseDatabaseFacts(predicate) : parseRunFacts(predicate, version);
  if (version >= LEAF_SALTS_VERSION && predicate.has("contact")) {
    parseContact(predicate.members("contact"));
  }
  predicate.close();
  return { version, subjects, root, salted, counts, recordCount, runId, epoch };
}

function parseContact(contact) {
  for (const name of ["name", "email"]) {
    contact.take(name, "text or null", (value) => value === null || typeof value === "string");
  }
  contact.close();
}

function parseSubjects(entries, place) {
  const subjects = new Map();
  for (const entry of entries) {
    const name = entry.text("name");
    const digest = entry.members("digest");
    entry.close();
    if (subjects.has(name)) {
      throw new EvidenceError(`${place}: subject`, `expected each file once, got ${shownValue(name)} again`);
    }
    subjects.set(name, digest.sha256("sha256"));
    digest.close();
  }
  return subjects;
}

function parseRunFacts(predicate, version) {
  const runId = predicate.text("run_id");
  predicate.text("run_status");
  const epoch = predicate.number("epoch");
  predicate.texts("withheld");
  if (version > 1) {
    predicate.optionalNumber("recorded_epoch");
  }
  return { runId, epoch };
}

function parseDatabaseFacts(predicate) {
  for (const name of ["name", "engine", "read_at"]) {
    predicate.text(name);
  }
  return { runId: null, epoch: null };
}

function isCounts(value) {
  return isObject(value) && Object.values(value).every((each) => Number.isSafeInteger(each) && each > 0);
}
