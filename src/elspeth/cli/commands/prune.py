"""The command `landscape prune`."""

from __future__ import annotations

import json as jsonlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.access import database_url, load_signer, require_key
from elspeth.cli.failures import ExitCode, UsageError, print_error
from elspeth.cli.options import (
    CertificateOption,
    DatabaseOption,
    DryRunOption,
    JsonOption,
    end_preview,
    require_only_one,
)
from elspeth.cli.progress import record_display
from elspeth.cli.terminal import aligned, printable
from elspeth.core.canonical import timestamp_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from elspeth.core.landscape.database import LandscapeDB
    from elspeth.core.landscape.database.pruned_runs import PrunedRun
    from elspeth.core.landscape.retention.prune import PrunableRun
    from elspeth.evidence.format.signatures import Signer

__all__ = ["prune"]


def _moment(text: str) -> datetime:
    """Return the moment in a text, in UTC.

    A date stands for its first moment; a time without zone is in UTC. Raises UsageError for other texts.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"--before: expected a date such as 2026-01-31, or a time in ISO 8601, got {text!r}"
        ) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def prune(
    *,
    before: Annotated[str, typer.Option("--before", metavar="DATE", help="Prune the runs that ended before it (UTC).")],
    archive: Annotated[Path, typer.Option("--archive", metavar="DIR", help="The directory for the bags.")],
    database: DatabaseOption,
    key: Annotated[
        str | None,
        typer.Option("--key", "-k", metavar="PRIVATE.pem", help="Sign the bags: a PEM file or signer URI."),
    ] = None,
    public: Annotated[
        Path | None, typer.Option("--public", metavar="PUBLIC.pem", help="The public key that a signer URI needs.")
    ] = None,
    certificate: CertificateOption = None,
    execute: Annotated[
        bool, typer.Option("--execute", "-x", help="Prune the runs; without this, only list them.")
    ] = False,
    dry_run: DryRunOption = False,
    vacuum: Annotated[
        bool, typer.Option("--vacuum", help="Then give the space back to the file system (SQLite).")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Move old runs out of the database, into bags.

    A run is deleted only when its bag is written, on disk and verified. A run that has not ended stays.
    """
    require_only_one({"--execute": execute, "--dry-run": dry_run})
    moment = _moment(before)
    if archive.exists() and not archive.is_dir():
        raise UsageError(f"--archive {archive}: expected a directory, got a file")
    require_key(has_key=key is not None, has_public=public is not None, has_certificate=certificate is not None)
    from elspeth.core.landscape.database import LandscapeDB  # noqa: PLC0415  start time
    from elspeth.core.landscape.retention import prune as retention  # noqa: PLC0415

    with LandscapeDB.from_url(database_url(database), create_tables=False) as db:
        if vacuum and db.engine.dialect.name != "sqlite":
            raise UsageError("--vacuum: only for SQLite; PostgreSQL uses the space for new records by itself")
        found = retention.find_prunable(db, moment, archive)
        results = _prune(db, found, load_signer(key, public, certificate)) if execute else {}
        if vacuum and execute:
            retention.vacuum(db)
        name = db.url
    if json:
        facts = {"database": name, "before": timestamp_text(moment), "archive": str(archive.absolute())}
        runs = [_data(run, results.get(run.run_id)) for run in found]
        typer.echo(jsonlib.dumps({**facts, "runs": runs}, indent=2))
    elif found:
        typer.echo(aligned([_HEADING, *(_cells(run, results.get(run.run_id)) for run in found)]))
    refusals = [result for result in results.values() if isinstance(result, Exception)]
    for refusal in refusals:
        print_error(refusal)
    for remark in _remarks(found, name, pruned=len(results) - len(refusals), vacuumed=vacuum):
        typer.echo(printable(remark), err=True)
    if refusals:
        raise typer.Exit(ExitCode.FAILED)
    end_preview("Nothing was pruned: add --execute (-x).", dry_run=dry_run or execute)


_HEADING = ("run", "status", "ended", "rows", "bag", "pruned")


def _prune(db: LandscapeDB, runs: Sequence[PrunableRun], signer: Signer | None) -> dict[str, PrunedRun | Exception]:
    """Prune each run, and return the results by id.

    A run that cannot be pruned is kept, and the others are pruned.
    """
    from elspeth.core.landscape.retention.prune import REFUSALS, prune_run  # noqa: PLC0415  start time

    results: dict[str, PrunedRun | Exception] = {}
    for number, run in enumerate(runs, 1):
        try:
            with record_display(f"bag {number} of {len(runs)}") as progress:
                results[run.run_id] = prune_run(db, run, signer=signer, progress=progress)
        except REFUSALS as refusal:
            results[run.run_id] = refusal
        except BaseException as error:
            pruned = sum(not isinstance(result, Exception) for result in results.values())
            error.add_note(f"{pruned:,} of {len(runs):,} runs were pruned before that; go on with the same command")
            raise
    return results


def _data(run: PrunableRun, result: PrunedRun | Exception | None) -> dict[str, object]:
    """Return a run and its result for JSON."""
    facts: dict[str, object] = {
        "run_id": run.run_id,
        "status": run.status.value,
        "completed_at": timestamp_text(run.completed_at),
        "rows": run.rows,
        "withheld": run.withheld,
        "bag": str(run.bag),
    }
    if isinstance(result, Exception):
        return {**facts, "pruned": False, "bag_hash": None, "problem": str(result)}
    return {
        **facts,
        "pruned": result is not None,
        "bag_hash": None if result is None else result.bag_hash,
        "problem": None,
    }


def _cells(run: PrunableRun, result: PrunedRun | Exception | None) -> tuple[str, ...]:
    is_pruned = result is not None and not isinstance(result, Exception)
    ended = timestamp_text(run.completed_at)
    return run.run_id, run.status.value, ended, f"{run.rows:,}", str(run.bag), "yes" if is_pruned else "no"


def _remarks(runs: Sequence[PrunableRun], database: str, *, pruned: int, vacuumed: bool) -> Iterator[str]:
    """Yield remarks about the result, and advice."""
    if not runs:
        yield f"no run in audit database {database} ended before that time"
    withheld = sum(run.withheld for run in runs)
    if withheld and not pruned:
        yield (
            f"{withheld:,} withheld values, such as the content of rejected rows, are in no bag, and go with their"
            " runs: keep them with elspeth export RUN --include-withheld"
        )
    if pruned and database.startswith("sqlite") and not vacuumed:
        yield "the file keeps its size, and uses the space for new records: --vacuum gives it back"
