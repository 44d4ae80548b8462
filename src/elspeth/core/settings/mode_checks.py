"""Checks of the run mode: where recorded answers come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from elspeth.core.settings.parts import Parts
from elspeth.core.settings.problems import Problem
from elspeth.core.settings.yaml_file import Plain

__all__ = ["mode_problems"]

_SOURCE = "replay_source_run_id"


def mode_problems(tree: Mapping[str, Plain], parts: Parts) -> Iterator[Problem]:
    """What a run mode needs and the settings do not say, and the other way round."""
    mode, source = tree.get("run_mode") or "live", tree.get(_SOURCE)
    if mode not in ("replay", "verify"):
        if source is not None:
            message = "only the run modes replay and verify have a recorded run: set run_mode, or leave this out"
            yield Problem(location=(_SOURCE,), message=message)
        return
    if not source:
        yield Problem(location=(_SOURCE,), message=f"run mode {mode!r} needs the id of a recorded run")
    if parts.landscape is not None and not parts.landscape.enabled:
        message = f"run mode {mode!r} needs the audit database that holds the recorded run"
        yield Problem(location=("landscape", "enabled"), message=message)
