"""``elspeth verify``: check a bag, a proof or an export, step by step."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.exit_code import ExitCode
from elspeth.cli.options import JsonOption
from elspeth.cli.record_display import record_display
from elspeth.cli.signing_key import CheckOption, checking_key
from elspeth.cli.text import aligned
from elspeth.cli.workers import WorkersOption, executor_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor

    from elspeth.evidence.verifier.procedure import Verification

__all__ = ["verify"]


def verify(
    *,
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A bag (a directory or .zip), a proof, or an export in any form.")
    ],
    key: Annotated[
        Path | None, typer.Option("--key", "-k", metavar="PUBLIC.pem", help="The public key of who made it.")
    ] = None,
    authority: Annotated[
        Path | None, typer.Option("--tsa-ca", metavar="CA.pem", help="Certificates that its time-stamp must lead to.")
    ] = None,
    hmac: CheckOption = False,
    workers: WorkersOption = 1,
    json: JsonOption = False,
) -> None:
    """Verify evidence by a numbered procedure. Exit code 0 only if every step passed and a signature was checked."""
    secret = checking_key(wanted=hmac)
    if secret is not None and key is not None:
        typer.echo("error: --hmac and --key check different kinds of signature: give one of them", err=True)
        raise typer.Exit(ExitCode.USAGE)
    if authority is not None and (secret is not None or not (path.is_dir() or path.suffix == ".zip")):
        typer.echo("error: --tsa-ca is for bags, which alone can have a time-stamp: leave it out", err=True)
        raise typer.Exit(ExitCode.USAGE)
    from elspeth.evidence.verifier.export import looks_like_export  # noqa: PLC0415  start time

    is_export = secret is not None or looks_like_export(path)
    if is_export and key is not None:
        typer.echo("error: --key is for bags and proofs: an export has no such signature", err=True)
        raise typer.Exit(ExitCode.USAGE)
    if is_export and workers > 1:
        typer.echo("error: --workers is for bags and proofs: leave it out for an export", err=True)
        raise typer.Exit(ExitCode.USAGE)
    with executor_of(workers) as executor:
        verification = _verify_export(path, secret) if is_export else _verification(path, key, authority, executor)
    _report(verification, json=json)
    from elspeth.evidence.verifier.procedure import Verdict  # noqa: PLC0415  start time

    if verification.verdict is not Verdict.VERIFIED:
        raise typer.Exit(ExitCode.FAILED)


def _verify_export(path: Path, secret: bytes | None) -> Verification:
    from elspeth.core.landscape.exporting.forms import ExportError  # noqa: PLC0415  start time
    from elspeth.core.landscape.exporting.reader import ExportKind, find_source  # noqa: PLC0415
    from elspeth.evidence.format.errors import EvidenceError  # noqa: PLC0415
    from elspeth.evidence.verifier.export import ExportRules, read_lines, verify_export  # noqa: PLC0415
    from elspeth_schema import EPOCH  # noqa: PLC0415
    from elspeth_schema.contracts import RunStatus  # noqa: PLC0415

    source = find_source(path)
    if source.kind is ExportKind.BAG:
        raise EvidenceError(str(path), "--hmac is for exports that are no bags: verify a bag without it")

    def stored() -> Iterator[tuple[str, bytes]]:
        try:
            for record in source.records():
                yield record.where, record.line
        except ExportError as error:
            raise EvidenceError(error.where or str(path), error.problem) from error

    rules = ExportRules(newest_epoch=EPOCH, ended={status.value for status in RunStatus if status.is_terminal})
    is_text = source.kind is ExportKind.TEXT
    lines = ((each.place, each.line) for each in read_lines(path)) if is_text else stored()
    with record_display("verify") as progress:
        return verify_export(lines, rules, signing_key=secret, progress=progress)


def _verification(path: Path, key: Path | None, authority: Path | None, executor: Executor | None) -> Verification:
    from elspeth.evidence.format.signatures import load_public_key  # noqa: PLC0415  start time
    from elspeth.evidence.format.timestamp import load_authorities  # noqa: PLC0415
    from elspeth.evidence.verifier.proof import verify_proof  # noqa: PLC0415
    from elspeth.evidence.verifier.reader import looks_like_bag  # noqa: PLC0415
    from elspeth.evidence.verifier.verify import verify_bag  # noqa: PLC0415

    public_key = None if key is None else load_public_key(key)
    authorities = [] if authority is None else load_authorities(authority)
    with record_display("verify") as progress:
        if looks_like_bag(path):
            return verify_bag(path, key=public_key, authorities=authorities, progress=progress, executor=executor)
        return verify_proof(path, key=public_key)


def _report(verification: Verification, *, json: bool) -> None:
    from elspeth.evidence.verifier.procedure import Step  # noqa: PLC0415  start time

    steps = [(f"{each.step.value} {each.step.title}", each.status.value, each.detail) for each in verification.steps]
    typer.echo(
        aligned([*steps, (f"{Step.VERDICT.value} {Step.VERDICT.title}", verification.verdict.value, "")]), err=True
    )
    if json:
        result = {
            "verdict": verification.verdict.value,
            "run_id": verification.run_id,
            "statement": verification.statement,
            "records": verification.record_count,
            "steps": [
                {"step": each.step.value, "title": each.step.title, "status": each.status.value, "detail": each.detail}
                for each in verification.steps
            ],
        }
        typer.echo(jsonlib.dumps(result, indent=2))
