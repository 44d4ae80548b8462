"""Whether the sealed runs of an audit database are what they were when they were sealed, and who says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from elspeth.cli.record_display import record_display
from elspeth.cli.text import printable

if TYPE_CHECKING:
    from sqlalchemy import URL

    from elspeth.core.landscape.sealing.check import SealReport

__all__ = ["seals_hold"]


def seals_hold(url: URL, key: Path | None) -> bool:
    """Compute every seal anew, say which runs changed and where, and whether none did; changes nothing.

    With the file of a public key each finished run must have a seal that it signed. KeyFileError if it is none.
    """
    from elspeth.core.landscape.database.connections import read_only_connection  # noqa: PLC0415  start time
    from elspeth.core.landscape.sealing.check import check_seals  # noqa: PLC0415

    public_key = None
    if key is not None:
        from elspeth.evidence.format.signatures import load_public_key  # noqa: PLC0415

        public_key = load_public_key(key)
    with read_only_connection(url) as connection, record_display("check seals") as progress:
        report = check_seals(connection, key=public_key, progress=progress)
    for fault in report.faults:
        typer.echo(printable(str(fault)), err=True)
    typer.echo(report.verdict, err=True)
    if public_key is None:
        for remark in _not_checked(report):
            typer.echo(remark, err=True)
    elif not report.faults:
        typer.echo(f"every finished run has a seal signed by the key {public_key.fingerprint}", err=True)
    if report.unfinished:
        named = "; ".join(f"{run_id}: {status}" for run_id, status in report.unfinished.items())
        remark = "they have no seal yet, so nothing shows whether their records were changed"
        typer.echo(printable(f"{len(report.unfinished):,} runs have not ended ({named}): {remark}"), err=True)
    return not report.faults


def _not_checked(report: SealReport) -> Iterator[str]:
    """What seals cannot show without a key, said plainly."""
    for fingerprint, seals in sorted(report.signers.items(), key=lambda item: item[0] or ""):
        if fingerprint is None:
            yield f"{seals:,} seals are unsigned: whoever can write to the database can make them anew"
        else:
            yield f"{seals:,} seals claim to be signed by the key {fingerprint}: not checked, as no --key was given"
    if report.unsealed:
        yield f"{len(report.unsealed):,} finished runs have no seal: imported, or recorded before there were seals"
