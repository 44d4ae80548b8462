"""Running a pipeline from Python."""

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
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.settings.landscape import LandscapeSettings
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.reporting import Observer, RunResult

__all__ = ["audit_database", "run"]


def run(
    settings: str | os.PathLike[str] | Mapping[str, object],
    *,
    overrides: Mapping[str, object] = MappingProxyType({}),
    limit: int | None = None,
    force: bool = False,
    is_stopped: Callable[[], bool] | None = None,
) -> RunResult:
    """Run a pipeline, and return the summary.

    `settings` is the path of a settings file, or a mapping of the same form. `overrides` has values that go before
    them, by their path, such as `sinks.out.options.path`. `limit` is the number of rows to read of each source. With
    `force`, outputs replace files that no run wrote. `is_stopped` is asked between rows: if it returns true, the run
    stops so that `elspeth resume` can go on.

    Raises SettingsError with all problems of the settings, PluginError if a source or sink cannot go on,
    RunInterruptedError if the run was stopped, ExportFailedError if a complete run could not be exported.
    """
    texts = [f"{key}={json.dumps(value, default=os.fspath)}" for key, value in overrides.items()]
    if isinstance(settings, Mapping):
        given = GivenSettings(tree=settings, overrides=texts, limit=limit)
    else:
        given = GivenSettings(path=Path(settings), overrides=texts, limit=limit)
    pipeline, keys = load_with_keys(given, check_outputs=True, force=force)
    for plugin in pipeline.reading():
        plugin.check()
    with (
        audit_database(pipeline.settings.landscape) as db,
        report_at_end(db, pipeline.settings, given.path, _warn, force=force) as report,
    ):
        observer = Observer(on_run=report.name_run, is_stopped=is_stopped)
        orchestrator = Orchestrator(
            db, pipeline, keys, observer, settings_options=str(given), settings_file=given.path, force=force
        )
        return orchestrator.run()


@contextmanager
def audit_database(landscape: LandscapeSettings, migrate: Callable[[str], None] | None = None) -> Iterator[LandscapeDB]:
    """Open the audit database of the settings.

    It is migrated first if they allow that, by `migrate` if given. If they disable it, a temporary database takes its
    place.
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
