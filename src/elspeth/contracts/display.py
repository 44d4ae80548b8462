"""Values in messages."""

from __future__ import annotations

__all__ = ["shown"]

MAX_SHOWN = 60  # characters; what is longer tells the reader no more


def shown(value: object) -> str:
    """The value as Python writes it, cut when it is long."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
