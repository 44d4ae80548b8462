import { parseRecord } from "./store.js";

/** The most rows that a search lists. */
const MOST_HITS = 200;

/** The characters shown before and after what was found in a text. */
const AROUND = 60;

/**
 * Return the rows that a text names.
 *
 * It may be the number of a row, the id of any record, or a part of an error. Each hit has the number of its row (null if
 * the record belongs to none), its token, and why it was found; a token is listed once. `more` says that there are more than are listed.
 */
export async function search(store, types, text, progress = () => {}) {
  const wanted = text.trim();
  const hits = [];
  if (!wanted) return { hits, more: false };
  if (/^\d{1,16}$/.test(wanted)) {
    for (const row of await store.records("row", "row_index", [Number(wanted)])) hits.push(hitOf(row, null, "its number"));
  }
  for (const [name, type] of Object.entries(types)) {
    const key = type.key.at(-1);
    if (name === "run" || !type.lookups.includes(key)) continue;
    for (const record of await store.records(name, key, [wanted])) {
      const { row, token } = await originOf(store, record);
      hits.push(hitOf(row, token, `${name.replaceAll("_", " ")} ${wanted}`));
    }
  }
  const more = hits.length ? false : await searchErrors(store, types, wanted.toLowerCase(), hits, progress);
  const places = new Map(hits.map((hit) => [JSON.stringify(hit.row === null ? hit : [hit.row, hit.token]), hit]));
  return { hits: [...places.values()].slice(0, MOST_HITS), more };
}

/** Add the errors with a text in them; return whether there are more than are listed. */
async function searchErrors(store, types, wanted, hits, progress) {
  const plain = plainPart(wanted);
  for (const [name, { errors }] of Object.entries(types)) {
    if (!errors.length) continue;
    const found = [];
    for (const number of store.index.ofType(name)) {
      const line = await store.line(number);
      if (!line.toLowerCase().includes(plain)) continue;
      const record = parseRecord(line);
      const place = matchOf(record, errors, wanted);
      if (place === null) continue;
      found.push({ record, place });
      progress(hits.length + found.length);
      if (hits.length + found.length > MOST_HITS) break;
    }
    const rows = await rowsOfContent(store, found.map(({ record }) => record.row_hash));
    for (const { record, place } of found) {
      const { row, token } = await originOf(store, record);
      const ofContent = row ? [row] : (rows.get(record.row_hash) ?? [null]);
      for (const each of ofContent) hits.push(hitOf(each, token, place));
    }
    if (hits.length > MOST_HITS) return true;
  }
  return false;
}

/** Return the longest part of a text that lines hold as it is, however often it was escaped. */
function plainPart(text) {
  return text.split(/["\\\u0000-\u001f]/).reduce((longest, part) => (part.length > longest.length ? part : longest), "");
}

/** Return the first text of the record with the wanted one in it, and what is around that. */
function matchOf(record, columns, wanted) {
  for (const name of columns) {
    const value = record[name];
    if (typeof value !== "string") continue;
    const at = value.toLowerCase().indexOf(wanted);
    if (at < 0) continue;
    const start = Math.max(0, at - AROUND);
    const end = at + wanted.length + AROUND;
    return `${name}: ${start ? "…" : ""}${value.slice(start, end)}${end < value.length ? "…" : ""}`;
  }
  return null;
}

/** Return the row and the token that a record belongs to, null for each that it does not name. */
async function originOf(store, record) {
  const only = async (type, key, value) => (value ? ((await store.records(type, key, [value]))[0] ?? null) : null);
  if (record.record_type === "row") return { row: record, token: null };
  const state = await only("node_state", "state_id", record.state_id ?? record.produced_by_state_id);
  const token = await only("token", "token_id", record.token_id ?? state?.token_id);
  return { row: await only("row", "row_id", record.row_id ?? token?.row_id), token: token?.token_id ?? null };
}

/** Return the rows with these contents, by the hash of the content. */
async function rowsOfContent(store, hashes) {
  const wanted = new Set(hashes.filter(Boolean));
  const found = new Map();
  if (!wanted.size) return found;
  for (const number of store.index.ofType("row")) {
    const row = parseRecord(await store.line(number));
    if (!wanted.has(row.source_data_hash)) continue;
    found.set(row.source_data_hash, [...(found.get(row.source_data_hash) ?? []), row]);
  }
  return found;
}

function hitOf(row, token, why) {
  return { row: row ? row.row_index : null, token, why };
}
