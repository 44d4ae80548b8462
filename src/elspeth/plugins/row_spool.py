"""Keeps rows on disk as JSON lines until written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import cast

from elspeth.contracts.plugins import JsonObject
from elspeth.contracts.rows import RowData
from elspeth.contracts.values import decode_row, encode_row
from elspeth.plugins.json_text import encode_json
from elspeth.plugins.staging import StagedFile

__all__ = ["RowSpool", "in_groups", "read_rows", "row_line"]


def row_line(row: RowData) -> bytes:
    """Return a row as a line that keeps its types.

    Raises ValueError if JSON cannot represent it.
    """
    return encode_json(encode_row(row)).encode() + b"\n"


def read_rows(path: Path) -> Iterator[RowData]:
    """Yield the rows of a file that `row_line` made."""
    with path.open("rb") as file:
        for line in file:
            yield decode_row(json.loads(line))


def in_groups(rows: Iterator[RowData], size: int) -> Iterator[list[RowData]]:
    """Yield rows in lists of at most `size`."""
    while group := list(islice(rows, size)):
        yield group


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

        Raises PluginError if it cannot be created.
        """
        self._file.open(staging_name)

    def append(self, row: RowData) -> None:
        """Keep one row.

        Raises ValueError if JSON cannot represent it.
        """
        self._file.write(row_line(row))
        self.rows += 1

    def sync(self) -> None:
        """Sync all rows to disk."""
        self._file.sync()

    def position(self) -> JsonObject:
        """Return size, hash and number of the rows so far."""
        return {**self._file.position(), "rows": self.rows}

    def reopen(self, staging_name: str, position: JsonObject) -> None:
        """Continue at a position.

        Raises PluginError if the rows before it are missing or were changed.
        """
        self._file.reopen(staging_name, position)
        self.rows = cast("int", position["rows"])

    def finish(self) -> None:
        """End the rows."""
        output = self._file.finish("spool")
        self.content_hash, self.size_bytes = output.content_hash, output.size_bytes

    def read(self) -> Iterator[RowData]:
        """Return the rows, in order."""
        return read_rows(self._file.staging)

    def close(self) -> str | None:
        """Close the file without removing it, and return its path."""
        return self._file.close()

    def remove(self, staging_name: str) -> None:
        """Remove the file that another process left."""
        self._file.remove(staging_name)

    def discard(self) -> None:
        """Remove the file."""
        self._file.discard()
