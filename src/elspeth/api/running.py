"""Runs and resumes pipelines from Python."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

from elspeth.api.loading import GivenSettings, load_with_keys
from elspeth.api.run_report import report_at_end
from elspeth.api.workers import run_workers
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.runs import LATEST, resolve_run
from elspeth.core.settings.landscape import LandscapeSettings
from elspeth.engine.errors import ResumeError
from elspeth.engine.keys import RunKeys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.reporting import Observer, RunResult

__all__ = ["audit_database", "resume", "run"]


def run(
    settings: str | os.PathLike[str] | Mapping[str, object],
    *,
    overrides: Mapping[str, object] = MappingProxyType({}),
    limit: int | None = None,
    force: bool = False,
    is_stopped: Callable[[], bool] | None = None,
) -> RunResult:
    """Run a pipeline, and return the summary.

    `settings` is the path of a settings file, or a mapping of the same form. `overrides` holds values that take
    precedence, by path, such as `sinks.out.options.path`. `limit` is the number of rows to read from each source. With
    `force`, outputs replace files that no run wrote. `is_stopped` is called between rows: if it returns true, the run
    stops, and can be resumed.

    Raises SettingsError with all problems of the settings, PluginError if a source or sink cannot continue,
    RunInterruptedError if the run was stopped, ExportFailedError if a complete run could not be exported.
    """
    _require_main_module()
    given = _given(settings, overrides, limit)
    pipeline, keys = load_with_keys(given, check_outputs=True, force=force)
    for plugin in pipeline.reading():
        plugin.check()
    return _carry_out(given, pipeline, keys, lambda work: work.run(), force=force, is_stopped=is_stopped)


def resume(
    settings: str | os.PathLike[str] | Mapping[str, object],
    run: str = LATEST,
    *,
    overrides: Mapping[str, object] = MappingProxyType({}),
    limit: int | None = None,
    force: bool = False,
    is_stopped: Callable[[], bool] | None = None,
) -> RunResult:
    """Complete a stopped run, and return its summary.

    `run` is the id of the run, or the beginning of its id. Pass the other arguments as they were passed to `run`; only
    the number of workers may differ.

    Raises ResumeError if the run has ended, or its settings or source were changed, and the errors of `run`.
    """
    _require_main_module()
    given = _given(settings, overrides, limit)
    pipeline, keys = load_with_keys(given)
    landscape = pipeline.settings.landscape
    if not landscape.enabled:
        raise ResumeError("the settings keep no audit database (landscape.enabled: false): there is no run to resume")
    with LandscapeDB.from_url(landscape.url, create_tables=False) as db:
        run_id = resolve_run(db, run)
    return _carry_out(given, pipeline, keys, lambda work: work.resume(run_id), force=force, is_stopped=is_stopped)


def _given(
    settings: str | os.PathLike[str] | Mapping[str, object], overrides: Mapping[str, object], limit: int | None
) -> GivenSettings:
    texts = [f"{key}={json.dumps(value, default=os.fspath)}" for key, value in overrides.items()]
    if isinstance(settings, Mapping):
        return GivenSettings(tree=settings, overrides=texts, limit=limit)
    return GivenSettings(path=Path(settings), overrides=texts, limit=limit)


def _carry_out(
    given: GivenSettings,
    pipeline: Pipeline,
    keys: RunKeys,
    work: Callable[[Orchestrator], RunResult],
    *,
    force: bool,
    is_stopped: Callable[[], bool] | None,
) -> RunResult:
    settings = pipeline.settings
    with (
        audit_database(settings.landscape) as db,
        report_at_end(db, settings, given.path, _warn, force=force) as report,
        run_workers(settings.concurrency.workers) as workers,
    ):
        observer = Observer(on_run=report.name_run, is_stopped=is_stopped)
        return work(
            Orchestrator(
                db,
                pipeline,
                keys,
                observer,
                settings_options=str(given),
                settings_file=given.path,
                force=force,
                workers=workers,
            )
        )


def _require_main_module() -> None:
    """Raise RuntimeError in a worker that imports the program.

    Without the usual guard, a program would begin another run in each of its workers.
    """
    from multiprocessing import current_process  # noqa: PLC0415  start time

    if getattr(current_process(), "_inheriting", False):  # the test that multiprocessing uses
        raise RuntimeError(
            "a worker process imports this program, which runs a pipeline when it is imported:"
            ' put what runs it under `if __name__ == "__main__":`'
        )


@contextmanager
def audit_database(landscape: LandscapeSettings, migrate: Callable[[str], None] | None = None) -> Iterator[LandscapeDB]:
    """Open the audit database of the settings.

    It is migrated first if the settings allow that, by `migrate` if given. If the settings disable it, a temporary
    database takes its place.
    """
    if landscape.enabled:
        if landscape.auto_migrate:
            (migrate or _migrate)(landscape.url)
        with LandscapeDB.from_url(landscape.url) as db:
            yield db
    else:
        with (
            TemporaryDirectory(prefix="elspeth-") as directory,
            LandscapeDB.from_url(f"sqlite:///{directory}/audit.db") as db,
        ):
            yield db


def _migrate(url: str) -> None:
    from elspeth.core.landscape.migration.migrate import migrate_if_older  # noqa: PLC0415  not every run migrates

    migrate_if_older(url)


def _warn(problem: str) -> None:
    warnings.warn(problem, RuntimeWarning, stacklevel=3)
