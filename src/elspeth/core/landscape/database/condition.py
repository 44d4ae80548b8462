"""Conditions of constraints and indexes, in a form in which those that mean the same read the same."""

from __future__ import annotations

import re

__all__ = ["condition_words"]

_WORD = re.compile(
    r"""
    (?P<literal> '(?:[^']|'')*' )
    | (?P<cast> ::(?:double\ precision|character\ varying|\w+)(?:\(\d+\))?(?:\[\])? )
    | (?P<word> \w+ | [<>=!]+ )
    """,
    re.VERBOSE,
)
_ONE_OF_ONE = re.compile(r"\bin ('(?:[^']|'')*'|\d+)(?= [^'\d]|$)")


def condition_words(condition: str) -> str:
    """The columns, literals and operators of a condition, in order.

    PostgreSQL keeps a condition as a tree and writes it anew: with casts and parentheses, and lists as arrays.
    """
    words = [
        match["literal"] or match["word"].lower().replace("!=", "<>")
        for match in _WORD.finditer(condition)
        if match["cast"] is None
    ]
    return _ONE_OF_ONE.sub(r"= \1", " ".join(words).replace("= any array ", "in "))
