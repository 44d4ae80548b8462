"""Keeps bytes that do not fit a text's encoding."""

from __future__ import annotations

import codecs
import re

__all__ = ["KEEP_UNDECODED", "escape_undecoded"]

_UNDECODED = re.compile("[\udc00-\udcff]")
KEEP_UNDECODED = "elspeth.undecoded"
"""The error handler that decodes such a byte to a lone surrogate."""


def _keep_undecoded(error: UnicodeError) -> tuple[str, int]:
    """Decode each undecodable byte to a lone surrogate.

    This is `surrogateescape` for every byte: undecodable bytes of UTF-16 may be in the range of ASCII.
    """
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(KEEP_UNDECODED, _keep_undecoded)


def escape_undecoded(text: str) -> str | None:
    """Return a text with its undecoded bytes as escapes.

    Returns None if the whole text was decoded.
    """
    if text.isascii() or _UNDECODED.search(text) is None:
        return None
    return _UNDECODED.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", text)
