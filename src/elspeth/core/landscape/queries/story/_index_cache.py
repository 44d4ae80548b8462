"""Keeps indexes of exports, and decides which to trust.

An index is kept beside the export, or else in the user's cache directory. A small export has none, because reading it
is as fast.
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
from elspeth.core.landscape.exporting.reader import ExportPlace, ExportReader, ExportSource, find_place, find_source
from elspeth.core.landscape.lines.reading import read_lines, split
from elspeth.core.landscape.queries.story._index import LOOKUPS, ExportIndex, IndexedLine, is_index
from elspeth.evidence.format import bag
from elspeth.outputs.policy import Kind, OutputPolicy, OutputRefusedError
from elspeth.outputs.writing import hold
from elspeth_schema import EPOCH

__all__ = ["open_index"]

_FORMAT = 1
"""Version of the file format."""

_SMALL_BYTES = 4 << 20
"""The size of an export, in bytes, up to which its index is not kept."""

_FACTOR = 8
"""The approximate ratio of the content of a compressed export to its size."""

_TAIL_BYTES = 1 << 16
"""The number of bytes at the end of a file that are hashed; they contain the manifest."""

_POLICY = OutputPolicy(kind=Kind.FILE, objection=lambda path: None if is_index(path) else "is not an index")
"""An index replaces only an index."""

_IDENTITY = "identity"
"""The fact that is written last: an index without it is incomplete."""


@contextmanager
def open_index(
    path: Path, *, keep: bool = True, progress: Callable[[int], None] | None = None
) -> Iterator[ExportIndex]:
    """Open the index of an export; make it if necessary.

    A new index is kept for later if `keep` is true and the export is not small. `progress` is called with the number of
    records read so far.

    Raises ExportError if the export is incomplete or was changed, LandscapeError if the index cannot be written.
    """
    export = find_place(path)
    with _report_unreadable(export):
        identity = _identity(export)
        size = sum(file.stat().st_size for file in export.files()) * (_FACTOR if export.is_compressed else 1)
    places = _candidates(export.path) if keep and size > _SMALL_BYTES else []
    for place in places:
        if (found := _open_kept(place, identity)) is not None:
            with closing(found):
                yield ExportIndex(found, export.lines_file)
            return
    with _build(find_source(path), identity, places, progress) as connection:
        yield ExportIndex(connection, export.lines_file)


def _candidates(path: Path) -> list[Path]:
    """Return the paths where an index may be, best first."""
    path = path.resolve()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = sha256(os.fsencode(path)).hexdigest()
    return [path.with_name(f"{path.name}.index"), cache / "elspeth" / f"{name}.index"]


def _identity(export: ExportPlace) -> str:
    """Return a text that changes whenever the export does.

    It includes times and inode numbers, which nobody can choose for files on another machine. So an index that somebody
    supplied with an export is not trusted.
    """
    stats = [(file.name, file.stat()) for file in export.files()]
    files = [[name, each.st_size, each.st_mtime_ns, each.st_ctime_ns, each.st_ino, each.st_dev] for name, each in stats]
    return json.dumps([_FORMAT, EPOCH, LOOKUPS, _closing_hash(export), files])


def _closing_hash(export: ExportPlace) -> str:
    """Return the SHA-256 over the export's manifest or statement."""
    names = {MANIFEST_FILE, bag.STATEMENT, bag.ENVELOPE}
    digest = sha256()
    for path in [file for file in export.files() if file.name in names] or export.files():
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, SEEK_END) - _TAIL_BYTES))
            digest.update(file.read())
    return digest.hexdigest()


def _open_kept(place: Path, identity: str) -> sqlite3.Connection | None:
    """Open the index at a path.

    Returns None if there is no index, or only one of another state of the export.
    """
    if not place.is_file():
        return None
    try:
        connection = sqlite3.connect(f"{place.as_uri()}?mode=ro&immutable=1", uri=True)
    except sqlite3.Error:
        return None
    if ExportIndex.read_fact(connection, _IDENTITY) == identity:
        return connection
    connection.close()
    return None


@contextmanager
def _build(
    source: ExportSource, identity: str, places: list[Path], progress: Callable[[int], None] | None
) -> Iterator[sqlite3.Connection]:
    """Make the index at the first writable path.

    A crash leaves a hidden `.unfinished` directory beside the path, which the next index removes.
    """
    with ExitStack() as stack:
        for place in places:
            try:
                output = stack.enter_context(hold(place, _POLICY))
                directory = stack.enter_context(output.temporary_directory())
            except (OSError, OutputRefusedError):
                continue
            with _fill(source, identity, directory / "index", progress) as connection:
                output.publish(directory / "index")
                yield connection
            return
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="elspeth-")))
        with _fill(source, identity, directory / "index", progress) as connection:
            yield connection


@contextmanager
def _fill(
    source: ExportSource, identity: str, file: Path, progress: Callable[[int], None] | None
) -> Iterator[sqlite3.Connection]:
    """Write the index into a new private file."""
    file.touch(0o600)  # an index holds the content of the export, which others may not be allowed to read
    with closing(sqlite3.connect(file)) as connection:
        export = ExportReader(source, signing_key=None)
        try:
            ExportIndex.fill(connection, _lines(export, progress), progress if source.is_current else None)
            ExportIndex.set_fact(connection, "run_id", export.summary.run_id)
            with _report_unreadable(source.place):
                if _identity(source.place) != identity:
                    raise ExportError(source.path, None, "was changed while it was read: try again")
            ExportIndex.set_fact(connection, _IDENTITY, identity)
        except sqlite3.Error as error:
            raise LandscapeError(f"the index of {source.path} cannot be written to {file}: {error}") from error
        yield connection


def _lines(export: ExportReader, progress: Callable[[int], None] | None) -> Iterator[IndexedLine]:
    """Yield the export's records as records of the current epoch."""
    if export.source.is_current:
        is_file = export.source.place.lines_file is not None
        for stored in export.records():
            name = str(stored.record["record_type"])
            yield IndexedLine(name, stored.record, stored.line, stored.position if is_file else None)
        return
    with open_migrated(export, progress) as database, database.snapshot() as connection:
        for name, _, lines in read_lines(connection, export.summary.run_id, split):
            for line in lines:
                yield IndexedLine(name, orjson.loads(line), line, None)


@contextmanager
def _report_unreadable(export: ExportPlace) -> Iterator[None]:
    """Raise ExportError if a file cannot be read."""
    try:
        yield
    except OSError as error:
        raise ExportError(export.path, None, f"cannot be read: {error.strerror}") from error
