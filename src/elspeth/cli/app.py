"""All commands as one program.

Every command imports what it needs when it runs, so that `elspeth --version` does not load a database library. Data
goes to standard output; progress, verdicts and errors go to standard error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from elspeth import __version__
from elspeth.cli.commands import (
    diff,
    evidence,
    explain,
    exports,
    imports,
    landscape,
    mcp,
    outputs,
    pipelines,
    plugins,
    report,
    rows,
    settings,
    verify,
)
from elspeth.cli.examples import leaves, show_examples
from elspeth.cli.failures import expect_json, report_failures
from elspeth.cli.logs import LogFormat, LogLevel, shown_log
from elspeth.cli.objects import local_path
from elspeth.cli.progress import progress_wanted
from elspeth.contracts.environment import LOG_FORMAT, LOG_LEVEL, NO_PROGRESS

__all__ = ["app", "command"]


class _Program(TyperGroup):
    """The group of all commands, which reports their failures."""

    def make_context(self, info_name: Any, args: Any, *more: Any, **kwargs: Any) -> Any:  # noqa: ANN401  as in the base class
        """Parse the program's own options; `--help` and `--version` end here."""
        expect_json(args)
        with report_failures():
            return super().make_context(info_name, args, *more, **kwargs)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  as in the base class, whose context has a private type
        """Invoke the command that the context names."""
        with report_failures(ctx):
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Program,
    name="elspeth",
    help="Run pipelines that record every decision, and inspect what was recorded.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(pipelines.run)
app.command("resume")(pipelines.resume)
app.command("purge")(pipelines.purge)
app.command("validate")(pipelines.validate)
app.command("explain")(explain.explain)
app.command("rows")(rows.rows)
app.command("outputs")(outputs.outputs)
app.command("report")(report.report)
app.command("diff")(diff.diff)
app.command("differences")(explain.differences)
app.command("export")(exports.export)
app.command("import")(imports.import_)
app.command("mcp")(mcp.mcp)
app.command("verify")(verify.verify)
app.command("prove")(evidence.prove)
app.add_typer(evidence.keys, name="keys")
app.add_typer(settings.app, name="settings")
app.add_typer(plugins.app, name="plugins")
app.add_typer(landscape.app, name="landscape")


def _print_version(wanted: bool) -> None:  # noqa: FBT001  typer passes the option's value
    if wanted:
        typer.echo(f"elspeth {__version__}")
        raise typer.Exit


def _switch_progress(off: bool) -> None:  # noqa: FBT001  typer passes the option's value
    progress_wanted.set(not off)


@app.callback()
def _root(
    ctx: typer.Context,
    *,
    no_progress: Annotated[  # noqa: ARG001  its callback handles it
        bool,
        typer.Option(
            "--no-progress",
            envvar=NO_PROGRESS,
            callback=_switch_progress,
            help="Show no progress: neither bars on a terminal, nor elsewhere a line every 30 seconds.",
        ),
    ] = False,
    log_level: Annotated[
        LogLevel | None,
        typer.Option(
            "--log-level",
            envvar=LOG_LEVEL,
            help="Write a log to standard error, from this level. With debug it has tracebacks of plugins, which may "
            "show values of rows.",
        ),
    ] = None,
    log_format: Annotated[
        LogFormat | None,
        typer.Option(
            "--log-format", envvar=LOG_FORMAT, help="Write the log as text, or as a JSON object on each line."
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001  its callback handles it
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Begin the log; callbacks handle the other options."""
    if log_level is not None or log_format is not None:
        ctx.with_resource(shown_log(log_level or LogLevel.INFO, log_format or LogFormat.TEXT))


def _keep_local(leaf: Any) -> None:  # noqa: ANN401  a command of a private type
    """Make parameters for local paths refuse addresses."""
    for parameter in leaf.params:
        descriptor = getattr(parameter, "type_descriptor", None)
        if descriptor is not None and descriptor.annotation in {Path, list[Path]}:
            descriptor.parameter_info.parser = descriptor.parameter_info.parser or local_path


command = typer.main.get_command(app)
show_examples(command)
for _, each in leaves(command):
    _keep_local(each)
