"""Packs lines into compressed blocks, which browsers do not parse."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator
from html import escape
from tempfile import TemporaryFile
from types import TracebackType
from typing import BinaryIO, Self

__all__ = ["BLOCK_LINES", "BlockWriter", "packed_element", "packed_text"]

BLOCK_LINES = 5_000
"""The number of lines in a block. For one story, the page unpacks a few blocks."""

_LEVEL = 6


class BlockWriter:
    """Packs lines into blocks that wait in a temporary file.

    `count` is the number of lines so far. Memory holds one block.
    """

    def __init__(self) -> None:
        self._file: BinaryIO = TemporaryFile(prefix="elspeth-")  # noqa: SIM115  closed at the end of the block
        self._lines: list[bytes] = []
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, lines: Iterable[bytes]) -> None:
        """Add lines, which have no line feeds."""
        for line in lines:
            self._lines.append(line)
            self.count += 1
            if len(self._lines) == BLOCK_LINES:
                self._pack()

    def clear(self) -> None:
        """Forget all lines."""
        self._lines.clear()
        self._file.seek(0)
        self._file.truncate()
        self.count = 0

    def elements(self) -> Iterator[bytes]:
        """Yield the HTML elements with the blocks, in pieces."""
        if self._lines:
            self._pack()
        self._file.seek(0)
        while piece := self._file.read(1 << 20):
            yield piece

    def _pack(self) -> None:
        self._file.write(packed_element(b"\n".join(self._lines)))
        self._lines.clear()


def packed_element(content: bytes, name: str | None = None, kind: str = "file") -> bytes:
    """Return the element of a block or named file.

    `kind` is the class of a file's element. The content is deflated (RFC 1950) and in base64, which needs no escapes.
    """
    about = 'class="block"' if name is None else f'class="{kind}" data-name="{escape(name)}"'
    return f'<script type="text/plain" {about}>{packed_text(content)}</script>\n'.encode()


def packed_text(content: bytes) -> str:
    """Return content deflated (RFC 1950) and in base64."""
    return base64.b64encode(zlib.compress(content, _LEVEL)).decode()
