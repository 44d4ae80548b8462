"""The files of a bag (RFC 8493), and the form of its manifests."""

from __future__ import annotations

import re
from collections.abc import Mapping

from elspeth.evidence.format.errors import EvidenceError, shown

__all__ = [
    "BAGIT",
    "BAGIT_TEXT",
    "BAG_INFO",
    "ENVELOPE",
    "INSTRUCTIONS",
    "LEAVES",
    "MANIFEST",
    "PAYLOAD",
    "RECORDS",
    "REFERENCES",
    "SALTS",
    "SCHEMA",
    "STATEMENT",
    "TAG_MANIFEST",
    "TIMESTAMP",
    "manifest_text",
    "parse_manifest",
    "payload_name",
]

BAGIT = "bagit.txt"
BAGIT_TEXT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
BAG_INFO = "bag-info.txt"
MANIFEST = "manifest-sha256.txt"
TAG_MANIFEST = "tagmanifest-sha256.txt"
INSTRUCTIONS = "VERIFY.txt"
ENVELOPE = "statement.dsse.json"
"""The signed statement."""
STATEMENT = "statement.json"
"""The statement of an unsigned bag."""
TIMESTAMP = "statement.dsse.json.tsr"
"""The time-stamp over the envelope. No manifest lists it: it comes later, and its authority signed it."""

PAYLOAD = "data/"
RECORDS = "data/records.jsonl"
"""A record per line, in canonical JSON."""
LEAVES = "data/leaf-hashes.bin"
"""The leaf hash of each line, 32 bytes each, in the order of the lines: it tells which line was altered."""
SCHEMA = "data/export.schema.json"
"""The JSON Schema of a record."""
REFERENCES = "data/references.json"
"""The order of record types, their keys, references and lifecycles."""
SALTS = "data/salts.json"
"""The secret that the salts of the records are derived from."""

_DOCUMENT = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LINE = re.compile("([0-9a-f]{64})  ([A-Za-z0-9/._-]+)")


def payload_name(document: str) -> str:
    """Where a document stands in the bag; ValueError for a name that could mean something else elsewhere."""
    if not _DOCUMENT.fullmatch(document):
        message = f"expected a document name of ASCII letters, digits, dots and dashes, got {document!r}"
        raise ValueError(message)
    return PAYLOAD + document


def manifest_text(digests: Mapping[str, str]) -> bytes:
    """A manifest, which `sha256sum -c` reads. RFC 8493, section 2.1.3."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())).encode()


def parse_manifest(data: bytes, place: str) -> dict[str, str]:
    """File name to SHA-256; EvidenceError if the manifest is not one as `manifest_text` writes it."""
    digests: dict[str, str] = {}
    for number, line in enumerate(data.decode("ascii", "replace").removesuffix("\n").split("\n"), start=1):
        found = _LINE.fullmatch(line)
        if found is None:
            raise EvidenceError(f"{place}, line {number}", f"expected a SHA-256 and a file name, got {shown(line)}")
        if found[2] in digests:
            raise EvidenceError(f"{place}, line {number}", f"expected each file once, got {shown(found[2])} again")
        digests[found[2]] = found[1]
    if manifest_text(digests) != data:
        raise EvidenceError(place, "expected its lines in the order of file names, each with a line feed")
    return digests
