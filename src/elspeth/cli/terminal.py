"""Prints text for people, and manages the standard streams.

Text looks the same on a terminal, in a pipe and in a log.
"""

from __future__ import annotations

import codecs
import getpass
import json
import os
import select
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, TextIO, cast

from elspeth.core.chunks import chunks
from elspeth.evidence.format.errors import printable

__all__ = [
    "aligned",
    "ask_secret",
    "binary_stdout",
    "is_broken_pipe",
    "named_stdout",
    "one_line",
    "print_json_list",
    "print_table",
    "printable",
    "redirect_to_null",
    "unfailing_stderr",
]

_MAX_LENGTH = 200
_PAGE = 500  # rows of a table that are aligned together
_IN_MEMORY = 1 << 20
"""The number of characters of a document that are kept in memory."""
_PART = 1 << 16
"""The number of characters of a document that are printed at a time."""


def aligned(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as lines with aligned columns.

    The last column is neither truncated nor wrapped. Unprintable characters are escaped, because cells may contain
    untrusted text.
    """
    table = [list(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )


def print_table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    """Print rows below a heading, and return their number.

    Columns are aligned within a page, so that only one page is held in memory. Nothing is printed without rows.
    """
    count = 0
    for page in chunks(rows, _PAGE):
        print(aligned(page if count else [heading, *page]))  # noqa: T201 - what the user asked for
        count += len(page)
    return count


def print_json_list(head: Mapping[str, object], name: str, items: Iterable[object]) -> int:
    """Print a JSON object whose last member is a list.

    The members in `head` come first. Each item has a line. Nothing is printed before the last item is known, so that a
    failure leaves no incomplete document; many items are kept in a temporary file. Returns the number of items.
    """
    with SpooledTemporaryFile(_IN_MEMORY, mode="w+", encoding="utf-8") as file:
        file.write("{" + "".join(f'"{key}": {json.dumps(value)}, ' for key, value in head.items()) + f'"{name}": [')
        count = 0
        for count, item in enumerate(items, start=1):
            file.write(f"{'' if count == 1 else ','}\n{json.dumps(item)}")
        file.write("\n]}\n" if count else "]}\n")
        file.seek(0)
        while part := file.read(_PART):
            print(part, end="")  # noqa: T201
    return count


def one_line(text: str) -> str:
    """Return untrusted text as one short, printable line."""
    shown = printable(" ".join(text.split()))
    return shown if len(shown) <= _MAX_LENGTH else f"{shown[:_MAX_LENGTH]}..."


def ask_secret(prompt: str) -> str | None:
    """Ask for a secret, or return None without a terminal."""
    if sys.stdin is None or not sys.stdin.isatty():
        return None
    return getpass.getpass(f"{printable(prompt)}: ", stream=sys.stderr) or None


def binary_stdout() -> BinaryIO:
    """Return standard output as a binary stream.

    If `sys.stdout` was replaced by a stream without a buffer, the bytes are decoded as UTF-8. Raises OSError if
    standard output is closed.
    """
    if sys.stdout is None:
        raise OSError("standard output is closed: name a file with -o")
    buffer: BinaryIO | None = getattr(sys.stdout, "buffer", None)
    return cast("BinaryIO", _Utf8Writer(sys.stdout)) if buffer is None else buffer


@contextmanager
def unfailing_stderr() -> Iterator[None]:
    """Ignore failures to write to standard error.

    This applies while the block lasts: work must not stop because nobody reads standard error any more.
    """
    with redirect_stderr(cast("TextIO", _UnfailingStream(sys.stderr))):
        yield


@contextmanager
def named_stdout() -> Iterator[None]:
    """Make failures to write to standard output name it."""
    if sys.stdout is None:  # it was closed before Python started
        yield
        return
    with redirect_stdout(cast("TextIO", _NamedStream(sys.stdout))):
        yield


def is_broken_pipe(stream: TextIO) -> bool:
    """Return whether the stream is a pipe without a reader."""
    try:
        poll = select.poll()
        poll.register(stream, 0)
    except (OSError, ValueError):
        return False  # the stream has no file descriptor
    return any(event & select.POLLERR for _, event in poll.poll(0))


def redirect_to_null(stream: TextIO) -> None:
    """Redirect a broken stream to the null device.

    Otherwise Python would report it at exit.
    """
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return  # the stream has no file descriptor
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, descriptor)
    finally:
        os.close(null)


class _Utf8Writer:
    """A binary stream that writes UTF-8 to a text stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def write(self, data: bytes) -> int:
        self._stream.write(self._decoder.decode(data))
        return len(data)

    def flush(self) -> None:
        self._stream.flush()


class _UnfailingStream:
    """A text stream that ignores failures."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            redirect_to_null(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            redirect_to_null(self._stream)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


class _NamedStream:
    """Standard output, which is named in failures to write."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, content: str) -> int:
        try:
            return self._stream.write(content)
        except OSError as error:
            error.filename = "standard output"
            raise

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            error.filename = "standard output"
            raise

    def __getattr__(self, name: str) -> object:
        found = getattr(self._stream, name)
        return _NamedStream(found) if name == "buffer" else found
