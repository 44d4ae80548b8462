"""Writes the events of a recorded run, one per line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import orjson

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.bag_form import read_statement
from elspeth.core.landscape.exporting.reader import ExportKind, find_place
from elspeth.core.landscape.queries.exported import open_exported
from elspeth.core.landscape.sealing.seal import read_seals
from elspeth.openlineage.events import Event
from elspeth.openlineage.facets import PRODUCER
from elspeth.openlineage.records import RECORDS, LineageRecords, read_records
from elspeth.outputs.policy import Kind, OutputPolicy, Protected, foreign_objection
from elspeth.outputs.writing import hold

__all__ = ["database_records", "export_records", "write_events"]

_LONGEST = 1 << 24
"""The number of bytes of a file that are read to find its first event."""


def database_records(db: LandscapeDB, run_id: str) -> LineageRecords:
    """Read the records of a run in a database."""
    with db.snapshot() as connection:
        seals = read_seals(connection, run_id)
        return read_records(connection, run_id, seal=seals[0] if seals else None)


def export_records(path: Path, progress: Callable[[int], None] | None = None) -> LineageRecords:
    """Read the records of the run in an export.

    Raises ExportError if the export is incomplete or was changed.
    """
    statement = read_statement(path) if find_place(path).kind is ExportKind.BAG else None
    with open_exported(path, RECORDS, progress) as (connection, run_id):
        return read_records(connection, run_id, statement=statement)


def write_events(
    events: Sequence[Event],
    target: Path | BinaryIO,
    *,
    protected: Sequence[Protected] = (),
    force: bool = False,
) -> int:
    """Write events to a file or stream; return their number.

    Replaces a file of events, or with `force` any file. Raises OutputRefusedError or OSError, and then leaves the
    file unchanged.
    """
    content = b"".join(orjson.dumps(each, option=orjson.OPT_SORT_KEYS) + b"\n" for each in events)
    if isinstance(target, Path):
        policy = OutputPolicy(kind=Kind.FILE, objection=_objection, protected=protected, force=force)
        with hold(target, policy) as output, output.file() as file:
            file.write(content)
    else:
        target.write(content)
    return len(events)


def _objection(path: Path) -> str | None:
    """Return why a file may not be replaced, or None."""
    try:
        with path.open("rb") as file:
            event = orjson.loads(file.readline(_LONGEST))
    except OSError as error:
        return f"cannot be read, so nothing shows what it is: {error.strerror}"
    except orjson.JSONDecodeError:
        event = None
    if isinstance(event, dict) and event.get("producer") == PRODUCER:
        return None
    return foreign_objection("a file of lineage events")
