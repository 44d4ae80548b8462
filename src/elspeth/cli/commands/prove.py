"""``elspeth prove``: disclose one record of a bag, and that it belongs there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elspeth.cli.record_display import record_display
from elspeth.cli.text import aligned

__all__ = ["prove"]


def prove(
    *,
    bag: Annotated[Path, typer.Argument(metavar="BAG", help="A bag, a directory or zip archive.")],
    record_type: Annotated[str, typer.Argument(metavar="TYPE", help="The record type, such as row.")],
    identity: Annotated[
        str, typer.Argument(metavar="ID", help="The record's key without the run; several parts joined by /.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="PROOF.json", help="The file to write.")],
) -> None:
    """Write one record with the proof that it is in the bag. Nothing of any other record is disclosed."""
    from elspeth.evidence import proof as proofs  # noqa: PLC0415  start time

    with record_display("prove") as progress:
        proof = proofs.prove(bag, record_type, identity, progress=progress)
    size = proofs.write_proof(proof, output)
    place = f"line {proof.index + 1:,} of {proof.statement.record_count:,}"
    signed = "unsigned" if proof.envelope is None else f"signed by {proof.envelope.keyid}"
    typer.echo(
        aligned(
            [
                ("record", f"{record_type} {identity}, {place}"),
                ("proof", f"{output} ({size:,} bytes)"),
                ("bag", signed),
            ]
        )
    )
