"""``elspeth keys``: the keys that seal evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elspeth.cli.text import aligned
from elspeth.evidence.format.key_type import KeyType

__all__ = ["app"]

app = typer.Typer(name="keys", help="Make keys that sign evidence.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `generate` a command of its own: a group of one would be that one."""


@app.command("generate")
def generate(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The directory to put both files in.")],
    key_type: Annotated[
        KeyType, typer.Option("--type", help="ecdsa is P-256, which every KMS and HSM has.")
    ] = KeyType.ECDSA,
) -> None:
    """Make a key pair. A key that exists is never overwritten."""
    from elspeth.evidence.format import signatures  # noqa: PLC0415  start time

    public = signatures.generate_keys(output, key_type)
    typer.echo(
        aligned(
            [
                ("private key", f"{output / signatures.PRIVATE_KEY} (keep it secret)"),
                ("public key", f"{output / signatures.PUBLIC_KEY} (give it to those who verify)"),
                ("fingerprint", public.fingerprint),
            ]
        )
    )
