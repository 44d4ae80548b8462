"""``elspeth purge``: delete payloads that have been kept long enough."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated

import typer

from elspeth.cli.options import JsonOption, NoDotenvOption, SettingsOption
from elspeth.cli.preview import DryRunOption, end_preview, refuse_both

__all__ = ["purge"]


def purge(
    *,
    settings: SettingsOption,
    execute: Annotated[
        bool, typer.Option("--execute", "-x", help="Really delete: without it only what would be is shown.")
    ] = False,
    dry_run: DryRunOption = False,
    no_dotenv: NoDotenvOption = False,
    json: JsonOption = False,
) -> None:
    """Delete the payloads that were last used before payload_store.retention_days; their hashes stay recorded."""
    from datetime import UTC, datetime  # noqa: PLC0415  start time
    from pathlib import Path  # noqa: PLC0415

    from elspeth.cli.execution import prepare  # noqa: PLC0415
    from elspeth.cli.text import aligned  # noqa: PLC0415
    from elspeth.core.landscape.database import LandscapeDB  # noqa: PLC0415
    from elspeth.core.landscape.recording.reproducibility import plan_purge  # noqa: PLC0415
    from elspeth.core.landscape.recording.reproducibility import purge as carry_out  # noqa: PLC0415
    from elspeth.core.payload_store import FilesystemPayloadStore  # noqa: PLC0415

    refuse_both(execute=execute, dry_run=dry_run)
    pipeline, _ = prepare(settings, no_dotenv=no_dotenv)
    kept = pipeline.settings.payload_store
    payloads = FilesystemPayloadStore(Path(kept.base_path))
    with LandscapeDB.from_url(pipeline.settings.landscape.url, create_tables=False) as db:
        plan = plan_purge(db, payloads, days=kept.retention_days, now=datetime.now(UTC))
        if execute:
            carry_out(db, payloads, plan)
    facts: dict[str, object] = {
        "last used before": plan.cutoff.isoformat(timespec="seconds"),
        "payloads": len(plan.payloads),
        "bytes": plan.size_bytes,
        "runs": len(plan.runs),
        "deleted": execute,
    }
    if json:
        typer.echo(jsonlib.dumps({name.replace(" ", "_"): value for name, value in facts.items()}, indent=2))
    else:
        typer.echo(aligned([(name, _shown(value)) for name, value in facts.items()]))
    end_preview("Nothing was deleted: add --execute (-x).", dry_run=dry_run or execute)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
