import { EvidenceError, shownValue } from "./errors.js";
import { MAX_DIRECTORY } from "./limits.js";
import { blocksOf } from "./stream.js";

const ZIP_LOCAL = 0x04034b50;
const ZIP_CENTRAL = 0x02014b50;
const ZIP_END = 0x06054b50;
const ZIP_LOCATOR = 0x07064b50;
const ZIP_LARGE_END = 0x06064b50;
const ZIP_SIZES = { local: 30, central: 46, end: 22, locator: 20, largeEnd: 56 };

const DEFLATED = 8;
const HARMLESS_FLAGS = 0x0806; // the compression level, and that names are UTF-8
const LARGE_FIELD = 0x0001; // sizes and offsets of more than 32 bits (APPNOTE, section 4.5.3)
const TIME_FIELDS = [0x000a, 0x5455, 0x5855, 0x7855, 0x7875]; // times and owners, which say nothing about a bag
const WIDE = 0xffffffff;

// Characters that mean the same in every file system and character set.
const PLAIN_NAME = /^[A-Za-z0-9!#$%&'()+,;=@[\]^_`{}~ ./-]+$/;

/**
 * Return the files of a zip archive, in their order, each with name, position of its data, sizes and CRC-32.
 *
 * The archive must be its entries without a gap from the first byte, the central directory, the end record, and nothing
 * else, and both headers of an entry must agree. Whatever only some programs understand, or read differently, is refused:
 * comments, encryption, sizes after the data, extra fields that change names (APPNOTE 6.3.10, section 4.3).
 */
export async function readMembers(archive, most) {
  const place = "archive";
  const { start, end, entries: count } = await readDirectory(archive, place);
  if (count > most) {
    throw new EvidenceError(place, `expected at most ${most} files, got ${count}`);
  }
  const entries = parseEntries(await viewOf(archive, start, end - start, place), count, place);
  const members = [];
  let position = 0;
  for (const entry of entries) {
    if (entry.offset !== position) {
      throw new EvidenceError(place, `expected an entry at byte ${position}, got the next at ${entry.offset}`);
    }
    const data = await checkLocalHeader(archive, entry, place);
    position = data + entry.packedSize;
    if (!entry.name.endsWith("/")) {
      members.push({ ...entry, position: data, isDeflated: entry.facts[1] === DEFLATED });
    }
  }
  if (position !== start) {
    throw new EvidenceError(place, `expected the central directory at byte ${position}, got it at ${start}`);
  }
  checkNames(entries.map((entry) => entry.name));
  return members;
}

/** Yield the content of a file in blocks; its size and CRC-32 must be those that the archive states. */
export async function* memberBlocks(archive, member) {
  const packed = archive.slice(member.position, member.position + member.packedSize);
  const content = member.isDeflated ? packed.stream().pipeThrough(new DecompressionStream("deflate-raw")) : packed.stream();
  let found = 0;
  let crc = 0;
  for await (const block of blocksOf(content, member.name)) {
    found += block.length;
    if (found > member.size) {
      break;
    }
    crc = crc32(crc, block);
    yield block;
  }
  if (found !== member.size || crc !== member.crc) {
    throw new EvidenceError(member.name, `expected ${member.size} bytes with the CRC-32 of the archive: it is damaged`);
  }
}

async function readDirectory(archive, place) {
  const at = archive.size - ZIP_SIZES.end;
  const view = await viewOf(archive, at, ZIP_SIZES.end, place);
  const shorts = [4, 6, 8, 10, 20].map((each) => view.getUint16(each, true));
  const [disk, directoryDisk, here, , comment] = shorts;
  const stated = [shorts[3], view.getUint32(12, true), view.getUint32(16, true)];
  if (view.getUint32(0, true) !== ZIP_END || comment) {
    throw new EvidenceError(place, "expected a zip archive that ends with its end record, without a comment");
  }
  let directory = { end: at, here, exact: stated };
  const large = at - ZIP_SIZES.locator - ZIP_SIZES.largeEnd;
  if (large >= 0) {
    const both = await viewOf(archive, large, ZIP_SIZES.largeEnd + ZIP_SIZES.locator, place);
    if (both.getUint32(ZIP_SIZES.largeEnd, true) === ZIP_LOCATOR) {
      directory = parseLargeEnd(both, large, place);
    }
  }
  const limits = [0xffff, WIDE, WIDE];
  const [count, length, start] = directory.exact;
  const agrees = stated.every((each, number) => each === directory.exact[number] || each === limits[number]);
  if (disk || directoryDisk || directory.here !== count || !agrees) {
    throw new EvidenceError(place, "expected one archive, whose end records agree");
  }
  if (start + length !== directory.end) {
    throw new EvidenceError(place, `expected a central directory of ${length} bytes before the end record`);
  }
  if (length > MAX_DIRECTORY) {
    throw new EvidenceError(place, `expected a central directory of at most ${MAX_DIRECTORY} bytes, got ${length}`);
  }
  return { start, end: directory.end, entries: count };
}

/** Read the end record for large archives and its locator (APPNOTE, sections 4.3.14 and 4.3.15). */
function parseLargeEnd(view, position, place) {
  const wide = (at) => Number(view.getBigUint64(at, true));
  const locator = ZIP_SIZES.largeEnd;
  const disks = [view.getUint32(16, true), view.getUint32(20, true), view.getUint32(locator + 4, true)];
  const isPlain = view.getUint32(0, true) === ZIP_LARGE_END && wide(4) === ZIP_SIZES.largeEnd - 12;
  if (!isPlain || disks.some(Boolean) || wide(locator + 8) !== position || view.getUint32(locator + 16, true) !== 1) {
    throw new EvidenceError(place, "expected the end record for large archives before the other");
  }
  return { end: position, here: wide(24), exact: [wide(32), wide(40), wide(48)] };
}

function parseEntries(view, count, place) {
  const entries = [];
  let position = 0;
  while (entries.length < count && view.byteLength - position >= ZIP_SIZES.central) {
    const short = (at) => view.getUint16(position + at, true);
    const int = (at) => view.getUint32(position + at, true);
    const [nameSize, extraSize, commentSize] = [short(28), short(30), short(32)];
    const first = position + ZIP_SIZES.central;
    const end = first + nameSize + extraSize + commentSize;
    if (int(0) !== ZIP_CENTRAL || end > view.byteLength) {
      break;
    }
    const name = latinText(view, first, nameSize);
    const large = largeValues(view, first + nameSize, extraSize, name);
    const values = [int(24), int(20), int(42)];
    if (commentSize || short(34) || large.length !== values.filter((each) => each === WIDE).length) {
      throw new EvidenceError(name, "expected an entry without a comment, whose sizes are all there");
    }
    const [size, packedSize, offset] = values.map((each) => (each === WIDE ? large.shift() : each));
    const facts = [short(8), short(10), short(12), short(14)]; // flags, method, time and date
    const entry = { name, facts, crc: int(16), packedSize, size, offset };
    checkEntry(entry, int(38) >>> 16);
    entries.push(entry);
    position = end;
  }
  if (entries.length !== count || position !== view.byteLength) {
    throw new EvidenceError(place, `expected ${count} entries in the central directory, got another number`);
  }
  return entries;
}

/** Compare the two headers of an entry; return the position of its data. */
async function checkLocalHeader(archive, entry, place) {
  const view = await viewOf(archive, entry.offset, ZIP_SIZES.local, place);
  const [nameSize, extraSize] = [view.getUint16(26, true), view.getUint16(28, true)];
  const rest = await viewOf(archive, entry.offset + ZIP_SIZES.local, nameSize + extraSize, place);
  const large = largeValues(rest, nameSize, extraSize, entry.name);
  if (large.length && (large.length !== 2 || large[0] !== entry.size || large[1] !== entry.packedSize)) {
    throw new EvidenceError(entry.name, "expected the same sizes in both of its headers");
  }
  const exact = (at, number) => {
    const value = view.getUint32(at, true);
    return large.length && value === WIDE ? large[number] : value;
  };
  const isSame = view.getUint32(0, true) === ZIP_LOCAL
    && latinText(rest, 0, nameSize) === entry.name
    && [6, 8, 10, 12].every((at, number) => view.getUint16(at, true) === entry.facts[number])
    && view.getUint32(14, true) === entry.crc
    && exact(18, 1) === entry.packedSize
    && exact(22, 0) === entry.size;
  if (!isSame) {
    throw new EvidenceError(entry.name, "expected both of its headers in the archive to say the same");
  }
  return entry.offset + ZIP_SIZES.local + rest.byteLength;
}

/** Return the values of the extra field for large sizes; other fields are refused, except those with times and owners. */
function largeValues(view, start, size, name) {
  const found = new Map();
  const end = start + size;
  for (let at = start; at < end; ) {
    const isWhole = end - at >= 4;
    const identifier = isWhole ? view.getUint16(at, true) : -1;
    const length = isWhole ? view.getUint16(at + 2, true) : 0;
    const isKnown = identifier === LARGE_FIELD || TIME_FIELDS.includes(identifier);
    if (!isKnown || found.has(identifier) || at + 4 + length > end) {
      throw new EvidenceError(name, "expected extra fields with times and sizes at most, got others");
    }
    found.set(identifier, [at + 4, length]);
    at += 4 + length;
  }
  const [at, length] = found.get(LARGE_FIELD) ?? [0, 0];
  if (length % 8) {
    throw new EvidenceError(name, "expected sizes of 64 bits in its extra field");
  }
  return Array.from({ length: length / 8 }, (_, number) => Number(view.getBigUint64(at + 8 * number, true)));
}

function checkEntry({ name, facts, crc, packedSize, size }, mode) {
  const isDirectory = name.endsWith("/");
  const parts = withoutSlash(name).split("/");
  if (!PLAIN_NAME.test(name) || parts.some((part) => ["", ".", ".."].includes(part))) {
    throw new EvidenceError(shownValue(name), "expected a name inside the bag, got one that leads elsewhere");
  }
  const kind = mode & 0o170000;
  if (kind !== 0 && kind !== (isDirectory ? 0o040000 : 0o100000)) {
    throw new EvidenceError(name, "expected plain files and directories only, got a link or device");
  }
  if (isDirectory && (size || packedSize || crc)) {
    throw new EvidenceError(name, "expected a directory without content");
  }
  const [flags, method] = facts;
  if (flags & ~HARMLESS_FLAGS || (method !== 0 && method !== DEFLATED)) {
    throw new EvidenceError(name, "expected it stored or deflated, got it encrypted or in another compression");
  }
  if (method === 0 && size !== packedSize) {
    throw new EvidenceError(name, "expected the same size packed and unpacked, because it is stored");
  }
}

/** Refuse names of which two are the same on some file system, or lie below a file. */
function checkNames(names) {
  const taken = new Set();
  for (const name of names) {
    const key = withoutSlash(name).toLowerCase();
    if (taken.has(key)) {
      throw new EvidenceError(name, "expected each file once in the archive, got it again");
    }
    taken.add(key);
  }
  const files = new Set(names.filter((name) => !name.endsWith("/")).map((name) => name.toLowerCase()));
  for (const name of names) {
    const parts = withoutSlash(name).toLowerCase().split("/");
    if (parts.some((_, depth) => depth > 0 && files.has(parts.slice(0, depth).join("/")))) {
      throw new EvidenceError(name, "expected a directory above it, got a file");
    }
  }
}

function withoutSlash(name) {
  return name.replace(/\/$/, "");
}

async function viewOf(archive, position, size, place) {
  if (position < 0 || position + size > archive.size) {
    throw new EvidenceError(place, "expected a zip archive, got one that is truncated, or another file");
  }
  try {
    return new DataView(await archive.slice(position, position + size).arrayBuffer());
  } catch (error) {
    throw new EvidenceError(place, `cannot be read: ${error.message}`);
  }
}

function latinText(view, start, size) {
  return String.fromCharCode(...new Uint8Array(view.buffer, start, size));
}

let crcTable = null;

/** Return the CRC-32 of what had the first CRC-32, followed by bytes (RFC 1952, section 8; four bytes at once). */
function crc32(before, bytes) {
  crcTable ??= makeCrcTable();
  const table = crcTable;
  let crc = ~before;
  let at = 0;
  for (const end = bytes.length - 3; at < end; at += 4) {
    crc ^= bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
    crc = table[768 + (crc & 0xff)] ^ table[512 + ((crc >>> 8) & 0xff)] ^ table[256 + ((crc >>> 16) & 0xff)]
      ^ table[crc >>> 24];
  }
  for (; at < bytes.length; at++) {
    crc = table[(crc ^ bytes[at]) & 0xff] ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}

/** Return the CRC-32 of each byte, followed by those of each byte before one, two and three zeros. */
function makeCrcTable() {
  const table = new Int32Array(1024);
  for (let byte = 0; byte < 1024; byte++) {
    let crc = byte < 256 ? byte : table[byte - 256];
    for (let bit = 0; bit < 8; bit++) {
      crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    }
    table[byte] = crc;
  }
  return table;
}
