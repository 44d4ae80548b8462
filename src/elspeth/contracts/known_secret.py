"""A secret that was sent to another system, looked for in what that system says."""

from __future__ import annotations

import base64
import html
import re
import string
from collections.abc import Iterator

__all__ = ["LEAST_PART", "LEAST_SECRET", "KnownSecret"]

LEAST_SECRET = 8
"""Characters of a secret that is looked for. Shorter ones, such as `EMPTY`, occur in ordinary text."""

LEAST_PART = 12
"""Characters of a secret that are recognised without the others."""

_ESCAPE = re.compile(
    r"\\+(?:u(?P<u>[0-9A-Fa-f]{4})|x(?P<x>[0-9A-Fa-f]{2})|(?P<space>[bfnrt])?)"
    r"|%(?:25)*(?P<percent>[0-9A-Fa-f]{2})"
    r"|(?P<entity>&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|quot|amp|apos|lt|gt);)"
)
_NESTED = 4  # escapes within escapes that are undone

_FOLDED = {
    # The alphabets of base64 differ in two characters; base64 and other text may be broken into lines.
    **str.maketrans(string.ascii_uppercase + "-_", string.ascii_lowercase + "+/"),
    **dict.fromkeys(map(ord, f"{string.whitespace}\0")),
}


class KnownSecret:
    """A secret in its usual spellings.

    These are: as it is or in another case, escaped for JSON, URLs or HTML, even several times, in base64 (of either
    alphabet, within other text or not) and in hexadecimal. Each may be broken into lines. Of a secret with fewer than
    `LEAST_SECRET` characters nothing is recognised, and of others no part with fewer than `LEAST_PART`.
    """

    def __init__(self, secret: str) -> None:
        self._pieces = frozenset(_pieces(secret)) if len(secret) >= LEAST_SECRET else frozenset()

    def is_in(self, text: str) -> bool:
        """Return whether the text holds the secret, or a part of it."""
        # A backslash before the letter n is an escape or not: it depends on what is around the text.
        return any(self._is_in(_plain(text, spaces=spaces)) for spaces in (True, False))

    def _is_in(self, plain: str) -> bool:
        return any(piece in plain for piece in self._pieces)


def _pieces(secret: str) -> Iterator[str]:
    """Yield texts of which one is in each text that holds the secret, once that is plain."""
    content = secret.encode()
    for spaces in (True, False):
        yield from _windows(_plain(secret, spaces=spaces), LEAST_PART)
    yield from _windows(content.hex(), 2 * LEAST_PART)
    for before in range(3):
        # The first and the last digit may hold bits of what is around the secret: they are left out.
        digits = base64.b64encode(bytes(before) + content).decode()
        inner = digits[-(-8 * before // 6) : 8 * (before + len(content)) // 6]
        yield from _windows(inner.translate(_FOLDED), LEAST_PART * 8 // 6)


def _windows(text: str, size: int) -> Iterator[str]:
    """Yield every part of that size, or all of a shorter text."""
    yield from (text[start : start + size] for start in range(max(len(text) - size, 0) + 1))


def _plain(text: str, *, spaces: bool) -> str:
    r"""Return a text without escapes, white space and case. With `spaces`, ``\n`` and the like are white space."""
    text = text.translate(_FOLDED)
    for _ in range(_NESTED):
        shorter = _ESCAPE.sub(lambda match: _unescaped(match, spaces=spaces), text).translate(_FOLDED)
        if shorter == text:
            break
        text = shorter
    return text


def _unescaped(match: re.Match[str], *, spaces: bool) -> str:
    if match["entity"]:
        return html.unescape(match["entity"])
    digits = match["u"] or match["x"] or match["percent"]
    if digits:
        return chr(int(digits, 16))
    return "" if spaces else match["space"] or ""
