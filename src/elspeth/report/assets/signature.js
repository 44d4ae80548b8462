import { Members, parseCanonical } from "./canonical.js";
import { EvidenceError, shownValue } from "./errors.js";
import { sha256, toHex } from "./sha256.js";

const LEAST_RSA_BITS = 2048;

const DER_INTEGER = 0x02;
const DER_OBJECT_IDENTIFIER = 0x06;
const DER_SEQUENCE = 0x30;

const EC_PUBLIC_KEY = "2a8648ce3d0201"; // 1.2.840.10045.2.1 (RFC 5480)

/** What keys may be: by the object identifier of the algorithm, or of the curve, in hexadecimal. */
const KEY_KINDS = {
  "2a8648ce3d030107": {
    title: "ECDSA P-256",
    parameters: { name: "ECDSA", namedCurve: "P-256" },
    verification: { name: "ECDSA", hash: "SHA-256" },
    size: 32,
    order: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  },
  "2b81040022": {
    title: "ECDSA P-384",
    parameters: { name: "ECDSA", namedCurve: "P-384" },
    verification: { name: "ECDSA", hash: "SHA-384" },
    size: 48,
    order: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  },
  "2a864886f70d010101": {
    title: "RSA-PSS",
    parameters: { name: "RSA-PSS", hash: "SHA-256" },
    verification: { name: "RSA-PSS", saltLength: 32 },
  },
  "2b6570": { title: "Ed25519", parameters: { name: "Ed25519" }, verification: { name: "Ed25519" } },
};

/** A key that checks signatures. */
export class VerifyingKey {
  /** Read the SubjectPublicKeyInfo in a PEM text. */
  static async fromPem(text, place) {
    const found = /^\s*-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*$/.exec(text);
    if (found === null) {
      const hint = text.includes("PRIVATE KEY") ? ": this is a private key, its public half is needed" : "";
      throw new EvidenceError(place, `expected a public key in PEM${hint}`);
    }
    let kind;
    try {
      const der = bytesOfBinary(atob(found[1].replace(/\s/g, "")));
      kind = KEY_KINDS[keyAlgorithm(der)];
      if (kind !== undefined) {
        const key = await crypto.subtle.importKey("spki", der, kind.parameters, true, ["verify"]);
        if (key.algorithm.modulusLength < LEAST_RSA_BITS) {
          throw new Error(`an RSA key needs ${LEAST_RSA_BITS} bits`);
        }
        return new VerifyingKey(key, kind, new Uint8Array(await crypto.subtle.exportKey("spki", key)));
      }
    } catch (error) {
      throw new EvidenceError(place, `expected a public key in PEM: ${error.message}`);
    }
    const known = Object.values(KEY_KINDS).map((each) => each.title);
    throw new EvidenceError(place, `expected a key of ${known.join(" or ")}, got one of another algorithm`);
  }

  constructor(key, kind, spki) {
    this.key = key;
    this.kind = kind;
    this.fingerprint = toHex(sha256(spki)); // the SHA-256 of the SubjectPublicKeyInfo in DER
  }

  /** Check a signature, and with `lowS` its form. */
  async verify(signature, data, place, { lowS }) {
    const { order, size, verification } = this.kind;
    let raw = signature;
    let s = 0n;
    if (order !== undefined) {
      const integers = ecdsaIntegers(signature, size);
      if (integers === null) {
        throw new EvidenceError(place, "the signature does not fit the payload: it is not a signature in DER");
      }
      raw = integers;
      s = BigInt(`0x${toHex(integers.subarray(size))}`);
    }
    if (!(await crypto.subtle.verify(verification, this.key, raw, data))) {
      throw new EvidenceError(place, "the signature does not fit the payload: one of them was altered");
    }
    if (lowS && order !== undefined && s > order - s) {
      throw new EvidenceError(place, "expected the form of the signature with a low S: it was rewritten");
    }
  }
}

/** Return payload, its type, key id and signature of a DSSE envelope with one signature, in canonical JSON. */
export function parseEnvelope(bytes, place) {
  const members = new Members(parseCanonical(bytes, place), place);
  const payload = strictBase64(members.text("payload"), `${place}: payload`);
  const payloadType = members.text("payloadType");
  const signatures = members.objects("signatures");
  members.close();
  if (signatures.length !== 1) {
    throw new EvidenceError(`${place}: signatures`, `expected one signature, got ${signatures.length}`);
  }
  const [found] = signatures;
  const keyid = found.text("keyid");
  const signature = strictBase64(found.text("sig"), `${place}: signatures[0].sig`);
  found.close();
  return { payload, payloadType, keyid, signature };
}

/** Return the bytes that are signed (DSSE 1.0.2, "Signature Definition"). */
export function preAuthentication(payloadType, payload) {
  const encoder = new TextEncoder();
  const kind = encoder.encode(payloadType);
  const start = encoder.encode(`DSSEv1 ${kind.length} ${payloadType} ${payload.length} `);
  const signed = new Uint8Array(start.length + payload.length);
  signed.set(start);
  signed.set(payload, start.length);
  return signed;
}

/** Check the signature of an envelope: that the key made it, and with `lowS` its form. */
export async function verifyEnvelope(envelope, key, place, options) {
  if (envelope.keyid !== key.fingerprint) {
    const expected = `expected a signature by the key ${key.fingerprint}`;
    throw new EvidenceError(place, `${expected}, got one by ${shownValue(envelope.keyid)}`);
  }
  await key.verify(envelope.signature, preAuthentication(envelope.payloadType, envelope.payload), place, options);
}

/** Return the object identifier that names the algorithm or curve of a SubjectPublicKeyInfo, in hexadecimal. */
function keyAlgorithm(der) {
  const outer = derElement(der, 0, DER_SEQUENCE);
  const algorithm = derElement(der, outer.start, DER_SEQUENCE);
  const name = derElement(der, algorithm.start, DER_OBJECT_IDENTIFIER);
  const found = toHex(der.subarray(name.start, name.end));
  if (found !== EC_PUBLIC_KEY) {
    return found;
  }
  const curve = derElement(der, name.end, DER_OBJECT_IDENTIFIER);
  return toHex(der.subarray(curve.start, curve.end));
}

/** Return r and s of an ECDSA signature (RFC 3279, section 2.2.3) as WebCrypto takes them, or null for other bytes. */
function ecdsaIntegers(signature, size) {
  try {
    const outer = derElement(signature, 0, DER_SEQUENCE);
    const r = derElement(signature, outer.start, DER_INTEGER);
    const s = derElement(signature, r.end, DER_INTEGER);
    if (outer.end !== signature.length || s.end !== outer.end) {
      return null;
    }
    const integers = new Uint8Array(2 * size);
    for (const [end, { start, end: last }] of [[size, r], [2 * size, s]]) {
      const [first, second] = signature.subarray(start, last);
      const isPadded = first === 0 && last - start > 1;
      if (last === start || first >= 0x80 || (isPadded && second < 0x80) || last - start - isPadded > size) {
        return null; // negative, or not in the shortest form
      }
      integers.set(signature.subarray(start + isPadded, last), end - (last - start - isPadded));
    }
    return integers;
  } catch (error) {
    if (error instanceof RangeError) {
      return null;
    }
    throw error;
  }
}

/** Return where the content of a DER element starts and ends (X.690, section 8.1). */
function derElement(der, at, tag) {
  let length = der[at + 1];
  let start = at + 2;
  if (length >= 0x80) {
    const bytes = length & 0x7f;
    length = 0;
    for (const byte of der.subarray(start, start + bytes)) {
      length = 256 * length + byte;
    }
    start += bytes;
    if (bytes > 3 || length < 0x80 || length < 256 ** (bytes - 1)) {
      throw new RangeError("a length in DER is not in its shortest form");
    }
  }
  if (der[at] !== tag || !(start + length <= der.length)) {
    throw new RangeError("it is not in DER");
  }
  return { start, end: start + length };
}

/** Decode base64, but only in the one encoding without spare bits and characters. */
function strictBase64(text, place) {
  let binary = null;
  try {
    binary = atob(text);
  } catch {
    // Said below.
  }
  if (binary === null || btoa(binary) !== text) {
    throw new EvidenceError(place, `expected base64 without spare bits, got ${shownValue(text)}`);
  }
  return bytesOfBinary(binary);
}

function bytesOfBinary(binary) {
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}
