"""Compares files and lines with the hashes in a bag."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest

from elspeth.evidence.format import bag
from elspeth.evidence.format.errors import EvidenceError, printable
from elspeth.evidence.format.merkle import split_hashes
from elspeth.evidence.format.salts import LeafHasher
from elspeth.evidence.verifier._examination import LineBatch
from elspeth.evidence.verifier.procedure import Step, StepError

__all__ = ["compare_files", "compare_records", "find_altered", "leaf_error"]


def compare_records(listed: Mapping[str, str], digest: str, place: str) -> None:
    """Compare the SHA-256 of the records with a manifest."""
    compare_files({bag.RECORDS: listed[bag.RECORDS]}, {bag.RECORDS: digest}, place)


def compare_files(listed: Mapping[str, str], found: Mapping[str, str | None], place: str) -> None:
    """Compare a bag's files with a manifest, by SHA-256.

    Raises EvidenceError for the first difference.
    """
    for name in sorted(listed.keys() | found.keys()):
        if name not in found:
            raise EvidenceError(printable(name), f"expected this file, which {place} lists, got none")
        if name not in listed:
            raise EvidenceError(printable(name), f"expected no such file, as {place} does not list it, got one")
        if found[name] != listed[name]:
            expected = f"expected the SHA-256 {listed[name]} as in {place}"
            raise EvidenceError(name, f"{expected}, got {found[name] or 'a file that cannot be read'}")


def find_altered(batch: LineBatch, hasher: LeafHasher) -> tuple[int, bytes, bytes | None] | None:
    """Return the first line that was altered, if any.

    It is given by its index in the batch, its leaf hash, and the leaf hash that was sealed.
    """
    if batch.claimed is None:
        return None
    found = hasher.hashes(batch.first, batch.lines)
    if b"".join(found) == batch.claimed:
        return None
    both = enumerate(zip_longest(found, split_hashes(batch.claimed)))
    return next((at, leaf, sealed) for at, (leaf, sealed) in both if leaf != sealed)


def leaf_error(number: int, leaf: bytes, sealed: bytes | None) -> StepError:
    """Return the error for a line with another leaf hash."""
    place = f"{bag.RECORDS}, line {number}"
    if sealed is None:
        return StepError(Step.ROOT, place, "expected the end, as the statement counts no more lines, got one")
    expected = f"expected the line that was sealed, with the leaf hash {sealed.hex()} as in {bag.LEAVES}"
    return StepError(Step.ROOT, place, f"{expected}, got one with {leaf.hex()}")
