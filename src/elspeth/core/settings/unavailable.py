"""What a valid settings file may ask for and the engine cannot do yet: said before the run, never ignored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from elspeth.core.settings.parts import Parts
from elspeth.core.settings.problems import Location, Problem
from elspeth.core.settings.yaml_file import Plain

__all__ = ["unavailable_problems"]

_SECTIONS = {
    "checkpoint": "checkpoints are",
    "payload_store": "the payload store is",
}


def unavailable_problems(tree: Mapping[str, Plain], parts: Parts) -> Iterator[Problem]:
    """One problem for each part of the settings that this version does not carry out."""
    for location, what in _unavailable(tree, parts):
        yield Problem(location=location, message=f"{what} not available in this version of elspeth")


def _unavailable(tree: Mapping[str, Plain], parts: Parts) -> Iterator[tuple[Location, str]]:
    for section, what in _SECTIONS.items():
        if tree.get(section):
            yield (section,), what
    if tree.get("run_mode") in ("replay", "verify"):
        yield ("run_mode",), f"run mode {tree['run_mode']!r} is"
    if parts.landscape is not None and not parts.landscape.enabled:
        yield ("landscape", "enabled"), "runs without an audit database are"
