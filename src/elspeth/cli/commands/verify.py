"""The command `verify`."""

from __future__ import annotations

import json as jsonlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.access import checking_key
from elspeth.cli.clusters import prepare_workers, share_work
from elspeth.cli.commands.run_log import verify_log_proof
from elspeth.cli.failures import ExitCode, UsageError
from elspeth.cli.objects import fetch
from elspeth.cli.options import (
    CheckHmacOption,
    ClusterOption,
    JsonOption,
    WorkersOption,
    require_only_one,
)
from elspeth.cli.progress import record_display
from elspeth.cli.terminal import aligned, printable
from elspeth.objects.address import place_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Executor

    from elspeth.evidence.verifier.procedure import Verification

__all__ = ["verify"]

_VERIFYING = "elspeth.evidence.verifier.verify"
"""The module with the work of processes."""

_RECORDS = "data/records.jsonl"


def verify(
    *,
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            parser=place_of,
            callback=fetch,
            help="A bag (a directory or .zip), a proof, or an export, which may be objects; or several bags.",
        ),
    ],
    key: Annotated[
        Path | None, typer.Option("--key", "-k", metavar="PUBLIC.pem", help="The public key of the signer.")
    ] = None,
    authority: Annotated[
        Path | None,
        typer.Option("--tsa-ca", metavar="CA.pem", help="Root certificates for the time-stamp."),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option("--ca", metavar="ROOT.pem", help="Root certificates for the signer's certificate."),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            "--subject", metavar="NAME", help="The subject that the certificate must have, such as CN=Audit,O=Example."
        ),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="POLICY", help="The logs and witnesses to trust, for a bag or a tlog-proof."),
    ] = None,
    hmac: CheckHmacOption = False,
    workers: WorkersOption = 1,
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Verify a bag, a proof or an export.

    The exit code is 0 only if every step passed and a signature was checked. Several bags of one database must also be
    points of one history.
    """
    path, shared = paths[0], {"--workers": workers > 1, "--cluster": cluster is not None}
    require_only_one(shared)
    if policy is not None and not path.is_dir() and path.suffix != ".zip" and len(paths) == 1:
        require_only_one(
            {
                "--policy": True,
                "--key": key is not None,
                "--hmac": hmac,
                "--tsa-ca": authority is not None,
                "--ca": root is not None,
                "--subject": subject is not None,
            }
        )
        verify_log_proof(path, policy, json=json)
        return
    is_large = prepare_workers(workers, _VERIFYING, str(path / _RECORDS if path.is_dir() else path))
    from elspeth.core.landscape.exporting.format import ExportFormat, guess_form  # noqa: PLC0415  start time
    from elspeth.evidence.format.export_lines import looks_like_export  # noqa: PLC0415

    secret = checking_key() if hmac else None
    is_graph = guess_form(path) is ExportFormat.NT  # which the reader of exports refuses
    is_export = is_graph or secret is not None or any(map(looks_like_export, paths))
    bag_options = {"--key": key is not None, **shared, "--policy": policy is not None}
    bag_options |= {"--ca": root is not None, "--subject": subject is not None}
    _require_fitting(paths, bag_options if is_export else {}, hmac=hmac, tsa=authority is not None)
    if subject is not None and root is None:
        raise UsageError("--subject: only with --ca: without it anybody could have made the certificate")
    trusted = _Trusted(key=key, authority=authority, root=root, subject=subject, policy=policy)
    with share_work(workers, cluster, _VERIFYING, at_once=is_large) as executor:
        if is_export:
            verifications = [_verify_export(path, secret)]
        else:
            verifications = [_verify_bag(each, trusted, executor) for each in paths]
    _print_verifications(paths, verifications, json=json)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trusted:
    """The files with the keys and authorities to trust."""

    key: Path | None
    authority: Path | None
    root: Path | None
    subject: str | None
    policy: Path | None


def _require_fitting(paths: Sequence[Path], refused: Mapping[str, bool], *, hmac: bool, tsa: bool) -> None:
    """Raise UsageError for options that do not fit the paths.

    `refused` maps the options that do not apply to an export to whether they were given.
    """
    are_bags = all(each.is_dir() or each.suffix == ".zip" for each in paths)
    if hmac and refused.get("--key"):
        raise UsageError("--hmac and --key check different kinds of signature: give one of them")
    if tsa and (hmac or not are_bags):
        raise UsageError("--tsa-ca is only for bags, as nothing else has a time-stamp: leave it out")
    if len(paths) > 1 and (refused or not are_bags):
        raise UsageError("several paths are compared as bags of one database: name directories or .zip files")
    if refused.get("--key"):
        raise UsageError("--key is for bags and proofs: an export has no such signature")
    for option in ("--workers", "--cluster", "--policy", "--ca", "--subject"):
        if refused.get(option):
            raise UsageError(f"{option} is for bags and proofs: leave it out for an export")


def _print_verifications(paths: Sequence[Path], verifications: Sequence[Verification], *, json: bool) -> None:
    """Print results, and end with 1 unless all are verified."""
    from elspeth.evidence.verifier.procedure import Verdict  # noqa: PLC0415  start time

    is_one = len(verifications) == 1
    faults = [] if is_one else _compare(paths, verifications)
    for each, verification in zip(paths, verifications, strict=True):
        if not is_one:
            typer.echo(printable(f"{each}:"), err=True)
        _print_verification(verification)
    for fault in faults:
        typer.echo(printable(fault), err=True)
    if not is_one and not faults:
        typer.echo(f"{len(paths)} bags are points of one history", err=True)
    if json:
        results = [_verification_data(each) for each in verifications]
        typer.echo(jsonlib.dumps(results[0] if is_one else {"bags": results, "history": faults}, indent=2))
    if faults or any(each.verdict is not Verdict.VERIFIED for each in verifications):
        raise typer.Exit(ExitCode.FAILED)


def _compare(paths: Sequence[Path], verifications: Sequence[Verification]) -> list[str]:
    """Return why bags do not share one history."""
    from elspeth.evidence.verifier.history import compare_points  # noqa: PLC0415  start time

    points = [(str(path), each.log) for path, each in zip(paths, verifications, strict=True)]
    return [str(fault) for fault in compare_points(points)]


def _verify_export(path: Path, secret: bytes | None) -> Verification:
    from elspeth.core.landscape.exporting.forms import ExportError  # noqa: PLC0415  start time
    from elspeth.core.landscape.exporting.found.reading import find_found_lines  # noqa: PLC0415
    from elspeth.core.landscape.exporting.reader import ExportKind, find_source  # noqa: PLC0415
    from elspeth.evidence.format.errors import EvidenceError  # noqa: PLC0415
    from elspeth.evidence.format.export_lines import read_lines  # noqa: PLC0415
    from elspeth.evidence.verifier.export import ExportRules, verify_export  # noqa: PLC0415
    from elspeth_schema import EPOCH  # noqa: PLC0415
    from elspeth_schema.contracts import RunStatus  # noqa: PLC0415

    found = find_found_lines(path)
    if found is not None:
        from elspeth.evidence.verifier.found import verify_found_export  # noqa: PLC0415  start time

        with record_display("verify") as progress:
            return verify_found_export(found, signing_key=secret, progress=progress)
    source = find_source(path)
    if source.kind is ExportKind.BAG and secret is None:
        raise EvidenceError(str(path), f"is a part of a bag, which is verified as a whole: name {source.path}")
    if source.kind is ExportKind.BAG:
        raise EvidenceError(str(path), "--hmac is for exports that are not bags: verify a bag without it")

    def lines_of_files() -> Iterator[tuple[str, bytes]]:
        try:
            for record in source.records():
                yield record.where, record.line
        except ExportError as error:
            raise EvidenceError(error.where or str(path), error.problem) from error

    rules = ExportRules(newest_epoch=EPOCH, ended={status.value for status in RunStatus if status.is_terminal})
    is_text = source.kind is ExportKind.TEXT
    lines = ((each.place, each.line) for each in read_lines(path)) if is_text else lines_of_files()
    with record_display("verify") as progress:
        return verify_export(lines, rules, signing_key=secret, progress=progress)


def _verify_bag(path: Path, trusted: _Trusted, executor: Executor | None) -> Verification:
    """Verify a bag or the proof of a record."""
    from elspeth.evidence.format.policy import load_policy  # noqa: PLC0415  start time
    from elspeth.evidence.format.signatures import load_public_key  # noqa: PLC0415
    from elspeth.evidence.format.timestamp import load_authorities  # noqa: PLC0415
    from elspeth.evidence.verifier.certificates import CertifiedBy  # noqa: PLC0415
    from elspeth.evidence.verifier.proof import verify_proof  # noqa: PLC0415
    from elspeth.evidence.verifier.reader import looks_like_bag  # noqa: PLC0415
    from elspeth.evidence.verifier.verify import verify_bag  # noqa: PLC0415

    public_key = None if trusted.key is None else load_public_key(trusted.key)
    authorities = [] if trusted.authority is None else load_authorities(trusted.authority)
    roots = [] if trusted.root is None else load_authorities(trusted.root)
    certified_by = CertifiedBy(roots=roots, subject=trusted.subject)
    policy = None if trusted.policy is None else load_policy(trusted.policy)
    with record_display("verify") as progress:
        if looks_like_bag(path):
            return verify_bag(
                path,
                key=public_key,
                authorities=authorities,
                certified_by=certified_by,
                policy=policy,
                progress=progress,
                executor=executor,
            )
        return verify_proof(path, key=public_key, certified_by=certified_by)


def _print_verification(verification: Verification) -> None:
    from elspeth.evidence.verifier.procedure import Step  # noqa: PLC0415  start time

    steps = [(f"{each.step.value} {each.step.title}", each.status.value, each.detail) for each in verification.steps]
    verdict = (f"{Step.VERDICT.value} {Step.VERDICT.title}", verification.verdict.value, verification.scope or "")
    typer.echo(aligned([*steps, verdict]), err=True)


def _verification_data(verification: Verification) -> dict[str, object]:
    return {
        "verdict": verification.verdict.value,
        "run_id": verification.run_id,
        "scope": verification.scope,
        "statement": verification.statement,
        "records": verification.record_count,
        "certificate": None if verification.certificate is None else verification.certificate.to_json(),
        "steps": [
            {"step": each.step.value, "title": each.step.title, "status": each.status.value, "detail": each.detail}
            for each in verification.steps
        ],
    }
