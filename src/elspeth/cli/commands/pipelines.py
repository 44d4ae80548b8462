"""Commands on a settings file: `validate`, `run`, `resume` and `purge`."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.api.workers import prepare_run_workers
from elspeth.cli.failures import UsageError
from elspeth.cli.options import (
    ClusterOption,
    DryRunOption,
    ExitCodeOption,
    ForceOption,
    JsonOption,
    LimitOption,
    NoDotenvOption,
    RunArgument,
    RunWorkersOption,
    SetOption,
    SettingsOption,
    TracebackOption,
    end_preview,
    require_only_one,
)
from elspeth.cli.terminal import aligned, ask_secret, printable
from elspeth.contracts.environment import DEFAULT_SETTINGS

if TYPE_CHECKING:
    from elspeth.engine.resuming import StoppedRun

__all__ = ["purge", "resume", "run", "validate"]


class _GraphFormat(StrEnum):
    """Formats of the graph."""

    MERMAID = "mermaid"
    SVG = "svg"


def validate(
    *,
    settings: SettingsOption = DEFAULT_SETTINGS,
    set_: SetOption = None,
    limit: LimitOption = None,
    graph: Annotated[
        _GraphFormat | None, typer.Option("--graph", help="Print the graph as a diagram instead of the plan.")
    ] = None,
    force: ForceOption = False,
    no_dotenv: NoDotenvOption = False,
    json: JsonOption = False,
) -> None:
    """Check a settings file and show its plan.

    Nothing is written.
    """
    require_only_one({"--graph": graph is not None, "--json": json})
    from elspeth.api.loading import GivenSettings, load_pipeline  # noqa: PLC0415  start time
    from elspeth.cli.plan import (  # noqa: PLC0415
        plan_as_data,
        plan_as_mermaid,
        plan_as_svg,
        plan_as_text,
    )
    from elspeth.contracts.plugins import PluginError  # noqa: PLC0415

    given = GivenSettings(path=settings, overrides=set_ or (), limit=limit, no_dotenv=no_dotenv)
    pipeline = load_pipeline(given, check_outputs=True, force=force).pipeline
    if not json:
        forms = {None: plan_as_text, _GraphFormat.MERMAID: plan_as_mermaid, _GraphFormat.SVG: plan_as_svg}
        typer.echo(forms[graph](pipeline).removesuffix("\n"))
    warnings = []
    for plugin in pipeline.reading():
        try:
            plugin.check()
        except PluginError as error:  # an error of the run, but the input may appear before that
            warnings.append(str(error))
            typer.echo(printable(f"warning: {error}"), err=True)
    if json:
        result = {"settings": str(settings), "valid": True, "warnings": warnings, "plan": plan_as_data(pipeline)}
        typer.echo(jsonlib.dumps(result, indent=2))
    typer.echo(printable(f"{settings}: valid"), err=True)


def run(
    *,
    settings: SettingsOption = DEFAULT_SETTINGS,
    set_: SetOption = None,
    limit: LimitOption = None,
    workers: RunWorkersOption = None,
    cluster: ClusterOption = None,
    execute: Annotated[
        bool, typer.Option("--execute", "-x", help="Run the pipeline; without this, only show the plan.")
    ] = False,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    exit_code: ExitCodeOption = False,
    no_dotenv: NoDotenvOption = False,
    traceback: TracebackOption = False,  # noqa: ARG001  its callback handles it
    json: JsonOption = False,
) -> None:
    """Run a pipeline and record what happens to every row."""
    require_only_one({"--execute": execute, "--dry-run": dry_run})
    require_only_one({"--workers": workers is not None, "--cluster": cluster is not None})
    if execute:
        prepare_run_workers(workers)
    from elspeth.api.loading import GivenSettings, load_with_keys  # noqa: PLC0415  start time
    from elspeth.cli.execution import execute_pipeline  # noqa: PLC0415
    from elspeth.cli.plan import plan_as_data, plan_as_text  # noqa: PLC0415

    given = GivenSettings(
        path=settings, overrides=set_ or (), limit=limit, workers=workers, cluster=cluster, no_dotenv=no_dotenv
    )
    pipeline, keys = load_with_keys(given, check_outputs=True, force=force, ask=ask_secret)
    if execute:
        for plugin in pipeline.reading():
            plugin.check()
        code = execute_pipeline(
            pipeline, keys, given, lambda work: work.run(), force=force, json=json, tells_failures=exit_code
        )
        raise typer.Exit(code)
    typer.echo(jsonlib.dumps(plan_as_data(pipeline), indent=2) if json else plan_as_text(pipeline))
    end_preview("Nothing was run: add --execute (-x) to run this pipeline.", dry_run=dry_run)


def resume(
    *,
    run: RunArgument,
    settings: SettingsOption = DEFAULT_SETTINGS,
    set_: SetOption = None,
    limit: LimitOption = None,
    workers: RunWorkersOption = None,
    cluster: ClusterOption = None,
    execute: Annotated[
        bool, typer.Option("--execute", "-x", help="Resume the run; without this, only show its state.")
    ] = False,
    dry_run: DryRunOption = False,
    abandon: Annotated[bool, typer.Option("--abandon", help="Abandon the run: record it as failed.")] = False,
    force: ForceOption = False,
    exit_code: ExitCodeOption = False,
    no_dotenv: NoDotenvOption = False,
    traceback: TracebackOption = False,  # noqa: ARG001  its callback handles it
    json: JsonOption = False,
) -> None:
    """Resume a run that was stopped.

    No row is lost, repeated or reordered.
    """
    require_only_one({"--execute": execute, "--dry-run": dry_run, "--abandon": abandon})
    require_only_one({"--workers": workers is not None, "--cluster": cluster is not None})
    if execute:
        prepare_run_workers(workers)
    from dataclasses import asdict  # noqa: PLC0415  start time

    from elspeth.api.loading import GivenSettings, load_with_keys  # noqa: PLC0415
    from elspeth.cli.execution import execute_pipeline  # noqa: PLC0415
    from elspeth.core.landscape.database import LandscapeDB  # noqa: PLC0415
    from elspeth.core.landscape.queries.runs import resolve_run  # noqa: PLC0415
    from elspeth.engine.resuming import abandon_run, get_stopped_run  # noqa: PLC0415

    given = GivenSettings(
        path=settings, overrides=set_ or (), limit=limit, workers=workers, cluster=cluster, no_dotenv=no_dotenv
    )
    pipeline, keys = load_with_keys(given, ask=ask_secret)
    if not pipeline.settings.landscape.enabled:
        raise UsageError("the settings keep no audit database (landscape.enabled: false): there is no run to resume")
    with LandscapeDB.from_url(pipeline.settings.landscape.url, create_tables=False) as db:
        run_id = resolve_run(db, run)
        if abandon:
            for problem in abandon_run(db, pipeline.settings, keys, run_id):
                typer.echo(printable(f"warning: {problem}"), err=True)
        state = get_stopped_run(db, run_id)
    if execute:
        code = execute_pipeline(
            pipeline, keys, given, lambda work: work.resume(run_id), force=force, json=json, tells_failures=exit_code
        )
        raise typer.Exit(code)
    typer.echo(jsonlib.dumps(asdict(state), indent=2) if json else aligned(_state_lines(state)))
    if state.status.is_terminal and not abandon:
        end_preview("Nothing can be resumed: the run has ended.", dry_run=False)
    advice = "add --execute (-x) to go on, or --abandon to abandon the run"
    end_preview(f"Nothing was resumed: {advice}.", dry_run=dry_run or abandon)


def _state_lines(state: StoppedRun) -> Iterator[tuple[str, str]]:
    yield "run", state.run_id
    yield "status", state.status
    yield "rows recorded", f"{state.rows:,}"
    yield "waiting", f"{state.waiting:,}"
    for reason in state.reasons:
        yield "stopped by", reason


def purge(
    *,
    settings: SettingsOption = DEFAULT_SETTINGS,
    set_: SetOption = None,
    execute: Annotated[
        bool, typer.Option("--execute", "-x", help="Delete the payloads; without this, only count them.")
    ] = False,
    dry_run: DryRunOption = False,
    no_dotenv: NoDotenvOption = False,
    json: JsonOption = False,
) -> None:
    """Delete payloads unused for payload_store.retention_days.

    Their hashes stay recorded.
    """
    require_only_one({"--execute": execute, "--dry-run": dry_run})
    from datetime import UTC, datetime  # noqa: PLC0415  start time

    from elspeth.api.loading import GivenSettings, load_with_keys  # noqa: PLC0415
    from elspeth.core.landscape.database import LandscapeDB  # noqa: PLC0415
    from elspeth.core.landscape.recording import reproducibility  # noqa: PLC0415
    from elspeth.core.payload_places import find_payload_store, open_payload_store  # noqa: PLC0415
    from elspeth.objects.address import place_of  # noqa: PLC0415

    given = GivenSettings(path=settings, overrides=set_ or (), no_dotenv=no_dotenv)
    pipeline, _ = load_with_keys(given)
    store = pipeline.settings.payload_store
    place = place_of(store.base_path)
    payloads = find_payload_store(place) or open_payload_store(place)
    with LandscapeDB.from_url(pipeline.settings.landscape.url, create_tables=False) as db:
        plan = reproducibility.plan_purge(db, payloads, days=store.retention_days, now=datetime.now(UTC))
        if execute:
            reproducibility.purge(db, payloads, plan)
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
        typer.echo(aligned([(name, _format_fact(value)) for name, value in facts.items()]))
    end_preview("Nothing was deleted: add --execute (-x).", dry_run=dry_run or execute)


def _format_fact(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
