"""Looks at the beginning of a text before reading it."""

from __future__ import annotations

from typing import TextIO

__all__ = ["LookAhead"]

_CHUNK = 65_536


class LookAhead:
    """A text whose beginning can be examined before reading.

    It is read only once, so the file need not be seekable.
    """

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._ahead = ""

    def first(self) -> str:
        """Return the first character that is not white space.

        Returns an empty text if there is none.
        """
        while not (found := self._ahead.lstrip()):
            more = self._text.read(_CHUNK)
            if not more:
                return ""
            self._ahead += more
        return found[0]

    def first_lines(self, count: int, limit: int) -> dict[int, str]:
        """Return the first lines that are not blank, by number.

        The result ends before a line of `limit` characters or more.
        """
        lines: dict[int, str] = {}
        number, read = 0, list[str]()
        while len(lines) < count and (line := self.readline(limit)):
            number += 1
            read.append(line)
            if len(line) == limit:
                break
            if not line.isspace():
                lines[number] = line
        self._ahead = "".join(read) + self._ahead
        return lines

    def read(self, size: int) -> str:
        """Return up to `size` characters, none at the end."""
        if not self._ahead:
            return self._text.read(size)
        found, self._ahead = self._ahead[:size], self._ahead[size:]
        return found

    def readline(self, limit: int) -> str:
        """Return the next line, or `limit` characters of it."""
        if not self._ahead:
            return self._text.readline(limit)
        end = self._ahead.find("\n", 0, limit) + 1
        if not end and len(self._ahead) < limit:
            found, self._ahead = self._ahead, ""
            return found + self._text.readline(limit - len(found))
        found, self._ahead = self._ahead[: end or limit], self._ahead[end or limit :]
        return found

    def skip_line(self) -> None:
        """Skip the rest of a line."""
        while (rest := self.readline(_CHUNK)) and not rest.endswith("\n"):
            pass
