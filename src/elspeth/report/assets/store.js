/** Number of blocks that are kept unpacked: a story reads some of them several times. */
const KEPT_BLOCKS = 24;

/**
 * Where the records are, by type and value.
 *
 * `types` maps each record type to its `lookups`, the columns by which its records are found. Per record it keeps the
 * type and the place of the line; per value a hash and the record's number. Everything is in typed arrays: a million
 * records take about 35 MB.
 */
export class RecordIndex {
  constructor(types) {
    this.typeNames = Object.keys(types);
    this.lookups = this.typeNames.map((name) => types[name].lookups);
    // Where the columns stand in a line is sorted by their names.
    this.marks = this.lookups.map((columns) => columns.map((name, order) => [`"${name}":`, order]).sort());
    this.numbers = new Map(this.typeNames.map((name, number) => [name, number]));
    this.kinds = new Growing(Uint8Array);
    this.starts = new Growing(Uint32Array);
    this.ends = new Growing(Uint32Array);
    this.hashes = new Growing(Uint32Array);
    this.owners = new Growing(Uint32Array);
    this.firsts = [];
  }

  /** The number of records. */
  get size() {
    return this.kinds.length;
  }

  /** Add the lines of the next block, whose last line may lack its line feed. */
  add(text) {
    this.firsts.push(this.size);
    for (let start = 0; start < text.length; ) {
      const feed = text.indexOf("\n", start);
      const end = feed < 0 ? text.length : feed;
      if (end > start) this.addLine(text.slice(start, end), start, end);
      start = end + 1;
    }
  }

  addLine(line, start, end) {
    const type = this.numbers.get(valueAfter(line, line.indexOf(TYPE_MARK), TYPE_MARK));
    const number = this.size;
    this.kinds.push(type === undefined ? UNKNOWN : type);
    this.starts.push(start);
    this.ends.push(end);
    if (type === undefined) return;
    let from = 0;
    for (const [mark, order] of this.marks[type]) {
      const at = line.indexOf(mark, from);
      const value = valueAfter(line, at, mark);
      if (value === null) continue;
      from = at;
      this.hashes.push(hashOf(type, order, value));
      this.owners.push(number);
    }
  }

  /** Sort the values into buckets; call it once, after the last block. */
  finish() {
    const { hashes, owners } = this;
    this.shift = 32 - Math.max(4, Math.ceil(Math.log2(hashes.length + 1)));
    const buckets = 2 ** (32 - this.shift);
    this.bounds = new Uint32Array(buckets + 1);
    const filled = hashes.values();
    for (const hash of filled) this.bounds[(hash >>> this.shift) + 1] += 1;
    for (let bucket = 0; bucket < buckets; bucket += 1) this.bounds[bucket + 1] += this.bounds[bucket];
    const next = this.bounds.slice();
    this.sortedHashes = new Uint32Array(filled.length);
    this.sortedOwners = new Uint32Array(filled.length);
    const found = owners.values();
    for (let at = 0; at < filled.length; at += 1) {
      const place = next[filled[at] >>> this.shift]++;
      this.sortedHashes[place] = filled[at];
      this.sortedOwners[place] = found[at];
    }
    this.hashes = this.owners = null;
  }

  /** Return the numbers of the records that may have one of the values, in order. */
  find(typeName, column, values) {
    const type = this.numbers.get(typeName);
    const order = this.lookups[type].indexOf(column);
    if (order < 0) throw new Error(`${typeName} records are not looked up by ${column}`);
    const found = new Set();
    for (const value of values) {
      const hash = hashOf(type, order, value);
      const bucket = hash >>> this.shift;
      for (let at = this.bounds[bucket]; at < this.bounds[bucket + 1]; at += 1) {
        if (this.sortedHashes[at] === hash) found.add(this.sortedOwners[at]);
      }
    }
    return [...found].sort((one, other) => one - other);
  }

  /** Return the numbers of all records of a type, in order. */
  ofType(typeName) {
    const type = this.numbers.get(typeName);
    const kinds = this.kinds.values();
    const found = [];
    for (let number = 0; number < kinds.length; number += 1) if (kinds[number] === type) found.push(number);
    return found;
  }

  /** Return the number of the block with a record. */
  blockOf(number) {
    let low = 0;
    let high = this.firsts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.firsts[middle] <= number) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/**
 * The records of one run, read from blocks of lines.
 *
 * A block has a method `text()`, which returns a promise of its lines.
 */
export class RecordStore {
  constructor(types) {
    this.index = new RecordIndex(types);
    this.blocks = [];
    this.unpacked = new Map();
  }

  /** Read every block once; `progress` is called with the number of records so far. */
  async fill(blocks, progress = () => {}) {
    for await (const block of blocks) {
      this.blocks.push(block);
      this.index.add(await block.text());
      progress(this.index.size);
    }
    this.index.finish();
  }

  /** Return the records whose column has one of the values, in order. */
  async records(typeName, column, values) {
    const wanted = new Set(values);
    if (!wanted.size) return [];
    const found = await this.read(this.index.find(typeName, column, wanted));
    return found.filter((record) => record.record_type === typeName && wanted.has(record[column]));
  }

  /** Return the records with these numbers. */
  async read(numbers) {
    const found = [];
    for (const number of numbers) found.push(parseRecord(await this.line(number)));
    return found;
  }

  /** Return the line of a record. */
  async line(number) {
    const text = await this.block(this.index.blockOf(number));
    return text.slice(this.index.starts.at(number), this.index.ends.at(number));
  }

  async block(number) {
    let text = this.unpacked.get(number);
    if (text === undefined) text = await this.blocks[number].text();
    this.unpacked.delete(number);
    this.unpacked.set(number, text);
    if (this.unpacked.size > KEPT_BLOCKS) this.unpacked.delete(this.unpacked.keys().next().value);
    return text;
  }
}

/** Return the record in a line, without the salt that those of early bags have. */
export function parseRecord(line) {
  const record = JSON.parse(line);
  delete record.salt;
  return record;
}

/** Stands for a record type that the page does not know. */
const UNKNOWN = 255;

/** What stands before the type in a line. No text has such bytes in it: its quotes would be escaped. */
const TYPE_MARK = '"record_type":';

/** Return the text or integer after a mark in a line of canonical JSON, as text; null for anything else. */
function valueAfter(line, at, mark) {
  if (at < 0) return null;
  const start = at + mark.length;
  if (line[start] !== '"') {
    const number = /^-?\d+(?=[,}])/.exec(line.slice(start, start + 24));
    return number && number[0];
  }
  let end = line.indexOf('"', start + 1);
  if (line.slice(start, end).indexOf("\\") < 0) return line.slice(start + 1, end);
  while (isEscaped(line, end)) end = line.indexOf('"', end + 1);
  return JSON.parse(line.slice(start, end + 1));
}

function isEscaped(line, at) {
  let backslashes = 0;
  while (line[at - 1 - backslashes] === "\\") backslashes += 1;
  return backslashes % 2 === 1;
}

/** Return the 32-bit hash (FNV-1a, mixed) under which a value is found. */
function hashOf(type, order, value) {
  const text = String(value);
  let hash = (0x811c9dc5 ^ (type * 31 + order)) >>> 0;
  hash = Math.imul(hash, 0x01000193);
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** A typed array that grows. */
class Growing {
  constructor(arrayType) {
    this.filled = new arrayType(1024);
    this.length = 0;
  }

  push(value) {
    if (this.length === this.filled.length) {
      const larger = new this.filled.constructor(this.length * 2);
      larger.set(this.filled);
      this.filled = larger;
    }
    this.filled[this.length] = value;
    this.length += 1;
  }

  at(place) {
    return this.filled[place];
  }

  values() {
    return this.filled.subarray(0, this.length);
  }
}
