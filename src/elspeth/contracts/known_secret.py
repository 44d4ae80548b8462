"""Searches the answers of other systems for a secret."""

from __future__ import annotations

import base64
import html
import re
import string
from collections.abc import Iterator

__all__ = ["LEAST_PART", "LEAST_SECRET", "KnownSecret"]

LEAST_SECRET = 8
"""The least number of characters of a secret. Shorter ones, such as `EMPTY`, occur in ordinary text and are ignored."""

LEAST_PART = 12
"""The least number of characters of a part of a secret that is recognised."""

_ESCAPE = re.compile(
    r"\\+(?:u(?P<u>[0-9A-Fa-f]{4})|x(?P<x>[0-9A-Fa-f]{2})|(?P<space>[bfnrt])?)"
    r"|%(?:25)*(?P<percent>[0-9A-Fa-f]{2})"
    r"|(?P<entity>&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|quot|amp|apos|lt|gt);)"
)
_NESTED = 4  # how many levels of nested escapes are undone

_FOLDED = {
    # The alphabets of base64 differ in two characters; base64 and other text may be broken into lines.
    **str.maketrans(string.ascii_uppercase + "-_", string.ascii_lowercase + "+/"),
    **dict.fromkeys(map(ord, f"{string.whitespace}\0")),
}


class KnownSecret:
    """A secret, recognised in its usual spellings.

    The spellings are: unchanged, or in another case; escaped for JSON, URLs or HTML, even several times; in base64 of
    either alphabet, alone or within other text; and in hexadecimal. Each may contain line breaks. A secret of fewer
    than `LEAST_SECRET` characters is never recognised. Of longer secrets, parts of at least `LEAST_PART` characters are
    recognised, too.
    """

    def __init__(self, secret: str) -> None:
        self._pieces = frozenset(_pieces(secret)) if len(secret) >= LEAST_SECRET else frozenset()

    def is_in(self, text: str) -> bool:
        """Return whether the text contains the secret, or a part."""
        # Whether a backslash before an n is an escape depends on the context of the text, so both are tried.
        return any(self._is_in(_simplify(text, spaces=spaces)) for spaces in (True, False))

    def _is_in(self, plain: str) -> bool:
        return any(piece in plain for piece in self._pieces)


def _pieces(secret: str) -> Iterator[str]:
    """Yield the pieces by which the secret is recognised.

    Every plain text that contains the secret contains at least one of them.
    """
    content = secret.encode()
    for spaces in (True, False):
        yield from _windows(_simplify(secret, spaces=spaces), LEAST_PART)
    yield from _windows(content.hex(), 2 * LEAST_PART)
    for before in range(3):
        # The first and last digits may hold bits of the surrounding text, so they are left out.
        digits = base64.b64encode(bytes(before) + content).decode()
        inner = digits[-(-8 * before // 6) : 8 * (before + len(content)) // 6]
        yield from _windows(inner.translate(_FOLDED), LEAST_PART * 8 // 6)


def _windows(text: str, size: int) -> Iterator[str]:
    """Yield every part of a size, or a shorter text."""
    yield from (text[start : start + size] for start in range(max(len(text) - size, 0) + 1))


def _simplify(text: str, *, spaces: bool) -> str:
    """Return a text without escapes, white space and case.

    With `spaces`, ``
    `` and the like are white space.
    """
    text = text.translate(_FOLDED)
    for _ in range(_NESTED):
        shorter = _ESCAPE.sub(lambda match: _unescape(match, spaces=spaces), text).translate(_FOLDED)
        if shorter == text:
            break
        text = shorter
    return text


def _unescape(match: re.Match[str], *, spaces: bool) -> str:
    """Return the character that an escape stands for."""
    if match["entity"]:
        return html.unescape(match["entity"])
    digits = match["u"] or match["x"] or match["percent"]
    if digits:
        return chr(int(digits, 16))
    return "" if spaces else match["space"] or ""
