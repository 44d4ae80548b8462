"""The command `landscape send-events`."""

from __future__ import annotations

import json as jsonlib

import typer

from elspeth.cli.failures import ExitCode, UsageError
from elspeth.cli.options import JsonOption, NoDotenvOption, SetOption, SettingsOption
from elspeth.cli.terminal import ask_secret, printable
from elspeth.contracts.environment import DEFAULT_SETTINGS
from elspeth.contracts.errors import format_count

__all__ = ["send_events"]


def send_events(
    *,
    settings: SettingsOption = DEFAULT_SETTINGS,
    set_: SetOption = None,
    no_dotenv: NoDotenvOption = False,
    json: JsonOption = False,
) -> None:
    """Send the lineage events that runs could not send.

    They go where the settings say, made from the records. It ends with the first run whose events cannot be sent.
    """
    from elspeth.api.loading import GivenSettings, load_with_keys  # noqa: PLC0415  start time
    from elspeth.core.landscape.database import LandscapeDB  # noqa: PLC0415
    from elspeth.core.landscape.queries.unsent import read_unsent_events  # noqa: PLC0415
    from elspeth.engine.lineage_events import send_again  # noqa: PLC0415

    pipeline, _ = load_with_keys(
        GivenSettings(path=settings, overrides=set_ or (), no_dotenv=no_dotenv), ask=ask_secret
    )
    landscape = pipeline.settings.landscape
    if not landscape.enabled or pipeline.settings.openlineage is None:
        raise UsageError(f"{settings} sends no events: give it a section openlineage, and an audit database")
    with LandscapeDB.from_url(landscape.url, create_tables=False) as db:
        with db.connection() as connection:
            waiting = [each.run_id for each in read_unsent_events(connection)]
        sent: list[str] = []
        problem = None
        for run_id in waiting:
            problem = send_again(db, pipeline.settings, run_id)
            if problem is not None:
                break
            sent.append(run_id)
    unsent = waiting[len(sent) :]
    if problem is not None:
        typer.echo(printable(f"run {unsent[0]}: {problem}"), err=True)
    typer.echo(f"the events of {format_count(len(sent), 'run')} were sent, of {len(unsent):,} not", err=True)
    if json:
        typer.echo(jsonlib.dumps({"sent": sent, "not_sent": unsent, "problem": problem}, indent=2))
    if problem is not None:
        raise typer.Exit(ExitCode.FAILED)
