"""Completes values in the shell, such as runs.

A completion writes nothing and never fails: if something cannot be read, the result is empty.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from elspeth_schema.enums import NodeType

__all__ = ["complete_plugin", "complete_run", "complete_sink", "complete_step"]


def complete_run(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the runs in the command's database, newest first.

    Each comes with a description for shells that show one. If the option `--database` is needed, it must precede the
    run.
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


def complete_step(context: typer.Context, incomplete: str) -> list[str]:
    """Return the steps of the command's run, by name."""
    return _complete_name(context, incomplete, None)


def complete_sink(context: typer.Context, incomplete: str) -> list[str]:
    """Return the sinks of the command's run."""
    from elspeth_schema.enums import NodeType  # noqa: PLC0415  start time

    return _complete_name(context, incomplete, NodeType.SINK)


def _complete_name(context: typer.Context, incomplete: str, node_type: NodeType | None) -> list[str]:
    """Return the names of steps of a type, or all.

    Names in an export are not completed, because it would have to be read first.
    """
    from elspeth.cli.access import default_database, open_landscape  # noqa: PLC0415  start time
    from elspeth.core.landscape.queries.endings import step_names  # noqa: PLC0415
    from elspeth.core.landscape.queries.runs import LATEST, resolve_run  # noqa: PLC0415

    names: set[str] = set()
    with suppress(Exception):
        if context.params.get("export") is None:
            with open_landscape(context.params.get("database") or default_database()) as db:
                run_id = resolve_run(db, context.params.get("run") or LATEST)
                with db.connection() as connection:
                    names.update(step_names(connection, run_id, node_type).values())
    return sorted(name for name in names if name.startswith(incomplete))
