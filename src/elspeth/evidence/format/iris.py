"""The IRIs of runs and of their records in RDF."""

from __future__ import annotations

import re
from urllib.parse import quote

__all__ = ["base_of_run", "segment"]

_PLAIN = re.compile(r"(?!\.\.?\Z)[\w.~!$&'()*+,;=-]+")
"""Keys that JSON-LD processors put into an IRI unchanged."""
_NOT_PLAIN = re.compile(r"[^\w.~!$&'()*+,;=-]")
"""Characters that are percent-encoded in other keys, because JSON-LD processors drop them or read another IRI."""


def base_of_run(run_id: str) -> str:
    """Return the prefix of the IRIs of a run's records."""
    return f"urn:elspeth:run:{segment(run_id)}/"


def segment(key: str) -> str:
    """Return a record's key as a segment of an IRI."""
    if _PLAIN.fullmatch(key):
        return key
    encoded = _NOT_PLAIN.sub(lambda found: quote(found[0], safe=""), key)
    return encoded if encoded.strip(".") else encoded.replace(".", "%2E")
