"""The elements of DER (X.690)."""

from __future__ import annotations

__all__ = ["Element", "children", "encoded"]

Element = tuple[int, bytes]
"""The tag and the content of an element."""

_LONG = 0x80
"""The bit that marks a length as the number of the length bytes that follow."""


def children(data: bytes) -> list[Element]:
    """Return the DER elements in the content of another.

    Raises ValueError or IndexError for malformed content.
    """
    found: list[Element] = []
    position = 0
    while position < len(data):
        tag, length = data[position], data[position + 1]
        position += 2
        if length >= _LONG:
            size = length - _LONG
            length = int.from_bytes(data[position : position + size])
            position += size
        if len(data) - position < length:
            message = "an element is longer than what is around it"
            raise ValueError(message)
        found.append((tag, data[position : position + length]))
        position += length
    return found


def encoded(element: Element) -> bytes:
    """Return an element in DER."""
    tag, content = element
    size = len(content)
    digits = size.to_bytes((size.bit_length() + 7) // 8)
    length = bytes([size]) if size < _LONG else bytes([_LONG | len(digits)]) + digits
    return bytes([tag]) + length + content
