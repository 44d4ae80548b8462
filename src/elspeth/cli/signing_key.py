"""The key of HMAC signatures, from the environment."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from elspeth.cli.exit_code import ExitCode

__all__ = ["CheckOption", "SignOption", "signing_key"]

SignOption = Annotated[bool, typer.Option("--hmac", help="Sign every record with the key in ELSPETH_SIGNING_KEY.")]
CheckOption = Annotated[bool, typer.Option("--hmac", help="Check signatures with the key in ELSPETH_SIGNING_KEY.")]


def signing_key(*, wanted: bool) -> bytes | None:
    """The key if it is wanted; ends the command with exit code 2 if there is none."""
    if not wanted:
        return None
    from elspeth.engine.preflight import SIGNING_VARIABLE  # noqa: PLC0415  start time

    key = os.environ.get(SIGNING_VARIABLE)
    if not key:
        typer.echo(f"error: --hmac needs a key: set {SIGNING_VARIABLE}", err=True)
        raise typer.Exit(ExitCode.USAGE)
    return key.encode()
