import { blocksOf, joined } from "./stream.js";

/** A block of lines, or a file, as the page holds it: deflated (RFC 1950), in base64. */
export class PackedBlock {
  constructor(base64) {
    this.packed = bytesOfBase64(base64);
  }

  /** Return a block with this content. */
  static async of(bytes) {
    const block = new PackedBlock("");
    block.packed = await readAll(through(new CompressionStream("deflate"), bytes));
    return block;
  }

  /** Return a stream of the content. */
  stream() {
    return through(new DecompressionStream("deflate"), this.packed);
  }

  bytes() {
    return readAll(this.stream());
  }

  async text() {
    return textOf(await this.bytes());
  }
}

/** Return what a stream makes of bytes. A Blob as its source would be read by another process. */
function through({ readable, writable }, bytes) {
  const writer = writable.getWriter();
  const ignore = () => {}; // the reader is told, too
  writer.write(bytes).catch(ignore);
  writer.close().catch(ignore);
  return readable;
}

async function readAll(stream) {
  const parts = [];
  for await (const part of blocksOf(stream, "a block of this page")) parts.push(part);
  return joined(parts);
}

/** Return bytes as text; bytes that are not UTF-8 become replacement characters. */
export function textOf(bytes) {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

/** Return the bytes of base64 text. */
export function bytesOfBase64(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const characters = atob(base64);
  const bytes = new Uint8Array(characters.length);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = characters.charCodeAt(at);
  return bytes;
}
