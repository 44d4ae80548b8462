"""Rows kept on disk until a sink can write them all at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from elspeth.contracts.plugins import JsonObject, Row
from elspeth.plugins.files import StagedFile
from elspeth.plugins.sinks.file import json_text

__all__ = ["RowSpool"]


class RowSpool:
    """A staging file of JSON lines, never published: what sinks keep whose own form takes all rows at once.

    `content_hash` is the SHA-256 of its bytes in hex, `size_bytes` their number; both are known once it is finished.
    """

    def __init__(self, path: Path) -> None:
        self._file = StagedFile(path)
        self.rows = 0
        self.content_hash = ""
        self.size_bytes = 0

    def open(self, staging_name: str) -> None:
        """Create the file; PluginError when that cannot be done."""
        self._file.open(staging_name)

    def append(self, row: Row) -> None:
        """Keep one row; ValueError when JSON cannot express it."""
        self._file.write(json_text(row).encode() + b"\n")
        self.rows += 1

    def sync(self) -> None:
        """Return when every row is on the disk."""
        self._file.sync()

    def position(self) -> JsonObject:
        """How far the file has come: bytes, their hash, and rows."""
        return {**self._file.position(), "rows": self.rows}

    def reopen(self, staging_name: str, position: JsonObject) -> None:
        """Go on from a position; PluginError when what was before it is gone or was altered."""
        self._file.reopen(staging_name, position)
        self.rows = cast("int", position["rows"])

    def finish(self) -> None:
        """Take no more rows."""
        output = self._file.finish("spool")
        self.content_hash, self.size_bytes = output.content_hash, output.size_bytes

    def read(self) -> Iterator[Row]:
        """The rows, in order."""
        with self._file.staging.open("rb") as file:
            for line in file:
                yield json.loads(line)

    def close(self) -> str | None:
        """Close the file and leave it; its path."""
        return self._file.close()

    def remove(self, staging_name: str) -> None:
        """Remove the file that another process left."""
        self._file.remove(staging_name)

    def discard(self) -> None:
        """Remove the file."""
        self._file.discard()
