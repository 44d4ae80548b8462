"""Whether the sealed runs of an audit database are what they were when they were sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from elspeth.cli.record_display import record_display

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = ["seals_hold"]


def seals_hold(url: URL) -> bool:
    """Compute every seal anew, say which runs changed and where, and whether none did; changes nothing."""
    from elspeth.core.landscape.engines import looking  # noqa: PLC0415  start time
    from elspeth.core.landscape.seal import check_seal, sealed_runs  # noqa: PLC0415

    with looking(url) as connection:
        seals = sealed_runs(connection)
        faults, checked = [], 0
        with record_display("check seals") as progress:
            for seal in seals:
                fault = check_seal(connection, seal)
                checked += seal.record_count
                if progress is not None:
                    progress(checked)
                if fault is not None:
                    faults.append(fault)
    for fault in faults:
        place = " ".join(part for part in (fault.table, fault.key) if part)
        typer.echo(f"run {fault.run_id} was changed after it was sealed: {place}: {fault.problem}", err=True)
    typer.echo(f"{len(seals) - len(faults)} of {len(seals)} sealed runs unchanged", err=True)
    return not faults
