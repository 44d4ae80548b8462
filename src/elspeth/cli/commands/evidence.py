"""The commands `prove` and `keys generate`."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.access import protected_files
from elspeth.cli.failures import UsageError, use_stderr_for_json
from elspeth.cli.objects import require_local
from elspeth.cli.options import (
    STANDARD_OUTPUT,
    ForceOption,
    JsonOption,
    require_unicode,
)
from elspeth.cli.progress import record_display
from elspeth.cli.terminal import aligned, binary_stdout
from elspeth.evidence.format.key_type import KeyType

if TYPE_CHECKING:
    pass

__all__ = ["keys", "prove"]

_NO_SALTS = (
    "warning: the records of this bag have no salts: anyone with the proof can test guesses about neighbouring records"
)
"""The warning about runs that were recorded before epoch 5, or imported by an early release."""

keys = typer.Typer(help="Generate keys that sign evidence.", no_args_is_help=True, rich_markup_mode=None)


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
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            callback=require_local,
            help="The file to write, or - for standard output.",
        ),
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
        check_output(Path(output), policy)  # fails before a bag of gigabytes is read
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
