"""Reads JSON in the answers of servers."""

from __future__ import annotations

import json
from typing import NoReturn

from elspeth.contracts.plugins import CallError

__all__ = ["MAX_DEPTH", "is_deeper", "parse_json", "read_json", "unusable_answer"]

MAX_DEPTH = 64
"""The largest depth of arrays and objects, because a recursive function writes answers as canonical JSON."""


def read_json(content: bytes) -> object:
    """Return the value of an answer.

    Raises CallError if it is not JSON. The call is then not repeated: the server has answered, and would most likely
    give the same answer again, at the same price.
    """
    try:
        value = parse_json(content.decode())
    except UnicodeDecodeError as error:
        raise unusable_answer(f"the answer is not UTF-8: {error.reason} at byte {error.start}") from error
    except ValueError as error:
        raise unusable_answer(f"the answer is not JSON: {error}") from error
    if is_deeper(value, MAX_DEPTH):
        raise unusable_answer(f"the answer is nested deeper than {MAX_DEPTH} levels")
    return value


def parse_json(text: str) -> object:
    """Return the value of a JSON text.

    Raises ValueError for any other text, even if Python's parser accepts it in addition to the standard.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}")


def is_deeper(value: object, levels: int) -> bool:
    """Return whether arrays and objects are nested too deeply.

    `levels` is the number of levels that are allowed.
    """
    layer = [value]
    for _ in range(levels + 1):
        layer = [
            item
            for each in layer
            if isinstance(each, dict | list)
            for item in (each.values() if isinstance(each, dict) else each)
        ]
    return bool(layer)


def unusable_answer(problem: str) -> CallError:
    """Return an error that is not retryable."""
    return CallError(problem, is_retryable=False)
