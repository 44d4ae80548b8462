"""A bag as an export: its records, and its statement in the place of the manifest.

What is checked is what is checked of other exports. Signature, salts and the other files of the bag are not: that is
what `elspeth verify` is for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elspeth.core.landscape.exporting.forms import ExportError, StoredRecord
from elspeth.core.landscape.exporting.text_form import stored_line
from elspeth.evidence.format import bag
from elspeth.evidence.format.bag import Statement
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.verifier.export import MANIFEST
from elspeth.evidence.verifier.lines import batches_of_lines
from elspeth.evidence.verifier.reader import BagFiles, open_bag

__all__ = ["bag_epoch", "holds_salted_records", "is_bag", "read_bag"]

_SALT = re.compile(rb',"salt":"[0-9a-f]{64}"')
"""A salt in a line; within a text its quotes would be escaped."""

_FIRST_LINE = 1 << 20
"""How much of the first line is looked at, in bytes."""


def is_bag(directory: Path) -> bool:
    """Return whether the directory is a bag, sound or not."""
    return (directory / bag.BAGIT).is_file()


def holds_salted_records(path: Path) -> bool:
    """Return whether the first line of a file has a salt, as the records of a bag do."""
    with path.open("rb") as file:
        return _SALT.search(file.readline(_FIRST_LINE)) is not None


def bag_epoch(path: Path) -> int:
    """Return the epoch that the statement of a bag names; ExportError if it has none."""
    with _evidence_of(path), open_bag(path) as files:
        return _statement(files).run.epoch


def read_bag(path: Path, epoch: int) -> Iterator[StoredRecord]:
    """Yield the records of a bag, without their salts, and a manifest that says what its statement does.

    Raises ExportError for what cannot be read.
    """
    with _evidence_of(path), open_bag(path) as files:
        number, position = 0, 0
        for lines in batches_of_lines(files.blocks(bag.RECORDS), bag.RECORDS):
            for line in lines:
                number += 1
                where = f"{bag.RECORDS}, line {number}"
                stored = stored_line(path, where, _SALT.sub(b"", line, count=1), position, epoch)
                yield stored._replace(line=line)
                position += len(line) + 1
        yield _manifest(path, _statement(files))


def _statement(files: BagFiles) -> Statement:
    from elspeth.evidence.verifier.verify import read_statement  # noqa: PLC0415  loads cryptography, for bags only

    statement, _ = read_statement(files)
    return statement


def _manifest(path: Path, statement: Statement) -> StoredRecord:
    if bag.RECORDS not in statement.subjects:
        raise ExportError(path, bag.STATEMENT, f"expected {bag.RECORDS} among its subjects, got no such file")
    manifest: dict[str, object] = {
        "record_type": MANIFEST,
        "run_id": statement.run.run_id,
        "run_status": statement.run.run_status,
        "epoch": statement.run.epoch,
        "record_count": statement.record_count,
        "counts": dict(statement.counts),
        "withheld": [*statement.run.withheld],
        "hash_algorithm": "sha256",
        "final_hash": statement.subjects[bag.RECORDS],
        "signature_algorithm": None,
    }
    return StoredRecord("statement", manifest, b"")


@contextmanager
def _evidence_of(path: Path) -> Iterator[None]:
    """Turn what the reader of evidence says into an error of the export."""
    try:
        yield
    except EvidenceError as error:
        raise ExportError.of(path, error) from error
