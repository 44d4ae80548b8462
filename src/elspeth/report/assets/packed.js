/** A block of lines, or a file, as the page holds it: deflated (RFC 1950), in base64. */
export class PackedBlock {
  constructor(base64) {
    this.packed = bytesOfBase64(base64);
  }

  async bytes() {
    const stream = new Blob([this.packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  async text() {
    return textOf(await this.bytes());
  }
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
