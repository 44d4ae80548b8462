"""Makes the page that checks bags."""

from __future__ import annotations

import re
from functools import partial
from hashlib import sha256
from html import escape
from pathlib import Path
from string import Template

from elspeth import __version__
from elspeth.outputs.policy import Kind, OutputPolicy, check_output
from elspeth.outputs.writing import hold
from elspeth.report.page import content_policy, page_objection
from elspeth.report.scripts import read_asset, script_of

__all__ = ["viewer_page", "write_viewer"]

_VIEWER = re.compile(rb"<!doctype html>\n.*<title>Check a bag</title>\n", re.DOTALL)
_OBJECTION = partial(page_objection, pattern=_VIEWER, what="a page that checks bags")


def viewer_page() -> bytes:
    """Return the page, which always has the same bytes."""
    style = "".join(map(read_asset, ("page.css", "check.css", "viewer.css")))
    code = script_of("viewer.js")
    values = {"policy": content_policy(style, code), "version": escape(__version__), "style": style, "code": code}
    return Template(read_asset("viewer.html")).substitute(values).encode()


def write_viewer(target: Path, *, force: bool = False) -> str:
    """Write the page, and return its SHA-256 in hexadecimal.

    Raises OutputRefusedError if something else is there, and OSError.
    """
    page = viewer_page()
    policy = OutputPolicy(kind=Kind.FILE, objection=_OBJECTION, force=force)
    check_output(target, policy)
    with hold(target, policy) as output, output.file() as file:
        file.write(page)
    return sha256(page).hexdigest()
