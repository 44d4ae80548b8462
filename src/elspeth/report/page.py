"""The page of a run: one file that loads nothing."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from html import escape
from string import Template

from elspeth import __version__
from elspeth.core.landscape.queries.story.trail import LOOKUPS
from elspeth.evidence.format import bag
from elspeth.objects.address import Place
from elspeth.objects.stores import open_place
from elspeth.outputs.policy import foreign_objection
from elspeth.report.blocks import packed_element, packed_text
from elspeth.report.scripts import read_asset, script_of
from elspeth.report.sections import section_styles
from elspeth_schema.records import RECORD_TYPES, Kind

__all__ = ["PageText", "content_policy", "page_objection", "page_parts"]

_BLOCKS = "<!-- blocks -->\n"
"""The place of the records in the template."""

_START = 4096
"""The page identifies itself within these first bytes."""

_ERRORS = "error"
"""A part of the names of all columns and types that say why something failed."""

_NO_TEXTS = ("_id", "_hash")
"""The ends of the names of columns whose characters mean nothing, so that nobody searches for a part of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageText:
    """The content of a page besides its records.

    `title` and `embedding` are text; `heading`, `sections` and `certificate` are HTML. `facts` are for the script.
    `files` are the files of the bag from which the page was made, by name. `contents` are the contents of rows and
    calls, by their hashes.
    """

    title: str
    heading: str
    sections: str
    embedding: str
    certificate: str
    made: datetime
    facts: Mapping[str, object]
    files: Mapping[str, bytes]
    contents: Iterable[tuple[str, bytes]]


def page_parts(text: PageText, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the page, with its blocks, in pieces."""
    style, code = read_asset("page.css") + read_asset("check.css") + section_styles(), script_of("page.js")
    before, after = read_asset("page.html").split(_BLOCKS)
    values = {
        "policy": content_policy(style, code),
        "version": escape(__version__),
        "title": escape(text.title),
        "style": style,
        "heading": text.heading,
        "sections": text.sections,
        "embedding": escape(text.embedding),
        "certificate": text.certificate,
        "made": f"{text.made:%Y-%m-%d %H:%M:%S} UTC",
        "facts": _json({**text.facts, "types": _types()}),
        "worker": packed_text(script_of("worker.js").encode()),
        "code": code,
    }
    yield Template(before).substitute(values).encode()
    for name, content in text.files.items():
        yield packed_element(content, name)
    for content_hash, content in text.contents:
        # The contents of a bag are among its files, which the page checks.
        yield packed_element(content, bag.CONTENTS + content_hash, "file" if text.files else "content")
    yield from blocks
    yield Template(after).substitute(values).encode()


def content_policy(style: str, code: str) -> str:
    """Return a policy that allows these texts alone."""
    return (
        f"default-src 'none'; script-src '{_hash(code)}'; style-src '{_hash(style)}'; worker-src blob:;"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )


def page_objection(path: Place, pattern: re.Pattern[bytes], what: str) -> str | None:
    """Return why a file is not such a page.

    `pattern` matches the beginning of pages, `what` names one.
    """
    try:
        with open_place(path) as file:
            start = file.read(_START)
    except OSError as error:
        return f"cannot be read, so nothing shows whether it is {what}: {error.strerror}"
    if pattern.match(start):
        return None
    return foreign_objection(what)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}"


def _json(value: object) -> str:
    """Return JSON that cannot close the element around it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _types() -> dict[str, object]:
    """Return the facts about record types for the script."""
    return {
        name: {
            "table": record_type.table.name,
            "key": record_type.key,
            "lookups": LOOKUPS[name],
            "errors": [
                column.name
                for column in record_type.columns
                if (_ERRORS in column.name or _ERRORS in name)
                and column.kind in {Kind.TEXT, Kind.JSON}
                and not column.name.endswith(_NO_TEXTS)
            ],
        }
        for name, record_type in RECORD_TYPES.items()
    }
