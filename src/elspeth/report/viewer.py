"""The page that checks bags, without any data."""

from __future__ import annotations

import re
from hashlib import sha256
from html import escape
from pathlib import Path
from string import Template

from elspeth import __version__
from elspeth.outputs.policy import Kind, OutputPolicy, check_output
from elspeth.outputs.writing import hold
from elspeth.report.page import content_policy
from elspeth.report.scripts import read_asset, script_of

__all__ = ["viewer_page", "write_viewer"]

_START = 4096
"""Bytes of a page in which it says what it is."""

_VIEWER = re.compile(rb"<!doctype html>\n.*<title>Check a bag</title>\n", re.DOTALL)


def viewer_page() -> bytes:
    """Return the page: the same bytes wherever it is made."""
    style = "".join(map(read_asset, ("page.css", "check.css", "viewer.css")))
    code = script_of("viewer.js")
    values = {"policy": content_policy(style, code), "version": escape(__version__), "style": style, "code": code}
    return Template(read_asset("viewer.html")).substitute(values).encode()


def write_viewer(target: Path, *, force: bool = False) -> str:
    """Write the page; return its SHA-256 in hexadecimal.

    Raises OutputRefusedError if something else is there, and OSError.
    """
    page = viewer_page()
    policy = OutputPolicy(kind=Kind.FILE, objection=_objection, force=force)
    check_output(target, policy)
    with hold(target, policy) as output, output.file() as file:
        file.write(page)
    return sha256(page).hexdigest()


def _objection(path: Path) -> str | None:
    """Return why a file is not such a page."""
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError as error:
        return f"cannot be read, so nothing shows whether it is such a page: {error.strerror}"
    if _VIEWER.match(start):
        return None
    return "is not a page that checks bags, which a new one may replace: name another file, or use --force"
