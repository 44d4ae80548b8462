"""``elspeth prove``: disclose one record of a bag, and that it belongs there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from elspeth.cli.options import STANDARD_OUTPUT, ForceOption
from elspeth.cli.protection import protected_files
from elspeth.cli.record_display import record_display
from elspeth.cli.text import aligned

__all__ = ["prove"]

_NO_SALTS = (
    "warning: the records of this bag have no salts: whoever has the proof can try out what neighbouring records hold"
)
"""Said of runs that were recorded before epoch 5, or imported by an early release."""

_OutputOption = Annotated[
    str, typer.Option("--output", "-o", metavar="PROOF.json", help="The file to write, or - for standard output.")
]


def prove(
    *,
    bag: Annotated[Path, typer.Argument(metavar="BAG", help="A bag, a directory or zip archive.")],
    record_type: Annotated[str, typer.Argument(metavar="TYPE", help="The record type, such as row.")],
    identity: Annotated[
        str, typer.Argument(metavar="ID", help="The record's key without the run; several parts joined by /.")
    ],
    output: _OutputOption,
    force: ForceOption = False,
) -> None:
    """Write one record with the proof that it is in the bag. Nothing of any other record is disclosed."""
    from elspeth.evidence.verifier import proof as proofs  # noqa: PLC0415  start time
    from elspeth.outputs.policy import check_output  # noqa: PLC0415

    is_streamed = output == STANDARD_OUTPUT
    policy = proofs.proof_policy(protected_files(bag=bag), force=force)
    if not is_streamed:
        check_output(Path(output), policy)  # before a bag of gigabytes is read
    with record_display("prove") as progress:
        proof = proofs.prove(bag, record_type, identity, progress=progress)
    if is_streamed:
        size = sys.stdout.buffer.write(proof.to_bytes())
        sys.stdout.buffer.flush()
    else:
        size = proofs.write_proof(proof, Path(output), policy)
    place = f"line {proof.index + 1:,} of {proof.statement.record_count:,}"
    signed = "unsigned" if proof.envelope is None else f"signed by {proof.envelope.keyid}"
    where = "standard output" if is_streamed else output
    summary = [
        ("record", f"{record_type} {identity}, {place}"),
        ("proof", f"{where} ({size:,} bytes)"),
        ("bag", signed),
    ]
    typer.echo(aligned(summary), err=is_streamed)
    if "salt" not in json.loads(proof.line):
        typer.echo(_NO_SALTS, err=True)
