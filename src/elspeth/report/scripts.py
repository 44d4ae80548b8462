"""Joins the JavaScript modules of a page into one script.

A page that loads nothing must hold them all. Imports, the word `export` and comments are removed, which is possible
because all top-level names differ. Indentation becomes tabs.
"""

from __future__ import annotations

import re
from functools import cache
from graphlib import TopologicalSorter
from importlib.resources import files

from elspeth.evidence.format import limits

__all__ = ["read_asset", "script_of"]

_LIMITS = ("MAX_DIRECTORY", "MAX_DOCUMENT", "MAX_FACTOR", "MAX_FILES", "MAX_LINE", "MAX_UNPACKED")
"""The limits of the verifier that the page needs."""

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([a-z0-9_]+\.js)";\n', re.MULTILINE)
_COMMENT = re.compile(r"^ *(?:/\*\*.*?\*/|//[^\n]*)\n|(?<=[;,]) // [^\n]*|^\n", re.MULTILINE | re.DOTALL)
"""A comment on lines of its own or after code, or an empty line."""

_INDENT = re.compile("^(?:  )+", re.MULTILINE)
"""Two spaces for each level, for which the page has a tab."""

_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class)\b)", re.MULTILINE)


def read_asset(name: str) -> str:
    """Return a file of `report/assets`."""
    return files("elspeth.report").joinpath("assets", name).read_text(encoding="utf-8")


@cache
def script_of(module: str) -> str:
    """Return a module with its imports as one script.

    Each module comes after those that it imports.
    """
    imported: dict[str, list[str]] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in imported:
            imported[name] = _IMPORT.findall(_source(name))
            waiting += imported[name]
    ordered = TopologicalSorter(imported).static_order()
    return '"use strict";\n' + "".join(_joined(_source(name)) for name in ordered)


def _source(module: str) -> str:
    """Return the text of a module.

    Generates `limits.js`, so that the page and the verifier have the same limits.
    """
    if module != "limits.js":
        return read_asset(module)
    return "".join(f"export const {name} = {getattr(limits, name)};\n" for name in _LIMITS)


def _joined(source: str) -> str:
    code = _EXPORT.sub("", _COMMENT.sub("", _IMPORT.sub("", source)))
    return _INDENT.sub(lambda found: "\t" * (len(found[0]) // 2), code)
