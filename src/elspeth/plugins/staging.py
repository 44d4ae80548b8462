"""Output that nobody sees until it is complete."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, cast

from elspeth.contracts.plugins import JsonObject, PluginError, StagedOutput
from elspeth.contracts.rows import RowData
from elspeth.contracts.schema import FieldDefinition, decimal_places
from elspeth.contracts.values import decode_row, encode_row
from elspeth.outputs.locks import hidden_sibling, still_names, try_lock
from elspeth.outputs.policy import FileState, Kind, OutputPolicy, file_state, problem_with, real_path
from elspeth.outputs.writing import make_directory, mode_of, publish_file, sync_directory
from elspeth.plugins.json_text import encode_json

__all__ = ["Column", "ColumnType", "RowSpool", "StagedFile", "column_types"]

_BLOCK = 1 << 20

_ANY_FILE = OutputPolicy(kind=Kind.FILE, objection=lambda _: None)
"""The engine decides which existing files may be replaced: it knows what earlier runs wrote."""


class StagedFile:
    """A file written beside its final path, then renamed.

    A symbolic link at the final path is followed, and stays. The file that is replaced is the one that was there when
    this one was opened: if another file came there since, it is left alone. PluginError names the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._real = path
        self._found: FileState | None = None
        self._staging: Path | None = None
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self._size = 0

    def open(self, staging_name: str) -> None:
        """Create the staging file, and the directories above it.

        Refuses a final path that cannot be a file. If a staging file of that name exists, a process left it that
        stopped before anything of it was recorded.
        """
        self._inspect_final_path()
        self._staging = self._staging_path(staging_name)
        try:
            make_directory(self._real.parent)
            mode = mode_of(self._real)
            descriptor = _open_exclusively(self._staging, os.O_CREAT, 0o666 if mode is None else mode & 0o600)
            self._file = os.fdopen(descriptor, "wb")
            self._file.truncate()
            if mode is not None:
                os.fchmod(descriptor, mode)
            sync_directory(self._real.parent)
        except OSError as error:
            raise PluginError(f"{self._staging} cannot be created: {error.strerror}") from error

    def reopen(self, staging_name: str, position: JsonObject) -> None:
        """Go on after the first bytes of the staging file.

        Their hash must be that of the position.
        """
        self._inspect_final_path()
        self._staging = self._staging_path(staging_name)
        self._hash, self._size = hashlib.sha256(), cast("int", position["bytes"])
        try:
            self._file = os.fdopen(_open_exclusively(self._staging), "r+b")
            for start in range(0, self._size, _BLOCK):
                self._hash.update(self._file.read(min(_BLOCK, self._size - start)))
            if self._hash.hexdigest() != position["sha256"]:
                raise PluginError(
                    f"{self._staging} is not what the run wrote: expected {self._size} bytes with SHA-256 "
                    f"{position['sha256']}, got {self._hash.hexdigest()}; restore the file, or run the pipeline again"
                )
            self._file.truncate(self._size)
        except FileNotFoundError as error:
            raise PluginError(
                f"{self._staging} is gone, with {self._size} bytes that the run wrote: put it back, or put "
                f"{self._path} back if it was moved after it was published; else give the run up, and run the pipeline "
                "again"
            ) from error
        except OSError as error:
            raise self._file_error("opened again", error) from error

    def position(self) -> JsonObject:
        """Return size and SHA-256 of what was written so far."""
        return {"bytes": self._size, "sha256": self._hash.hexdigest()}

    def confirm(self, staging_name: str, output: StagedOutput) -> bool:
        """Return whether the file has its final name."""
        try:
            if self._staging_path(staging_name).exists():
                return False
            with self._path.open("rb") as file:
                is_in_place = hashlib.file_digest(file, "sha256").hexdigest() == output.content_hash
            if is_in_place:
                sync_directory(real_path(self._path).parent)  # the renaming process may have stopped before its sync
        except FileNotFoundError:
            return False
        except OSError as error:
            raise PluginError(f"{self._path} cannot be read: {error.strerror}") from error
        return is_in_place

    @property
    def staging(self) -> Path:
        """Return the path of the staging file.

        Raises PluginError before it is opened.
        """
        if self._staging is None:
            raise PluginError(f"{self._path} is not open")
        return self._staging

    def write(self, content: bytes) -> None:
        """Append bytes."""
        self._hash.update(content)
        self._size += len(content)
        try:
            self._require_open().write(content)
        except OSError as error:
            raise self._file_error("written", error) from error

    def sync(self) -> None:
        """Return when everything written is on disk."""
        file = self._require_open()
        try:
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            raise self._file_error("written", error) from error

    def finish(self, artifact_type: str) -> StagedOutput:
        """Sync and close the file, and return its hash."""
        self.sync()
        self._require_open().close()
        return StagedOutput(
            artifact_type=artifact_type,
            path=str(self._path),
            content_hash=self._hash.hexdigest(),
            size_bytes=self._size,
        )

    def publish(self) -> None:
        """Rename the file to its final name.

        A crash before the rename leaves the staging file and the old final file; after it, the complete new one. A
        power cut can undo the rename until the directory is synced, too.
        """
        staging = self._staging
        try:
            if staging is not None and staging.exists():
                self._replace_final(staging)
            sync_directory(self._real.parent)
        except FileExistsError as error:
            raise PluginError(
                f"{self._path} was made or changed by another program during the run, and is left unchanged: move "
                "it away, then resume the run"
            ) from error
        except OSError as error:
            raise self._file_error("renamed", error) from error

    def _replace_final(self, staging: Path) -> None:
        """Rename the staging file.

        Raises FileExistsError if the final path has changed since it was opened.
        """
        if file_state(self._real) != self._found:
            raise FileExistsError(self._path)
        publish_file(staging, self._real)

    def close(self) -> str | None:
        """Close the staging file, leave it, and return its path.

        Returns None if it was not opened.
        """
        if self._file is None:
            return None
        with contextlib.suppress(OSError):  # a full disk: what was not synced was not recorded
            self._file.close()
        return str(self._staging)

    def discard(self) -> None:
        """Remove the staging file, if there is one."""
        if self._file is not None and self._staging is not None:
            self._staging.unlink(missing_ok=True)  # before the lock on it is released
        self.close()

    def remove(self, staging_name: str) -> None:
        """Remove the staging file that another process left."""
        self._staging_path(staging_name).unlink(missing_ok=True)

    def _inspect_final_path(self) -> None:
        """Note what is at the final path."""
        problem = problem_with(self._path, _ANY_FILE)
        if problem is not None:
            raise PluginError(f"{self._path}: {problem}")
        self._real = self._resolve_final_path()
        self._found = file_state(self._real)

    def _resolve_final_path(self) -> Path:
        """Return the path, or the target of a symbolic link.

        Messages keep the name that users know.
        """
        return real_path(self._path) if self._path.is_symlink() else self._path

    def _staging_path(self, staging_name: str) -> Path:
        return hidden_sibling(self._resolve_final_path(), f"{staging_name}.partial")

    def _require_open(self) -> BinaryIO:
        if self._file is None:
            raise PluginError(f"{self._path} is not open")
        return self._file

    def _file_error(self, what: str, error: OSError) -> PluginError:
        return PluginError(f"{self._staging or self._path} cannot be {what}: {error.strerror}")


def _open_exclusively(path: Path, flags: int = 0, mode: int = 0o666) -> int:
    """Open a staging file as the only process that does.

    It is opened for reading and writing. Raises OSError, and PluginError while another process has it: the first owner
    of a resumed run may still be alive.
    """
    file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, mode)
    try:
        is_alone = try_lock(file) and still_names(path, file)
    except BaseException:
        os.close(file)
        raise
    if not is_alone:
        os.close(file)
        raise PluginError(f"{path} is being written by another process: wait for its end, or stop it first")
    return file


class RowSpool:
    """Rows kept on disk until all can be written.

    The spool is a staging file of JSON lines that is never published. `content_hash` is the SHA-256 of its bytes in
    hex, `size_bytes` their number; both are known once it is finished.
    """

    def __init__(self, path: Path) -> None:
        self._file = StagedFile(path)
        self.rows = 0
        self.content_hash = ""
        self.size_bytes = 0

    def open(self, staging_name: str) -> None:
        """Create the file.

        Raises PluginError if that is not possible.
        """
        self._file.open(staging_name)

    def append(self, row: RowData) -> None:
        """Keep one row.

        Raises ValueError if JSON cannot represent it.
        """
        self._file.write(encode_json(encode_row(row)).encode() + b"\n")
        self.rows += 1

    def sync(self) -> None:
        """Return when every row is on disk."""
        self._file.sync()

    def position(self) -> JsonObject:
        """Return bytes, hash and number of rows so far."""
        return {**self._file.position(), "rows": self.rows}

    def reopen(self, staging_name: str, position: JsonObject) -> None:
        """Go on from a position.

        Raises PluginError if what was before it is gone or was changed.
        """
        self._file.reopen(staging_name, position)
        self.rows = cast("int", position["rows"])

    def finish(self) -> None:
        """Take no more rows."""
        output = self._file.finish("spool")
        self.content_hash, self.size_bytes = output.content_hash, output.size_bytes

    def read(self) -> Iterator[RowData]:
        """Yield the rows, in order."""
        with self._file.staging.open("rb") as file:
            for line in file:
                yield decode_row(json.loads(line))

    def close(self) -> str | None:
        """Close the file, leave it, and return its path."""
        return self._file.close()

    def remove(self, staging_name: str) -> None:
        """Remove the file that another process left."""
        self._file.remove(staging_name)

    def discard(self) -> None:
        """Remove the file."""
        self._file.discard()


class ColumnType(StrEnum):
    """The type of a column.

    Lists, mappings and values of several types are kept as JSON text.
    """

    INTEGER = "integer"
    REAL = "real"
    BOOLEAN = "boolean"
    TEXT = "text"
    DECIMAL = "decimal"
    DATE = "date"
    DATETIME = "datetime"
    DURATION = "duration"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column's type; decimals have that many places."""

    type: ColumnType
    places: int = 0


_OF_FIELD = {
    "int": ColumnType.INTEGER,
    "float": ColumnType.REAL,
    "bool": ColumnType.BOOLEAN,
    "str": ColumnType.TEXT,
    "date": ColumnType.DATE,
    "datetime": ColumnType.DATETIME,
    "duration": ColumnType.DURATION,
}
_OF_VALUE = {
    int: ColumnType.INTEGER,
    float: ColumnType.REAL,
    bool: ColumnType.BOOLEAN,
    str: ColumnType.TEXT,
    dt.date: ColumnType.DATE,
    dt.datetime: ColumnType.DATETIME,
    dt.timedelta: ColumnType.DURATION,
}
_COMMON = {
    frozenset({ColumnType.INTEGER, ColumnType.REAL}): ColumnType.REAL,
    frozenset({ColumnType.INTEGER, ColumnType.DECIMAL}): ColumnType.DECIMAL,
}
"""The types of columns that hold values of two types; other pairs are JSON."""


def column_types(rows: Iterable[RowData], declared: Iterable[FieldDefinition]) -> dict[str, Column]:
    """Return the type of each column that the rows need.

    The declared fields come first, then the others in the order in which they occur. A column without any value is
    text.
    """
    fixed = {field.name: _declared_column(field) for field in declared}
    found: dict[str, Column | None] = dict(fixed)
    for row in rows:
        for name, value in row.items():
            if fixed.get(name) is None:
                found[name] = _common_column(found.get(name), value)
    return {name: column or Column(type=ColumnType.TEXT) for name, column in found.items()}


def _declared_column(field: FieldDefinition) -> Column | None:
    """Return the column of a field, None for any type."""
    places = decimal_places(field.field_type)
    if places is not None:
        return Column(type=ColumnType.DECIMAL, places=places)
    column_type = _OF_FIELD.get(field.field_type)
    return None if column_type is None else Column(type=column_type)


def _common_column(known: Column | None, value: object) -> Column | None:
    """Return the column that holds the value and those before."""
    if value is None:
        return known
    new = _column_of(value)
    if known is None:
        return new
    places = max(known.places, new.places)
    common = known.type if known.type is new.type else _COMMON.get(frozenset({known.type, new.type}), ColumnType.JSON)
    return known if (common, places) == (known.type, known.places) else replace(new, type=common, places=places)


def _column_of(value: object) -> Column:
    if isinstance(value, Decimal):
        return Column(type=ColumnType.DECIMAL, places=max(0, -cast("int", value.as_tuple().exponent)))
    return Column(type=_OF_VALUE.get(type(value), ColumnType.JSON))
