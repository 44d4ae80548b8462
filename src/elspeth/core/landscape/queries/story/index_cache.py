"""Where the index of an export is kept, and when it is believed.

It stands beside the export, named after it; in the user's cache where that cannot be; and nowhere for a small export,
which is read as quickly as its index would be found.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from hashlib import sha256
from os import SEEK_END
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.exporting.forms import MANIFEST_FILE, ExportError
from elspeth.core.landscape.exporting.importer import open_migrated
from elspeth.core.landscape.exporting.reader import ExportReader, ExportSource, find_source
from elspeth.core.landscape.lines.reading import read_lines, split
from elspeth.core.landscape.queries.story.index import LOOKUPS, ExportIndex, IndexedLine, is_index
from elspeth.evidence.format import bag
from elspeth.outputs.policy import Kind, OutputPolicy, OutputRefusedError
from elspeth.outputs.writing import hold
from elspeth_schema import EPOCH

__all__ = ["open_index"]

_FORMAT = 1
"""Changes when an index is written otherwise."""

_SMALL = 4 << 20
"""Exports up to this size have no index that is kept, in bytes."""

_TAIL = 1 << 16
"""How much of the end of a file is hashed to tell whether it is the same, in bytes: it has what closes the export."""

_POLICY = OutputPolicy(kind=Kind.FILE, objection=lambda path: None if is_index(path) else "is not an index")
"""An index replaces only an index."""

_IDENTITY = "identity"
"""The fact that is written last: an index without it is not whole."""


@contextmanager
def open_index(
    path: Path, *, keep: bool = True, progress: Callable[[int], None] | None = None
) -> Iterator[ExportIndex]:
    """Give the index of an export: the one that is kept, or one that is made now.

    It is kept if `keep` says so, and the export is not small. `progress` is called with the number of records that were
    read so far. Raises ExportError for an export that is not complete and as it was written, LandscapeError if the
    index cannot be written.
    """
    source = find_source(path)
    with _gone_told(source):
        identity = _identity(source)
        size = sum(file.stat().st_size for file in source.files())
    places = _places(source.path) if keep and size > _SMALL else []
    for place in places:
        if (found := _opened(place, identity)) is not None:
            with closing(found):
                yield ExportIndex(found, source.lines_file)
            return
    with _made(source, identity, places, progress) as connection:
        yield ExportIndex(connection, source.lines_file)


def _places(path: Path) -> list[Path]:
    """Return where an index may be kept, the best place first."""
    path = path.resolve()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = sha256(os.fsencode(path)).hexdigest()
    return [path.with_name(f"{path.name}.index"), cache / "elspeth" / f"{name}.index"]


def _identity(source: ExportSource) -> str:
    """Return what tells whether an export is the one that was read.

    Times and numbers of files cannot be foreseen by whoever makes a file elsewhere: an index that came with an export
    is not believed.
    """
    stats = [(file.name, file.stat()) for file in source.files()]
    files = [[name, each.st_size, each.st_mtime_ns, each.st_ctime_ns, each.st_ino, each.st_dev] for name, each in stats]
    return json.dumps([_FORMAT, EPOCH, LOOKUPS, _closing_hash(source), files])


def _closing_hash(source: ExportSource) -> str:
    """Return the SHA-256 of what closes the export: its manifest or statement."""
    names = {MANIFEST_FILE, bag.STATEMENT, bag.ENVELOPE}
    digest = sha256()
    for path in [file for file in source.files() if file.name in names] or source.files():
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, SEEK_END) - _TAIL))
            digest.update(file.read())
    return digest.hexdigest()


def _opened(place: Path, identity: str) -> sqlite3.Connection | None:
    """Open the index that is kept at a place; None if there is none, or one of another state of the export."""
    if not place.is_file():
        return None
    try:
        connection = sqlite3.connect(f"{place.as_uri()}?mode=ro&immutable=1", uri=True)
    except sqlite3.Error:
        return None
    if ExportIndex.stated(connection, _IDENTITY) == identity:
        return connection
    connection.close()
    return None


@contextmanager
def _made(
    source: ExportSource, identity: str, places: list[Path], progress: Callable[[int], None] | None
) -> Iterator[sqlite3.Connection]:
    """Make the index, and keep it at the first possible place.

    A crash leaves a hidden `.unfinished` directory beside the place, which the next index removes.
    """
    with ExitStack() as stack:
        for place in places:
            try:
                output = stack.enter_context(hold(place, _POLICY))
                directory = stack.enter_context(output.temporary_directory())
            except (OSError, OutputRefusedError):
                continue
            with _filled(source, identity, directory / "index", progress) as connection:
                output.publish(directory / "index")
                yield connection
            return
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="elspeth-")))
        with _filled(source, identity, directory / "index", progress) as connection:
            yield connection


@contextmanager
def _filled(
    source: ExportSource, identity: str, file: Path, progress: Callable[[int], None] | None
) -> Iterator[sqlite3.Connection]:
    file.touch(0o600)  # an index holds what the export holds, and others may not read that
    with closing(sqlite3.connect(file)) as connection:
        export = ExportReader(source, signing_key=None)
        try:
            ExportIndex.make(connection, _lines(export, progress), progress if source.is_current else None)
            ExportIndex.state(connection, "run_id", export.summary.run_id)
            with _gone_told(source):
                if _identity(source) != identity:
                    raise ExportError(source.path, None, "was changed while it was read: try again")
            ExportIndex.state(connection, _IDENTITY, identity)
        except sqlite3.Error as error:
            raise LandscapeError(f"the index of {source.path} cannot be written to {file}: {error}") from error
        yield connection


def _lines(export: ExportReader, progress: Callable[[int], None] | None) -> Iterator[IndexedLine]:
    """Yield the records of the export as records of today."""
    if export.source.is_current:
        is_file = export.source.lines_file is not None
        for stored in export.records():
            name = str(stored.record["record_type"])
            yield IndexedLine(name, stored.record, stored.line, stored.position if is_file else None)
        return
    with open_migrated(export, progress) as database, database.snapshot() as connection:
        for name, _, lines in read_lines(connection, export.summary.run_id, split):
            for line in lines:
                yield IndexedLine(name, orjson.loads(line), line, None)


@contextmanager
def _gone_told(source: ExportSource) -> Iterator[None]:
    """Say of a file that vanished or cannot be read that the export cannot be."""
    try:
        yield
    except OSError as error:
        raise ExportError(source.path, None, f"cannot be read: {error.strerror}") from error
