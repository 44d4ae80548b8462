"""Values in messages."""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ["kind_of", "shown"]

MAX_SHOWN = 60  # characters; what is longer tells the reader no more


def shown(value: object) -> str:
    """The value as Python writes it, cut when it is long. Not for values of rows: see `kind_of`."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def kind_of(value: object) -> str:
    """Return what kind of value it is, for messages that must not repeat the value of a row."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a number" if math.isfinite(value) else "a number that is not finite"
        case "":
            return "empty text"
        case str():
            return f"text of {_counted(len(value), 'character')}"
        case Mapping():
            return f"an object with {_counted(len(value), 'field')}"
        case list() | tuple():
            return f"a list of {_counted(len(value), 'item')}"
        case _:
            return f"a value of type {type(value).__name__}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
