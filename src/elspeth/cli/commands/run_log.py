"""Commands on the log of runs."""

from __future__ import annotations

import json as jsonlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.access import database_url
from elspeth.cli.commands import witness
from elspeth.cli.commands._log_files import (
    KeyOption,
    OutputOption,
    PublicKeyOption,
    kept_paths,
    load_kept,
    load_note,
    load_note_signer,
    log_key,
    read_file,
    read_state,
    tell,
    write_file,
)
from elspeth.cli.failures import ExitCode, UsageError
from elspeth.cli.objects import fetch
from elspeth.cli.options import (
    STANDARD_OUTPUT,
    DatabaseOption,
    ForceOption,
    JsonOption,
    NoDotenvOption,
    RunArgument,
    SetOption,
    SettingsOption,
    require_only_one,
)
from elspeth.cli.terminal import aligned, ask_secret, printable
from elspeth.contracts.environment import DEFAULT_SETTINGS
from elspeth.contracts.errors import format_count
from elspeth.objects.address import place_of

if TYPE_CHECKING:
    from elspeth.core.landscape.sealing.log_proofs import LogState
    from elspeth.evidence.format.notes import Note

__all__ = ["app", "verify_log_proof"]

app = typer.Typer(
    help="Leave checkpoints of the log of runs with somebody else, and check them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

app.command("cosign")(witness.cosign)
app.command("witness")(witness.witness)


@app.command("checkpoint")
def checkpoint(
    *,
    database: DatabaseOption,
    key: KeyOption,
    public: PublicKeyOption = None,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="POLICY", help="A policy whose witnesses, those with a URL, must cosign."),
    ] = None,
    since: Annotated[
        Path | None,
        typer.Option(
            "--since", metavar="FILE", help="Write a request to a witness that last cosigned this checkpoint."
        ),
    ] = None,
    output: OutputOption = STANDARD_OUTPUT,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Sign the state of the log of runs.

    With a checkpoint that somebody else keeps, `check` reveals if a run is removed later, or an older state of the
    database is restored.
    """
    require_only_one({"--policy": policy is not None, "--since": since is not None})
    state = read_state(database)
    signer = load_note_signer(state.origin, key, public)
    note = signer.sign(state.checkpoint().text)
    if policy is not None:
        note = _cosigned(note, state, policy)
    data = note.to_bytes() if since is None else _request(state, note, since)
    write_file(data, output, [database], [key], force=force)
    facts: dict[str, str | int] = {
        "log": state.origin,
        "entries": len(state.entries),
        "for policies": f"log {log_key(signer)}",
    }
    tell(facts, output, json=json)


@app.command("check")
def check(
    *,
    database: DatabaseOption,
    against: Annotated[
        list[Path],
        typer.Option(
            "--against",
            metavar="PATH",
            parser=place_of,
            callback=fetch,
            help="A kept checkpoint or proof: a file, a directory of them, or an object.",
        ),
    ],
    key: Annotated[
        Path | None,
        typer.Option("--key", "-k", metavar="PUBLIC.pem", help="The public key that must have signed what was kept."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check the log of runs against kept checkpoints.

    The exit code is 0 if the log continues each of them, and fits the runs and seals of the database.
    """
    from elspeth.core.landscape.database.connections import read_only_connection  # noqa: PLC0415  start time
    from elspeth.core.landscape.database.urls import parse_url  # noqa: PLC0415
    from elspeth.core.landscape.sealing.log_check import check_log, compare_with_kept  # noqa: PLC0415

    kept = [load_kept(path, key) for path in kept_paths(against)]
    with read_only_connection(parse_url(database_url(database))) as connection:
        report = check_log(connection)
        faults = list(compare_with_kept(connection, kept))
    for fault in (*faults, *report.faults):
        typer.echo(printable(str(fault)), err=True)
    places = {fault.place for fault in faults}
    holding = sum(each.place not in places for each in kept) if report.size else 0
    typer.echo(f"{holding:,} of {len(kept):,} kept checkpoints hold", err=True)
    typer.echo(report.verdict, err=True)
    if json:
        data = {"kept": len(kept), "holding": holding, "faults": list(map(str, (*faults, *report.faults)))}
        typer.echo(jsonlib.dumps({**data, "entries": report.size, "runs": report.runs}, indent=2))
    if key is None:
        typer.echo("nobody checked who signed what was kept: give --key for that", err=True)
    if faults or report.faults:
        raise typer.Exit(ExitCode.FAILED)


@app.command("prove")
def prove(
    run: RunArgument,
    *,
    database: DatabaseOption,
    key: Annotated[
        str | None,
        typer.Option("--key", "-k", metavar="PRIVATE.pem", help="The key that signs a new checkpoint."),
    ] = None,
    public: PublicKeyOption = None,
    kept: Annotated[
        Path | None,
        typer.Option("--checkpoint", metavar="FILE", help="A kept checkpoint to prove it by, with its cosignatures."),
    ] = None,
    output: OutputOption,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Prove that a run is in the log.

    The proof is a file of c2sp.org/tlog-proof, which `elspeth verify --policy` checks without the database.
    """
    from elspeth.cli.access import open_landscape  # noqa: PLC0415  start time
    from elspeth.core.landscape.database.errors import LandscapeError  # noqa: PLC0415
    from elspeth.core.landscape.queries.runs import resolve_run  # noqa: PLC0415
    from elspeth.evidence.format.checkpoints import Checkpoint, LogProof  # noqa: PLC0415

    require_only_one({"--key": key is not None, "--checkpoint": kept is not None})
    if key is None and kept is None:
        raise UsageError("give --key, to sign a new checkpoint, or --checkpoint, one that was kept")
    with open_landscape(database) as db:
        run_id = resolve_run(db, run)
    state = read_state(database)
    if kept is None:
        note = load_note_signer(state.origin, key or "", public).sign(state.checkpoint().text)
    else:
        note = load_note(kept)
    found = Checkpoint.parse(note.text, str(kept))
    if found.size > len(state.entries) or found != state.at(found.size).checkpoint():
        raise LandscapeError(f"{kept} is no checkpoint of this log: see elspeth landscape log check --against {kept}")
    index = state.find_run(run_id, found.size)
    hashes = tuple(state.inclusion(index, found.size))
    proof = LogProof(entry=state.entries[index], index=index, hashes=hashes, note=note)
    write_file(proof.to_bytes(), output, [database], [key], force=force)
    facts: dict[str, str | int]
    if json:
        facts = {"run_id": run_id, "entry": index, "entries": found.size, "log": state.origin}
    else:
        facts = {"run": run_id, "entry": f"{index:,} of {found.size:,}", "log": state.origin}
    tell(facts, output, json=json)


@app.command("leave")
def leave(
    *,
    settings: SettingsOption = DEFAULT_SETTINGS,
    set_: SetOption = None,
    no_dotenv: NoDotenvOption = False,
    json: JsonOption = False,
) -> None:
    """Leave a checkpoint where the settings say.

    It makes up for one that a run could not leave. Overdue places that the settings do not name are forgotten.
    """
    from elspeth.api.loading import GivenSettings, load_with_keys  # noqa: PLC0415  start time
    from elspeth.core.landscape.database import LandscapeDB  # noqa: PLC0415
    from elspeth.core.landscape.queries.runs import newest_run  # noqa: PLC0415
    from elspeth.core.landscape.sealing.log_places import forget_places  # noqa: PLC0415
    from elspeth.core.placeholders import placeholder_values  # noqa: PLC0415
    from elspeth.engine.log_checkpoints import LogCheckpoints  # noqa: PLC0415

    pipeline, keys = load_with_keys(
        GivenSettings(path=settings, overrides=set_ or (), no_dotenv=no_dotenv), ask=ask_secret
    )
    landscape = pipeline.settings.landscape
    if not landscape.enabled or not landscape.log.after_run:
        raise UsageError(f"{settings} leaves no checkpoints: name places in landscape.log.after_run")
    with LandscapeDB.from_url(landscape.url, create_tables=False) as db:
        values = placeholder_values(*newest_run(db))
        checkpoints = LogCheckpoints.of(pipeline.settings, keys, values)
        checkpoints.name(db, values["run_id"])
        problems = checkpoints.leave(db)
        forgotten = forget_places(db, [] if checkpoints.plan is None else checkpoints.plan.names)
    for problem in problems:
        typer.echo(printable(problem), err=True)
    for place in forgotten:
        typer.echo(printable(f"{place}: forgotten, as the settings do not name it"), err=True)
    if json:
        places = len(landscape.log.after_run)
        data = {"places": places, "problems": list(problems), "forgotten": list(forgotten)}
        typer.echo(jsonlib.dumps(data, indent=2))
    if problems:
        raise typer.Exit(ExitCode.FAILED)
    typer.echo(f"a checkpoint was left at {format_count(len(landscape.log.after_run), 'place')}", err=True)


def verify_log_proof(path: Path, policy: Path, *, json: bool) -> None:
    """Verify that an entry is in a trusted log.

    Raises EvidenceError if it is not.
    """
    from elspeth.evidence.format.checkpoints import LogProof  # noqa: PLC0415  start time
    from elspeth.evidence.format.policy import load_policy  # noqa: PLC0415

    trusted = load_policy(policy)
    proof = LogProof.parse(read_file(path), str(path))
    accepted = trusted.accept(proof.note, f"{path}: checkpoint")
    proof.verify_inclusion(accepted.checkpoint, str(path))
    times = {name: _utc(moment) for name, moment in accepted.cosignatures.items()}
    found = accepted.checkpoint
    lines = [
        ("log", found.origin),
        ("entry", f"{proof.index:,} of {found.size:,}"),
        ("says", proof.entry.decode(errors="replace")),
        *((f"cosigned by {name}", moment) for name, moment in times.items()),
        ("verdict", "VERIFIED"),
    ]
    typer.echo(aligned(lines), err=True)
    if json:
        entry = {"entry": proof.entry.decode(errors="replace"), "index": proof.index, "size": found.size}
        typer.echo(
            jsonlib.dumps({"verdict": "VERIFIED", "log": found.origin, **entry, "cosignatures": times}, indent=2)
        )


def _utc(timestamp: int) -> str:
    """Return a POSIX time as text."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(timestamp))
    except (OverflowError, ValueError, OSError):
        return str(timestamp)


def _cosigned(note: Note, state: LogState, path: Path) -> Note:
    """Return the note with the cosignatures of the policy's witnesses.

    Raises EvidenceError if the quorum did not cosign. Witnesses that do not cosign are reported.
    """
    from elspeth.evidence.format.errors import EvidenceError  # noqa: PLC0415  start time
    from elspeth.evidence.format.policy import load_policy  # noqa: PLC0415
    from elspeth.evidence.witness.client import ask_witness  # noqa: PLC0415

    policy = load_policy(path)
    for name, url in policy.urls.items():
        try:
            note = ask_witness(url, policy.witnesses[name], note, state.consistency)
        except EvidenceError as error:
            typer.echo(printable(str(error)), err=True)
    policy.accept(note, "checkpoint")
    return note


def _request(state: LogState, note: Note, since: Path) -> bytes:
    """Return a request to a witness."""
    from elspeth.core.landscape.database.errors import LandscapeError  # noqa: PLC0415  start time
    from elspeth.evidence.format.checkpoints import Checkpoint  # noqa: PLC0415
    from elspeth.evidence.witness.requests import AddCheckpoint  # noqa: PLC0415

    old = Checkpoint.parse(load_note(since).text, str(since))
    if old.size > len(state.entries) or old != state.at(old.size).checkpoint():
        raise LandscapeError(f"{since} is no checkpoint of this log: see elspeth landscape log check --against {since}")
    proof = tuple(state.consistency(old.size, len(state.entries)))
    return AddCheckpoint(old_size=old.size, proof=proof, note=note).to_bytes()
