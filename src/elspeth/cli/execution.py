"""What the commands that run pipelines share: from a settings file to a summary."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from elspeth.cli.exit_code import ExitCode
from elspeth.cli.failures import report
from elspeth.cli.loading import load_pipeline
from elspeth.cli.run_display import run_display
from elspeth.cli.signals import stop_requested
from elspeth.cli.summary import summary_as_data, summary_as_text
from elspeth.contracts.databases import mask_url
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.connections import parse_url
from elspeth.core.settings.model import LandscapeSettings
from elspeth.engine.errors import ExportFailedError, RunInterruptedError
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.preflight import RunKeys, keys_for_run
from elspeth.engine.result import RunResult
from elspeth_schema import EPOCH

__all__ = ["execute_pipeline", "prepare"]


def prepare(
    path: Path, *, no_dotenv: bool, outputs_judged: bool = False, force: bool = False
) -> tuple[Pipeline, RunKeys]:
    """Return the pipeline and the keys that its run needs; raises what `load_pipeline` and `keys_for_run` raise."""
    loaded = load_pipeline(path, no_dotenv=no_dotenv, outputs_judged=outputs_judged, force=force)
    return loaded.pipeline, keys_for_run(loaded.pipeline.settings, loaded.environ, source=str(path))


def execute_pipeline(
    pipeline: Pipeline,
    keys: RunKeys,
    settings: Path,
    work: Callable[[Orchestrator], RunResult],
    *,
    force: bool,
    json: bool,
) -> int:
    """Do the work, print its summary, and return the exit code. `settings` is the file, for messages."""
    failure: ExportFailedError | None = None
    with _audit_database(pipeline.settings.landscape) as db:
        with stop_requested() as request:
            try:
                with run_display(request) as observer:
                    result = work(Orchestrator(db, pipeline, keys, observer, known_as=str(settings), force=force))
            except ExportFailedError as error:
                failure, result = error, error.result
            except RunInterruptedError as error:
                # The message says how to go on; the code, what stopped the run.
                report(error)
                raise typer.Exit(request.exit_code) from error
        url = db.url if pipeline.settings.landscape.enabled else "none (landscape.enabled: false)"
    typer.echo(jsonlib.dumps(summary_as_data(result, url), indent=2) if json else summary_as_text(result, url))
    for problem in result.problems:
        typer.echo(f"error: {problem}", err=True)
    if failure is None:
        return ExitCode.FAILED if result.problems else ExitCode.DONE
    report(failure)
    return request.exit_code if request() else ExitCode.FAILED


@contextmanager
def _audit_database(landscape: LandscapeSettings) -> Iterator[LandscapeDB]:
    """The database that the settings name, migrated if they allow that; or one that is gone after the run."""
    if landscape.enabled:
        if landscape.auto_migrate:
            _migrate(landscape.url)
        with LandscapeDB.from_url(landscape.url) as db:
            yield db
    else:
        with (
            TemporaryDirectory(prefix="elspeth-") as directory,
            LandscapeDB.from_url(f"sqlite:///{directory}/audit.db") as db,
        ):
            yield db


def _migrate(url: str) -> None:
    """Migrate the audit database if it is of an older epoch, and say so."""
    from elspeth.cli.migration_display import migration_display  # noqa: PLC0415  not every run migrates
    from elspeth.core.landscape.migration.migrate import migrate_if_older  # noqa: PLC0415

    with migration_display() as report:
        done = migrate_if_older(url, report)
    if done.migrated:
        name = mask_url(parse_url(url))
        epochs = f"from epoch {done.from_epoch} to {EPOCH}"
        typer.echo(f"audit database {name} was migrated {epochs}; the backup is {done.backup}", err=True)
