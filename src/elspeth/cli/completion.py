"""What the shell completes besides commands and options.

A completion writes nothing and never fails: for what cannot be read there are none.
"""

from __future__ import annotations

from contextlib import suppress

import typer

__all__ = ["complete_plugin", "complete_run"]


def complete_run(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the runs in the command's database, newest first.

    Each comes with what shells show beside it. The option `--database`, if it is needed, must stand before the run.
    """
    from elspeth.cli.access import database_url, default_database  # noqa: PLC0415  start time
    from elspeth.core.landscape.queries.runs import LATEST, list_runs  # noqa: PLC0415

    found = [(LATEST, "the run that began last")]
    with suppress(Exception):
        runs = reversed(list_runs(database_url(context.params.get("database") or default_database())))
        found += [
            (run.run_id, f"{run.status}, {run.rows} rows, began {run.started_at}") for run in runs if run.bag is None
        ]
    return [(name, shown) for name, shown in found if name.startswith(incomplete)]


def complete_plugin(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the plugins of the command's kind, or of all."""
    from elspeth.plugins.manager import PluginManager  # noqa: PLC0415  start time

    found: dict[str, str] = {}
    with suppress(Exception):
        kind = context.params.get("kind")
        for plugin in PluginManager.installed().all():
            if plugin.name.startswith(incomplete) and (kind is None or plugin.kind.value == kind):
                found.setdefault(plugin.name, plugin.description())
    return list(found.items())
