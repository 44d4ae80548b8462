"""What a valid settings file may ask for and the engine cannot do yet: said before the run, never ignored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from elspeth.core.settings.parts import Parts
from elspeth.core.settings.problems import Location, Problem
from elspeth.core.settings.yaml_file import Plain

__all__ = ["unavailable_problems"]


def unavailable_problems(tree: Mapping[str, Plain], parts: Parts) -> Iterator[Problem]:
    """One problem for each part of the settings that this version does not carry out."""
    for location, what in _unavailable(tree, parts):
        yield Problem(location=location, message=f"{what} not available in this version of elspeth")


def _unavailable(tree: Mapping[str, Plain], parts: Parts) -> Iterator[tuple[Location, str]]:
    payloads = tree.get("payload_store")
    if isinstance(payloads, dict) and payloads.get("retention_days") is not None:
        yield ("payload_store", "retention_days"), "purging of payloads is"
    if parts.landscape is not None and not parts.landscape.enabled:
        yield ("landscape", "enabled"), "runs without an audit database are"
