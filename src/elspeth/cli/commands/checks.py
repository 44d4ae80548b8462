"""The command `landscape check`.

It checks the epoch, the seals and the log of runs.
"""

from __future__ import annotations

import json as jsonlib
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.access import database_url
from elspeth.cli.clusters import READING, database_files, prepare_workers, share_work
from elspeth.cli.failures import ExitCode
from elspeth.cli.options import ClusterOption, DatabaseOption, JsonOption, WorkersOption, require_only_one
from elspeth.cli.progress import record_display
from elspeth.cli.terminal import printable
from elspeth.contracts.errors import format_count

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from sqlalchemy import URL

    from elspeth.core.landscape.sealing.check import SealReport
    from elspeth.core.landscape.sealing.log_check import LogReport

__all__ = ["check", "seals_data"]

_POLL_INTERVAL_S = 1.0
"""Seconds between two checks of `check --wait`."""


def check(
    *,
    database: DatabaseOption,
    wait: Annotated[
        int,
        typer.Option("--wait", min=0, metavar="SECONDS", help="Check again for up to this time until the code is 0."),
    ] = 0,
    seals: Annotated[
        bool, typer.Option("--seals/--no-seals", help="Recompute the seals of all runs, or only check the epoch.")
    ] = True,
    key: Annotated[
        Path | None,
        typer.Option("--key", "-k", metavar="PUBLIC.pem", help="The public key that must have signed every seal."),
    ] = None,
    workers: WorkersOption = 1,
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Check the epoch, the seals and the log of runs.

    The exit code is 0 if the database is of this version's epoch, its sealed runs are unchanged, and the log of runs
    names the runs that are there and no others.
    """
    require_only_one({"--key": key is not None, "--no-seals": not seals})
    require_only_one({"--workers": workers > 1, "--cluster": cluster is not None})
    is_large = prepare_workers(workers, READING, database_url(database))
    from elspeth.contracts.database_urls import mask_url  # noqa: PLC0415  start time
    from elspeth.core.landscape.database.errors import LandscapeError  # noqa: PLC0415
    from elspeth.core.landscape.database.state import StateKind, describe_state, read_state  # noqa: PLC0415
    from elspeth.core.landscape.database.urls import parse_url  # noqa: PLC0415
    from elspeth_schema import EPOCH  # noqa: PLC0415

    url = parse_url(database_url(database))
    deadline = time.monotonic() + wait
    while True:
        try:
            state = read_state(url)
        except LandscapeError as error:
            kind, epoch, message = None, None, f"error: {error}"
        else:
            kind, epoch, message = state.kind, state.epoch, describe_state(state, mask_url(url))
        if kind is StateKind.CURRENT or time.monotonic() >= deadline:
            typer.echo(message, err=True)
            break
        time.sleep(min(_POLL_INTERVAL_S, max(0.0, deadline - time.monotonic())))
    report: SealReport | None = None
    log: LogReport | None = None
    # Records can only be edited after their triggers were dropped. The database has diverged then, but its seals still
    # show which records were changed.
    if seals and epoch == EPOCH:
        with share_work(workers, cluster, READING, database_files(url), at_once=is_large) as executor:
            report, log = _check_seals(url, key, executor)
    if json:
        facts = {"database": mask_url(url), "state": kind, "epoch": epoch, "expected_epoch": EPOCH}
        checked = {"seals": seals_data(report), "log": _log_data(log)}
        typer.echo(jsonlib.dumps({**facts, "message": message, **checked}, indent=2))
    faults = [*(report.faults if report else ()), *(log.faults if log else ())]
    if kind is not StateKind.CURRENT or faults:
        raise typer.Exit(ExitCode.FAILED)


def seals_data(report: SealReport | None) -> dict[str, object] | None:
    """Return the findings about seals for JSON."""
    if report is None:
        return None
    signers = [{"key": key, "seals": number} for key, number in report.signers.items()]
    return {**asdict(report), "verdict": report.verdict, "faults": list(map(str, report.faults)), "signers": signers}


def _log_data(log: LogReport | None) -> dict[str, object] | None:
    if log is None:
        return None
    return {"size": log.size, "runs": log.runs, "verdict": log.verdict, "faults": list(map(str, log.faults))}


def _check_seals(url: URL, key: Path | None, executor: Executor | None) -> tuple[SealReport, LogReport]:
    """Check seals and the log, and print the findings.

    With a public key every finished run must have a seal signed by it. Raises KeyFileError for an unusable key file.
    """
    from elspeth.core.landscape.database.connections import read_only_connection  # noqa: PLC0415  start time
    from elspeth.core.landscape.lines.ranges import Readers  # noqa: PLC0415
    from elspeth.core.landscape.sealing.check import check_seals  # noqa: PLC0415
    from elspeth.core.landscape.sealing.log_check import check_log  # noqa: PLC0415

    public_key = None
    if key is not None:
        from elspeth.evidence.format.signatures import load_public_key  # noqa: PLC0415

        public_key = load_public_key(key)
    with read_only_connection(url) as connection, record_display("check seals") as progress:
        readers = None if executor is None else Readers.of(executor, url)
        report = check_seals(connection, key=public_key, progress=progress, readers=readers)
        log = check_log(connection)
    for fault in (*report.faults, *log.faults):
        typer.echo(printable(str(fault)), err=True)
    typer.echo(report.verdict, err=True)
    if public_key is None:
        for remark in _unchecked_seals(report):
            typer.echo(remark, err=True)
    elif not report.faults:
        typer.echo(f"every finished run has a seal signed by the key {public_key.fingerprint}", err=True)
    if report.unfinished:
        named = "; ".join(f"{run_id}: {status}" for run_id, status in report.unfinished.items())
        runs = format_count(len(report.unfinished), "run has", "runs have")
        remark = "without a seal nothing shows whether records were changed"
        typer.echo(printable(f"{runs} not ended ({named}): {remark}"), err=True)
    typer.echo(log.verdict, err=True)
    return report, log


def _unchecked_seals(report: SealReport) -> Iterator[str]:
    """Yield remarks about the seals that were not fully checked."""
    for fingerprint, seals in sorted(report.signers.items(), key=lambda item: item[0] or ""):
        if fingerprint is None:
            unsigned = format_count(seals, "seal is", "seals are")
            yield f"{unsigned} unsigned: anyone who can write to the database can replace them"
        else:
            claims = format_count(seals, "seal claims", "seals claim")
            yield f"{claims} to be signed by the key {fingerprint}: not checked, as no --key was given"
    if report.unsealed:
        runs = format_count(len(report.unsealed), "finished run has", "finished runs have")
        yield f"{runs} no seal: imported, or recorded before there were seals"
