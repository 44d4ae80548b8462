"""Runs that are killed at any moment, in process."""

from __future__ import annotations

from collections.abc import Callable
from io import BufferedWriter
from pathlib import Path
from typing import Any, cast

import pytest

from elspeth.contracts.audit import Run
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.records.store import RecordStore
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.reporting import RunResult
from elspeth.engine.sharing import Workers
from elspeth.plugins.database_sink import DatabaseSink
from elspeth.plugins.staging import StagedFile
from tests.engine.drawn import AskTransform
from tests.engine.pipelines import PLUGINS, Settings, Ticks, build

__all__ = ["Killed", "Killer", "begin_killed_run", "run_with_kills", "unfinished_run", "work"]

MOMENTS: tuple[tuple[type, str], ...] = (
    (RecordStore, "_commit"),
    (StagedFile, "sync"),
    (StagedFile, "publish"),
    (DatabaseSink, "_insert"),
    (StagedFile, "discard"),
)
"""Where something becomes durable or visible."""


class Killed(BaseException):
    """The process ends here."""


class Killer:
    """Ends the process at one moment that makes something durable.

    It is the `after`-th moment at which something becomes durable or visible, before or after that has happened.
    """

    def __init__(self, patch: pytest.MonkeyPatch, after: int, *, before: bool) -> None:
        self._left = after
        self._before = before
        self._staged: list[StagedFile] = []
        for name in ("open", "reopen"):
            patch.setattr(StagedFile, name, self._noting(getattr(StagedFile, name)))
        for owner, name in MOMENTS:
            patch.setattr(owner, name, self._deadly(getattr(owner, name)))
        patch.setattr(Orchestrator, "_record_stop", lambda *_: None)

    def end_locks(self) -> None:
        """Close staging files as the end of a process does.

        That releases the locks on them, and writes nothing that waits in memory.
        """
        for each in self._staged:
            if each._file is not None and not each._file.closed:
                cast("BufferedWriter", each._file).raw.close()

    def _noting(self, method: Callable[..., None]) -> Callable[..., None]:
        def wrapped(staged: StagedFile, *arguments: object) -> None:
            self._staged.append(staged)
            method(staged, *arguments)

        return wrapped

    def _deadly(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: object) -> object:
            self._left -= 1
            if self._left == 0 and self._before:
                raise Killed
            result = method(*arguments)
            if self._left == 0:
                raise Killed
            return result

        return wrapped


def work(pipeline: Pipeline, do: Callable[[Orchestrator], RunResult], workers: Workers | None = None) -> RunResult:
    """Use an orchestrator as a process of its own would."""
    keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
    with LandscapeDB.from_url(pipeline.settings.landscape.url) as db:
        return do(Orchestrator(db, pipeline, keys, clock=Ticks(), workers=workers))


def run_with_kills(
    directory: Path,
    chosen: Settings,
    kills: list[tuple[int, bool]],
    workers: Callable[[], Workers | None] = lambda: None,
) -> None:
    """Run to the end, killed and resumed on the way.

    `workers` is asked for the workers of each attempt.
    """

    def attempt() -> None:
        started = unfinished_run(directory)
        pipeline = build(directory, chosen, *PLUGINS, AskTransform)
        work(pipeline, lambda each: each.resume(started) if started else each.run(), workers())

    for after, before in kills:
        with pytest.MonkeyPatch.context() as patch:
            killer = Killer(patch, after, before=before)
            try:
                attempt()
            except Killed:
                killer.end_locks()
                if unfinished_run(directory) is None and runs_of(directory):
                    return  # after its end
                continue
            return
    attempt()


def begin_killed_run(pipeline: Pipeline, directory: Path, after: int) -> str:
    """Begin a run that is killed, and return its id."""
    with pytest.MonkeyPatch.context() as patch:
        killer = Killer(patch, after, before=True)
        with pytest.raises(Killed):
            work(pipeline, lambda each: each.run())
        killer.end_locks()
    run_id = unfinished_run(directory)
    assert run_id is not None
    return run_id


def runs_of(directory: Path) -> list[Run]:
    if not (directory / "audit.db").exists():
        return []
    with LandscapeDB.from_url(f"sqlite:///{directory / 'audit.db'}") as db:
        return LandscapeRecorder(db).list_runs()


def unfinished_run(directory: Path) -> str | None:
    """Return the newest run, if it has not ended."""
    return next((run.run_id for run in runs_of(directory)[:1] if not run.status.is_terminal), None)
