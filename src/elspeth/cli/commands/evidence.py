"""Commands on evidence: `verify`, `prove` and `keys generate`."""

from __future__ import annotations

import json as jsonlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.access import checking_key, protected_files
from elspeth.cli.clusters import share_work
from elspeth.cli.commands.run_log import verify_log_proof
from elspeth.cli.failures import ExitCode, UsageError, use_stderr_for_json
from elspeth.cli.objects import fetch
from elspeth.cli.options import (
    STANDARD_OUTPUT,
    CheckHmacOption,
    ClusterOption,
    ForceOption,
    JsonOption,
    WorkersOption,
    require_only_one,
    require_unicode,
)
from elspeth.cli.progress import record_display
from elspeth.cli.terminal import aligned, binary_stdout, printable
from elspeth.evidence.format.key_type import KeyType
from elspeth.objects.address import place_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Executor

    from elspeth.evidence.verifier.procedure import Verification

__all__ = ["keys", "prove", "verify"]

_NO_SALTS = (
    "warning: the records of this bag have no salts: anyone with the proof can test guesses about neighbouring records"
)
"""Printed for runs recorded before epoch 5 or imported by an early release."""

keys = typer.Typer(help="Generate keys that sign evidence.", no_args_is_help=True, rich_markup_mode=None)


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
        typer.Option("--tsa-ca", metavar="CA.pem", help="The certificates that the time-stamp must lead to."),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option("--ca", metavar="ROOT.pem", help="The certificates that the signer's must lead to."),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option("--subject", metavar="NAME", help="Whose certificate it must be, such as CN=Audit,O=Example."),
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
            }
        )
        verify_log_proof(path, policy, json=json)
        return
    from elspeth.core.landscape.exporting.format import ExportFormat, guess_form  # noqa: PLC0415  start time
    from elspeth.evidence.verifier.export import looks_like_export  # noqa: PLC0415

    secret = checking_key() if hmac else None
    is_graph = guess_form(path) is ExportFormat.NT  # which the reader of exports refuses
    is_export = is_graph or secret is not None or any(map(looks_like_export, paths))
    bag_options = {"--key": key is not None, **shared, "--policy": policy is not None}
    bag_options |= {"--ca": root is not None, "--subject": subject is not None}
    _require_fitting(paths, bag_options if is_export else {}, hmac=hmac, tsa=authority is not None)
    if subject is not None and root is None:
        raise UsageError("--subject: only with --ca: without it anybody could have made the certificate")
    trusted = _Trusted(key=key, authority=authority, root=root, subject=subject, policy=policy)
    with share_work(workers, cluster, "elspeth.evidence.verifier.verify") as executor:
        if is_export:
            verifications = [_verify_export(path, secret)]
        else:
            verifications = [_verify_bag(each, trusted, executor) for each in paths]
    _print_verifications(paths, verifications, json=json)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trusted:
    """Files that say whose word counts."""

    key: Path | None
    authority: Path | None
    root: Path | None
    subject: str | None
    policy: Path | None


def _require_fitting(paths: Sequence[Path], refused: Mapping[str, bool], *, hmac: bool, tsa: bool) -> None:
    """Raise UsageError for options that do not fit the paths.

    `refused` are options that an export does not have, and whether they are given.
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
    """Return what keeps bags from being of one history."""
    from elspeth.evidence.verifier.history import compare_points  # noqa: PLC0415  start time

    points = [(str(path), each.log) for path, each in zip(paths, verifications, strict=True)]
    return [str(fault) for fault in compare_points(points)]


def _verify_export(path: Path, secret: bytes | None) -> Verification:
    from elspeth.core.landscape.exporting.forms import ExportError  # noqa: PLC0415  start time
    from elspeth.core.landscape.exporting.found.reading import find_found_lines  # noqa: PLC0415
    from elspeth.core.landscape.exporting.reader import ExportKind, find_source  # noqa: PLC0415
    from elspeth.evidence.format.errors import EvidenceError  # noqa: PLC0415
    from elspeth.evidence.verifier.export import ExportRules, read_lines, verify_export  # noqa: PLC0415
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


def prove(
    *,
    bag: Annotated[Path, typer.Argument(metavar="BAG", help="A bag: a directory or .zip.")],
    record_type: Annotated[
        str, typer.Argument(metavar="TYPE", callback=require_unicode, help="The record type, such as row.")
    ],
    identity: Annotated[
        str,
        typer.Argument(
            metavar="ID", callback=require_unicode, help="The record's key without the run; parts are joined by /."
        ),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="PATH", help="The file to write, or - for standard output.")
    ],
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Prove that a record is in a bag.

    The proof discloses that record and no other one.
    """
    from elspeth.evidence.verifier import proof as proofs  # noqa: PLC0415  start time
    from elspeth.outputs.policy import check_output  # noqa: PLC0415

    if output.endswith("/"):
        raise UsageError(f"-o {output}: names a directory, and a proof is a file: leave the slash out")
    is_streamed = output == STANDARD_OUTPUT
    if is_streamed:
        use_stderr_for_json()
    policy = proofs.proof_policy(protected_files(bag=bag), force=force)
    if not is_streamed:
        check_output(Path(output), policy)  # before a bag of gigabytes is read
    with record_display("prove") as progress:
        proof = proofs.prove(bag, record_type, identity, progress=progress)
    if is_streamed:
        stream = binary_stdout()
        size = stream.write(proof.to_bytes())
        stream.flush()
    else:
        size = proofs.write_proof(proof, Path(output), policy)
    signer = None if proof.envelope is None else proof.envelope.keyid
    is_salted = proof.salt is not None or "salt" in jsonlib.loads(proof.line)
    if json:
        facts = {
            "record_type": record_type,
            "identity": identity,
            "line": proof.index + 1,
            "records": proof.statement.record_count,
            "path": output,
            "bytes": size,
            "signed_by": signer,
            "salted": is_salted,
        }
        typer.echo(jsonlib.dumps(facts, indent=2), err=is_streamed)
    else:
        place = f"line {proof.index + 1:,} of {proof.statement.record_count:,}"
        summary = [
            ("record", f"{record_type} {identity}, {place}"),
            ("proof", f"{'standard output' if is_streamed else output} ({size:,} bytes)"),
            ("bag", "unsigned" if signer is None else f"signed by {signer}"),
        ]
        typer.echo(aligned(summary), err=is_streamed)
    if not is_salted:
        typer.echo(_NO_SALTS, err=True)


@keys.callback()
def _keys() -> None:
    """Make typer treat a single command as a group."""


@keys.command("generate")
def generate(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The directory for both files.")],
    key_type: Annotated[
        KeyType, typer.Option("--type", help="The type of key; ecdsa is P-256, which every KMS and HSM has.")
    ] = KeyType.ECDSA,
    json: JsonOption = False,
) -> None:
    """Generate a pair of keys.

    An existing key is never overwritten.
    """
    from elspeth.evidence.format import signatures  # noqa: PLC0415  start time

    fingerprint = signatures.generate_keys(output, key_type).fingerprint
    private, public = str(output / signatures.PRIVATE_KEY), str(output / signatures.PUBLIC_KEY)
    if json:
        facts = {"private_key": private, "public_key": public, "fingerprint": fingerprint}
        typer.echo(jsonlib.dumps(facts, indent=2))
        return
    lines = [
        ("private key", f"{private} (keep it secret)"),
        ("public key", f"{public} (give it to those who verify)"),
        ("fingerprint", fingerprint),
    ]
    typer.echo(aligned(lines))
