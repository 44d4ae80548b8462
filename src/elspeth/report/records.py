"""The records of one run, read once for its report.

A report queries tables and embeds lines. A database provides both. An export is verified while it is read, once: its
records go into a temporary database, its lines into a temporary file. So the embedded lines are those that were
verified, even if the export changes in the meantime.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from sqlalchemy import Connection

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.errors import RunNotFoundError
from elspeth.core.landscape.exporting.forms import StoredRecord
from elspeth.core.landscape.lines.reading import read_lines, split
from elspeth.core.landscape.queries.exported import open_exported
from elspeth.core.landscape.queries.runs import matches_run, resolve_run
from elspeth.core.landscape.sealing.check import sealed_lines_of_run
from elspeth.core.landscape.sealing.scope import seal_lines
from elspeth.evidence.format.export_lines import MANIFEST
from elspeth_schema import EPOCH
from elspeth_schema.records import RECORD_TYPES

__all__ = ["RunRecords", "open_database_records", "open_export_records"]

_WITHHELD = tuple(
    f"{name}.{column.name}"
    for name, record_type in RECORD_TYPES.items()
    for column in record_type.columns
    if column.withheld is not None
)

_BLOCK = 1 << 20
"""The size of a batch of lines read from the temporary file, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecords:
    """The records of a run, as tables and as lines.

    `connection` sees the tables of the current epoch; `epoch` is that of the lines. `withheld` names the columns, as
    `record_type.column`, that the lines leave out.
    """

    connection: Connection
    run_id: str
    epoch: int
    withheld: tuple[str, ...]
    read_lines: Callable[[], Iterator[list[bytes]]]

    def lines(self) -> Iterator[list[bytes]]:
        """Yield all lines in export order, in batches.

        They have no line feeds, and are as stored: lines of an older export are of its epoch. The caller must not make
        a query before the last batch. Raises AlteredRunError at the end if a run in a database differs from its seal.
        """
        return self.read_lines()


@contextmanager
def open_database_records(db: LandscapeDB, run: str) -> Iterator[RunRecords]:
    """Open a run of a database, in one snapshot.

    `run` is an id, the beginning of one, or `latest`. Raises RunNotFoundError or AmbiguousRunError.
    """
    run_id = resolve_run(db, run)
    with db.snapshot() as connection:

        def lines() -> Iterator[list[bytes]]:
            # Close the query before the connection, even after a failure: until then PostgreSQL accepts no other
            # statement.
            found = sealed_lines_of_run(
                connection, run_id, db.url, read_lines(connection, run_id, partial(seal_lines, transform=split))
            )
            with closing(found) as batches:
                yield from batches

        yield RunRecords(connection=connection, run_id=run_id, epoch=EPOCH, withheld=_WITHHELD, read_lines=lines)


@contextmanager
def open_export_records(
    path: Path, run: str = "latest", *, progress: Callable[[int], None] | None = None
) -> Iterator[RunRecords]:
    """Read an export or bag and open its run.

    `progress` is called with the number of records read so far. The temporary files are removed when the block ends.
    Raises ExportError if the export is incomplete or was changed, RunNotFoundError if it holds another run.
    """
    with TemporaryFile(prefix="elspeth-") as file:
        kept = _KeptLines(file)
        with open_exported(path, list(RECORD_TYPES.values()), progress, kept.add) as (connection, run_id):
            if not matches_run(run, run_id):
                raise RunNotFoundError(f"export {path} holds run {run_id!r}, not {run!r}")
            yield RunRecords(
                connection=connection,
                run_id=run_id,
                epoch=kept.epoch,
                withheld=kept.withheld,
                read_lines=kept.lines,
            )


class _KeptLines:
    """The lines of an export in a temporary file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.withheld: tuple[str, ...] = ()
        self.epoch = 0

    def add(self, stored: StoredRecord) -> None:
        """Add the line of a record, and remember the manifest."""
        if stored.record.get("record_type") == MANIFEST:
            epoch, withheld = stored.record.get("epoch"), stored.record["withheld"]
            self.epoch = epoch if isinstance(epoch, int) else 0
            self.withheld = tuple(map(str, withheld)) if isinstance(withheld, list) else ()
        else:
            self._file.write(stored.line + b"\n")

    def lines(self) -> Iterator[list[bytes]]:
        """Yield the lines in batches of about a megabyte."""
        self._file.seek(0)
        while lines := self._file.readlines(_BLOCK):
            yield [line[:-1] for line in lines]
