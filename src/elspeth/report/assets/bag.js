import { EvidenceError, shownValue } from "./errors.js";
import { MAX_DOCUMENT, MAX_FACTOR, MAX_FILES, MAX_UNPACKED } from "./limits.js";
import { Sha256, toHex } from "./sha256.js";
import { blocksOf, joined } from "./stream.js";
import { memberBlocks, readMembers } from "./zip.js";

export const BAGIT = "bagit.txt";
export const RECORDS = "data/records.jsonl";

const IN_PAYLOAD = ["records.jsonl", "salts.json"];

/** The files of a bag: `sizes` in bytes, by name. An enemy may have made them. */
export class BagFiles {
  /** Open a zip archive, whose bag may be in a single directory (RFC 8493, section 4). */
  static async ofArchive(archive) {
    const members = await readMembers(archive, MAX_FILES);
    const limit = Math.max(MAX_UNPACKED, MAX_FACTOR * archive.size);
    const unpacked = members.reduce((sum, member) => sum + member.size, 0);
    if (unpacked > limit) {
      throw new EvidenceError("archive", `expected at most ${limit} bytes in this archive, got ${unpacked}`);
    }
    const top = topDirectory(members.map((member) => member.name));
    const entries = members.map((member) => {
      return [member.name.slice(top.length), member.size, () => memberBlocks(archive, member)];
    });
    return new BagFiles(entries);
  }

  /** Open files of a chosen folder, each a pair of its path and its `File`. */
  static ofFolder(files) {
    if (files.length > MAX_FILES) {
      throw new EvidenceError("folder", `expected at most ${MAX_FILES} files, got ${files.length}`);
    }
    const top = topDirectory(files.map(([path]) => path));
    return new BagFiles(
      files.map(([path, file]) => [path.slice(top.length), file.size, () => blocksOf(file.stream(), path)]),
    );
  }

  /** Open some files of a bag by their names alone; they may be compressed with gzip. */
  static ofParts(files) {
    const entries = files.map((file) => {
      const name = file.name.replace(/\.gz$/, "");
      const read = () => (name === file.name ? blocksOf(file.stream(), name) : gunzip(file));
      return [IN_PAYLOAD.includes(name) ? `data/${name}` : name, file.size, read];
    });
    return new BagFiles(entries);
  }

  /** @param {Array} entries - for each file its name, its size, and a function that yields its content in blocks. */
  constructor(entries) {
    this.sizes = new Map(entries.map(([name, size]) => [name, size]));
    this.readers = new Map(entries.map(([name, , read]) => [name, read]));
  }

  /** Yield the content of a file in blocks. */
  async *blocks(name) {
    if (!this.sizes.has(name)) {
      throw new EvidenceError(name, "expected this file, got none");
    }
    yield* this.readers.get(name)();
  }

  /** Return the content of a small file. */
  async read(name) {
    const size = this.sizes.get(name) ?? 0;
    if (size > MAX_DOCUMENT) {
      throw new EvidenceError(name, `expected at most ${MAX_DOCUMENT} bytes, got ${size}`);
    }
    const parts = [];
    for await (const block of this.blocks(name)) {
      parts.push(block);
    }
    return joined(parts);
  }

  /** Return the SHA-256 of a file in hexadecimal. */
  async sha256(name) {
    const hasher = new Sha256();
    for await (const block of this.blocks(name)) {
      hasher.update(block);
    }
    return toHex(hasher.digest());
  }
}

/**
 * Return the SHA-256 of each file that a manifest lists, as `sha256sum -c` reads it (RFC 8493, section 2.1.3).
 *
 * The lines must be in the order of the names.
 */
export function parseManifest(bytes, place) {
  const text = new TextDecoder("latin1").decode(bytes);
  const lines = text.endsWith("\n") ? text.slice(0, -1).split("\n") : [];
  const digests = new Map();
  let last = "";
  for (const line of lines) {
    const found = /^([0-9a-f]{64}) {2}([A-Za-z0-9/._-]+)$/.exec(line);
    if (found === null || found[2] <= last) {
      throw new EvidenceError(place, `expected a SHA-256 and a file name, in their order, got ${shownValue(line)}`);
    }
    digests.set(found[2], found[1]);
    last = found[2];
  }
  if (digests.size === 0) {
    throw new EvidenceError(place, "expected lines, each with a line feed");
  }
  return digests;
}

/** Yield the content of a file that is one gzip member (RFC 1952), unless it is much larger than the file. */
async function* gunzip(file) {
  let rest = Math.max(MAX_UNPACKED, MAX_FACTOR * file.size);
  for await (const block of blocksOf(file.stream().pipeThrough(new DecompressionStream("gzip")), file.name)) {
    rest -= block.length;
    if (rest < 0) {
      throw new EvidenceError(file.name, "expected less when decompressed, got more than 100 times its size");
    }
    yield block;
  }
}

function topDirectory(names) {
  if (names.includes(BAGIT) || names.length === 0) {
    return "";
  }
  const top = `${names[0].split("/")[0]}/`;
  return names.every((name) => name.startsWith(top)) ? top : "";
}
