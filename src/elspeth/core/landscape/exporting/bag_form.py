"""Writes bags of runs, and reads bags as exports.

A bag is read like any other export, with its statement in place of the manifest. `elspeth verify` checks its signature,
salts and other files.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import Connection

from elspeth.core.canonical import canonical_bytes
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.errors import RunNotFoundError
from elspeth.core.landscape.exporting._crate_records import read_crate_records
from elspeth.core.landscape.exporting._record_rules import withheld_columns
from elspeth.core.landscape.exporting._text_form import parse_line
from elspeth.core.landscape.exporting.contents import RunContents
from elspeth.core.landscape.exporting.forms import ExportError, StoredRecord
from elspeth.core.landscape.lines.ranges import Readers, can_read_in_parallel, read_lines_in_parallel
from elspeth.core.landscape.lines.reading import read_chunks, read_lines
from elspeth.core.landscape.sealing.check import sealed_lines_of_run
from elspeth.core.landscape.sealing.scope import seal_lines
from elspeth.core.landscape.sealing.seal import read_seals, read_secret, sealed_epoch
from elspeth.evidence.format import bag
from elspeth.evidence.format.bag import Contact, RunFacts, Statement
from elspeth.evidence.format.compression import open_decompressed
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.export_lines import MANIFEST
from elspeth.evidence.format.hashed_lines import HashedLines, hash_lines
from elspeth.evidence.format.salts import Salts
from elspeth.evidence.verifier.reader import BagFiles, batches_of_lines, open_bag
from elspeth.outputs.writing import Output
from elspeth_schema import EPOCH
from elspeth_schema.contracts import AuditRecord, RunStatus
from elspeth_schema.records import RECORD_TYPES, RUN, TOKEN, TOKEN_OUTCOME, RecordType

if TYPE_CHECKING:
    from elspeth.evidence.format.signatures import Signer
    from elspeth.evidence.writer.bag import BagSummary

__all__ = [
    "holds_salted_records",
    "is_bag",
    "read_bag",
    "read_bag_epoch",
    "read_recorded_epoch",
    "read_statement",
    "references_document",
    "write_bag_of_run",
]

_README = b"""\
# The audit trail of a pipeline run

- `records.jsonl` holds the records, one per line; `data-dictionary.md` says what each field means.
- `settings.yaml` holds the settings of the pipeline, as they were recorded.
- `context.jsonld` is the JSON-LD context with which the records are RDF in terms of PROV-O.
- `ro-crate-metadata.json` describes this directory as a Workflow Run RO-Crate.

`VERIFY.txt` in the directory above says how to check that all of this is what was signed.
"""
"""The name of the bag's declaration in an archive."""

_END_OF_TOKEN = {"columns": TOKEN.key, "record_type": TOKEN.name, "when": "is_terminal"}
"""The condition under which a token has ended: it has a terminal outcome."""

_SALT = re.compile(rb',"salt":"[0-9a-f]{64}"')
"""A salt in a line of a bag of earlier versions. It cannot match inside a text, where quotes are escaped."""

_FIRST_LINE = 1 << 20
"""How much of the first line is examined, in bytes."""


def write_bag_of_run(
    db: LandscapeDB,
    run_id: str,
    path: Path | Output,
    *,
    signer: Signer | None,
    archive: bool = False,
    stamp: Callable[[bytes], bytes] | None = None,
    progress: Callable[[int], None] | None = None,
    executor: Executor | None = None,
    contents: RunContents | None = None,
    contact: Contact | None = None,
) -> BagSummary:
    """Write the records of a run as a bag.

    The bag is a directory, or with `archive` a zip archive; without a signer it is unsigned. `stamp` returns the
    time-stamp over the envelope. The processes of an `executor` read the lines of a run that has ended. The bag also
    holds the `contents`, and names the `contact`.

    Raises RunNotFoundError, AlteredRunError for a run that differs from its seal, AuditIntegrityError for a record that
    breaks the schema, and all errors of `write_bag`.
    """
    # These load cryptography, which reading does not need.
    from elspeth.core.landscape.exporting._log_documents import log_documents  # noqa: PLC0415
    from elspeth.evidence.writer.bag import write_bag  # noqa: PLC0415

    with db.snapshot() as connection:
        facts = _run_facts(connection, run_id, db.url)
        crate = read_crate_records(connection, run_id)
        settings = str(crate.run["settings_json"]).encode()
        secret = _bag_secret(connection, run_id)
        # Close the query even after a failure: until then, PostgreSQL accepts no other statement on the connection.
        with closing(_batches(db, connection, run_id, secret, executor)) as batches:
            return write_bag(
                path,
                batches,
                facts=facts,
                documents={
                    **_documents(),
                    "settings.yaml": settings,
                    "README.md": _README,
                    **({} if db.is_copy else log_documents(connection, run_id)),
                },
                signer=signer,
                secret=secret,
                archive=archive,
                stamp=stamp,
                progress=progress,
                date=datetime.now(UTC).date(),
                contents=() if contents is None else contents.read(),
                contact=contact,
                crate=crate,
            )


def _run_facts(connection: Connection, run_id: str, url: str) -> RunFacts:
    """Return the facts of a run for its statement.

    Raises RunNotFoundError, with `url` as the name of the database.
    """
    run = next((line for _, line in read_chunks(connection, RUN, run_id)), None)
    if run is None:
        message = f"run {run_id!r} is not in the audit database {url}"
        raise RunNotFoundError(message)
    status = RunStatus(orjson.loads(run)["status"])
    has_secret = read_secret(connection, run_id) is not None
    return RunFacts(
        run_id=run_id,
        run_status=status.value,
        epoch=EPOCH,
        withheld=tuple(withheld_columns()),
        complete=status.is_terminal,
        # Without a secret, the seal was made later, as for runs that were adopted, or imported from before epoch 5.
        recorded_epoch=sealed_epoch(connection, run_id) if has_secret else None,
    )


def _batches(
    db: LandscapeDB, connection: Connection, run_id: str, secret: str | None, executor: Executor | None
) -> Generator[HashedLines, None, None]:
    """Yield the run's hashed lines in batches, in export order.

    After the last batch, raises AlteredRunError if the lines differ from the seal.
    """
    salts = None if secret is None else Salts(secret=secret, version=bag.VERSION)
    hashed = partial(seal_lines, transform=partial(hash_lines, salts=salts))
    if executor is not None and can_read_in_parallel(connection, run_id):
        lines = read_lines_in_parallel(connection, run_id, Readers.of(executor, db.engine.url), hashed)
    else:
        lines = read_lines(connection, run_id, hashed)
    return sealed_lines_of_run(connection, run_id, db.url, lines)


def _bag_secret(connection: Connection, run_id: str) -> str | None:
    """Return the secret of a bag, if it has one.

    A salt depends on the secret and the line's number. If two bags shared a secret but had different records at the
    same number, a proof from one bag would disclose a salt of the other. The lines of a finished run are determined by
    its seal and today's epoch, and so is its secret; each snapshot of an unfinished run gets a new secret.
    """
    secret = read_secret(connection, run_id)
    if secret is None:
        return None
    seal = next(iter(read_seals(connection, run_id)), None)
    if seal is None:
        return token_hex(32)
    return hmac.digest(secret.encode(), f"bag of epoch {EPOCH}, seal {seal.root}".encode(), "sha256").hex()


def _documents() -> dict[str, bytes]:
    """Return the documents that explain the records, by name.

    Those in JSON are in canonical form.
    """
    package = files("elspeth_schema")
    schema = json.loads(package.joinpath("export.schema.json").read_bytes())
    context = json.loads(package.joinpath("context.jsonld").read_bytes())
    return {
        "export.schema.json": canonical_bytes(schema),
        "context.jsonld": canonical_bytes({"@context": context["@context"]}),
        "data-dictionary.md": package.joinpath("data-dictionary.md").read_bytes(),
        "references.json": references_document(),
    }


def references_document() -> bytes:
    """Return keys, references and lifecycles of all record types.

    The document is for verifiers, which do not have the schema.
    """
    types = {
        name: {
            "key": record_type.key,
            "order": record_type.order,
            "references": [
                {"columns": reference.columns, "record_type": reference.record_type}
                for reference in record_type.references
            ],
            "lifecycle": {
                "status": record_type.lifecycle.status,
                "final": _final_values(record_type),
                "abandoned": [RunStatus.FAILED] if record_type.name == RUN.name else [],
            },
            "ends": _END_OF_TOKEN if record_type.name == TOKEN_OUTCOME.name else None,
        }
        for name, record_type in RECORD_TYPES.items()
    }
    return canonical_bytes({"order": list(RECORD_TYPES), "types": types})


def _final_values(record_type: RecordType[AuditRecord]) -> list[str]:
    """Return the values that end the records' lifecycle."""
    status = record_type.lifecycle.status
    enum = next((column.enum for column in record_type.columns if column.name == status), None)
    return [] if enum is None else [value.value for value in enum if getattr(value, "is_terminal", False)]


def is_bag(directory: Path) -> bool:
    """Return whether the directory is a bag, sound or not."""
    return (directory / bag.BAGIT).is_file()


def holds_salted_records(path: Path) -> bool:
    """Return whether the first line of a file is salted.

    Records of earlier bags are salted. Raises OSError if the file cannot be read.
    """
    try:
        with open_decompressed(path) as file:
            return _SALT.search(file.readline(_FIRST_LINE)) is not None
    except EvidenceError:
        return False  # whoever reads the lines is told why


def read_statement(path: Path) -> Statement:
    """Return the statement of a bag.

    Its signature is not checked. Raises ExportError if there is none.
    """
    with _evidence_of(path), open_bag(path) as files:
        return _statement(files)


def read_bag_epoch(path: Path) -> int:
    """Return the epoch in a bag's statement.

    Raises ExportError if there is none.
    """
    with _evidence_of(path):  # a database as found has no run
        statement = read_statement(path)
    with _evidence_of(path):
        return statement.run.epoch


def read_recorded_epoch(path: Path) -> int | None:
    """Return the epoch that a bag's run was recorded in.

    Returns None if the bag does not say. Raises ExportError if it has no statement.
    """
    with _evidence_of(path):
        statement = read_statement(path)
    with _evidence_of(path):
        return statement.run.recorded_epoch


def read_bag(path: Path, epoch: int) -> Iterator[StoredRecord]:
    """Yield the unsalted records of a bag, then a manifest.

    The manifest is derived from the statement. Raises ExportError if the bag cannot be read.
    """
    with _evidence_of(path), open_bag(path) as files:
        number, position = 0, 0
        for lines in batches_of_lines(files.blocks(bag.RECORDS), bag.RECORDS):
            for line in lines:
                number += 1
                where = f"{bag.RECORDS}, line {number}"
                stored = parse_line(path, where, _SALT.sub(b"", line, count=1), position, epoch)
                yield stored._replace(line=line)
                position += len(line) + 1
        yield _manifest(path, _statement(files))


def _statement(files: BagFiles) -> Statement:
    from elspeth.evidence.verifier.statements import read_statement  # noqa: PLC0415  loads cryptography, for bags only

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
    """Turn errors of evidence into errors of the export."""
    try:
        yield
    except EvidenceError as error:
        raise ExportError.of(path, error) from error
