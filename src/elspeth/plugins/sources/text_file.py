"""Files of text, and what is found in their place."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, cast

from elspeth.contracts.plugins import PluginError

__all__ = ["TextFile", "check_file"]

_BEGINNINGS: Mapping[bytes, str] = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "a zip archive, as spreadsheets are",
    b"BZh91AY&SY": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PAR1\x15": "Parquet",
}


class TextFile:
    """A UTF-8 file that is read from its first line to its last. PluginError names it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None
        self._size = 0

    def check(self) -> None:
        """Look whether the file is there."""
        check_file(self.path)

    @contextmanager
    def opened(self, *, newline: str) -> Iterator[TextIO]:
        """The file, for the time of the block. A byte that is not UTF-8 is read as a lone surrogate."""
        try:
            with self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline) as self._file:
                self._size = os.fstat(self._file.fileno()).st_size
                self._refuse_other_forms(self._file)
                yield self._file
        except OSError as error:
            raise PluginError(f"{self.path} cannot be read: {error.strerror}") from error

    def fraction_read(self) -> float | None:
        """How much of the file has been read, from 0 to 1; None before it is open and for an empty one."""
        if self._file is None:
            return None
        if self._file.closed:
            return 1.0
        return self._file.buffer.tell() / self._size if self._size else None

    def _refuse_other_forms(self, file: TextIO) -> None:
        begins = cast("io.BufferedReader", file.buffer).peek(max(map(len, _BEGINNINGS)))
        for beginning, form in _BEGINNINGS.items():
            if begins.startswith(beginning):
                raise PluginError(f"{self.path} begins like {form}: expected text in UTF-8")


def check_file(path: Path) -> None:
    """Raise PluginError for a file that cannot be opened to be read. A pipe is not opened: that would wait."""
    try:
        if not path.is_fifo():
            path.open("rb").close()
    except OSError as error:
        raise PluginError(f"{path} cannot be read: {error.strerror}") from error
