"""The IRIs of runs and of their records in RDF."""

from __future__ import annotations

import re
from urllib.parse import quote

__all__ = ["base_of_run", "segment"]

_PLAIN = re.compile(r"(?!\.\.?\Z)[\w.~!$&'()*+,;=-]+")
"""Keys that JSON-LD processors leave as they are in an IRI."""
_NOT_PLAIN = re.compile(r"[^\w.~!$&'()*+,;=-]")
"""What is percent-encoded in others, which JSON-LD processors leave out or take for other IRIs."""


def base_of_run(run_id: str) -> str:
    """Return what the IRIs of a run's records begin with."""
    return f"urn:elspeth:run:{segment(run_id)}/"


def segment(key: str) -> str:
    """Return a key as a segment of an IRI."""
    if _PLAIN.fullmatch(key):
        return key
    encoded = _NOT_PLAIN.sub(lambda found: quote(found[0], safe=""), key)
    return encoded if encoded.strip(".") else encoded.replace(".", "%2E")
