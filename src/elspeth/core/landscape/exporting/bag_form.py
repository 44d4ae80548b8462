"""Exports as evidence: the records of a run, salted, in a bag that a stranger can check."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from concurrent.futures import Executor
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from importlib.resources import files
from pathlib import Path

import orjson
from sqlalchemy import Connection

from elspeth.core.canonical import canonical_bytes
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.exporter import RunNotFoundError
from elspeth.core.landscape.exporting.signing import withheld_columns
from elspeth.core.landscape.lines.chunks import chunks_of, with_key
from elspeth.core.landscape.lines.run_lines import Dress, can_share, run_lines, shared_lines
from elspeth.core.landscape.sealing.seal import sealed_in, secret_of
from elspeth.evidence.format.bag import RunFacts, SaltDeriver, Salts
from elspeth.evidence.format.signatures import Signer
from elspeth.evidence.writer.bag import BagSummary, write_bag
from elspeth.outputs.writing import Output
from elspeth_schema import EPOCH
from elspeth_schema.contracts import AuditRecord, RunStatus
from elspeth_schema.records import RECORD_TYPES, RUN, TOKEN, TOKEN_OUTCOME, RecordType

__all__ = ["references_document", "write_bag_of_run"]

_END_OF_TOKEN = {"columns": TOKEN.key, "record_type": TOKEN.name, "when": "is_terminal"}
"""A token travels until it has a terminal outcome."""


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
) -> BagSummary:
    """Write the records of a run as a bag, a directory or a zip archive of it; unsigned without a signer.

    `stamp` gives the time-stamp over the envelope; the processes of an `executor` read the lines of a run that has
    ended. Raises RunNotFoundError, AuditIntegrityError for a record that breaks the schema, and what `write_bag`
    raises.
    """
    with db.snapshot() as connection:
        run = next((line for _, line in chunks_of(connection, RUN, run_id)), None)
        if run is None:
            message = f"run {run_id!r} is not in the audit database {db.url}"
            raise RunNotFoundError(message)
        status = str(orjson.loads(run)["status"])
        secret = secret_of(connection, run_id)
        dress = None if secret is None else partial(_salted, secret=secret)
        facts = RunFacts(
            run_id=run_id,
            run_status=status,
            epoch=EPOCH,
            withheld=tuple(withheld_columns()),
            complete=RunStatus(status).is_terminal,
            recorded_epoch=sealed_in(connection, run_id),
        )
        # Closed before the connection, even when the writing fails: nothing else can be said to it before.
        with closing(_lines(db, connection, run_id, dress, executor)) as lines:
            return write_bag(
                path,
                lines,
                run=facts,
                documents=_documents(),
                signer=signer,
                secret=secret,
                archive=archive,
                stamp=stamp,
                progress=progress,
                date=datetime.now(UTC).date(),
            )


def _lines(
    db: LandscapeDB, connection: Connection, run_id: str, dress: Dress | None, executor: Executor | None
) -> Generator[bytes, None, None]:
    """The run's lines in export order."""
    if executor is not None and can_share(connection, run_id):
        chunks = shared_lines(db, connection, run_id, executor, dress)
    else:
        chunks = run_lines(connection, run_id, dress)
    for _, _, lines in chunks:
        yield from lines[:-1].split(b"\n")


def _salted(record_type: str, lines: bytes, secret: str) -> bytes:
    """The lines with their salts."""
    found = lines[:-1].split(b"\n")
    key = RECORD_TYPES[record_type].key
    records = map(orjson.loads, found)
    salts = SaltDeriver(Salts(secret=secret)).salts(record_type, [[record[name] for name in key] for record in records])
    salted = with_key(record_type, "salt", found, (salt for salt in salts if salt is not None))
    return b"\n".join([*salted, b""])


def _documents() -> dict[str, bytes]:
    """Return what explains the records and what holds between them; JSON in its canonical form."""
    package = files("elspeth_schema")
    schema = json.loads(package.joinpath("export.schema.json").read_bytes())
    return {
        "export.schema.json": canonical_bytes(schema),
        "data-dictionary.md": package.joinpath("data-dictionary.md").read_bytes(),
        "references.json": references_document(),
    }


def references_document() -> bytes:
    """The order of record types, their keys, references and lifecycles, for a verifier that has not our schema."""
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
    """The values that end the lifecycle of the type's records."""
    status = record_type.lifecycle.status
    enum = next((column.enum for column in record_type.columns if column.name == status), None)
    return [] if enum is None else [value.value for value in enum if getattr(value, "is_terminal", False)]
