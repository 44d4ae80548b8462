"""The key of HMAC signatures, from the environment."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from elspeth.cli.exit_code import ExitCode

__all__ = ["CheckOption", "SignOption", "checking_key", "signing_key"]

SignOption = Annotated[bool, typer.Option("--hmac", help="Sign every record with the key in ELSPETH_SIGNING_KEY.")]
CheckOption = Annotated[bool, typer.Option("--hmac", help="Check signatures with the key in ELSPETH_SIGNING_KEY.")]


def signing_key(*, wanted: bool) -> bytes | None:
    """Return the key to sign with if it is wanted; ends the command with exit code 2 if there is none that will do."""
    from elspeth.contracts.environment import SIGNING_KEY, key_bytes, key_problem  # noqa: PLC0415  start time

    key = _key(wanted=wanted)
    if key is None:
        return None
    if problem := key_problem(SIGNING_KEY, key):
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(ExitCode.USAGE)
    return key_bytes(key)


def checking_key(*, wanted: bool) -> bytes | None:
    """Return the key to check signatures with if it is wanted; ends the command with exit code 2 if there is none.

    What was signed with a short key can still be checked, with a warning.
    """
    from elspeth.contracts.environment import LEAST_KEY, SIGNING_KEY, key_bytes, key_problem  # noqa: PLC0415  start time

    key = _key(wanted=wanted)
    if key is None:
        return None
    if key_problem(SIGNING_KEY, key):
        weakness = f"has less than {LEAST_KEY} bytes: whoever guesses it can make such signatures"
        typer.echo(f"warning: {SIGNING_KEY} {weakness}", err=True)
    return key_bytes(key)


def _key(*, wanted: bool) -> str | None:
    from elspeth.contracts.environment import SIGNING_KEY  # noqa: PLC0415  start time

    if not wanted:
        return None
    key = os.environ.get(SIGNING_KEY)
    if not key:
        typer.echo(f"error: --hmac needs a key: set {SIGNING_KEY}", err=True)
        raise typer.Exit(ExitCode.USAGE)
    return key
