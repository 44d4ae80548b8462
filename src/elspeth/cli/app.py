"""The commands as one program.

Each command imports what it needs when it runs, so that ``elspeth --version`` does not load a database library.
Data goes to standard output; progress, verdicts and errors go to standard error.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from elspeth import __version__
from elspeth.cli.commands import (
    differences,
    explain,
    export,
    import_,
    keys,
    landscape,
    plugins,
    prove,
    purge,
    resume,
    validate,
    verify,
)
from elspeth.cli.commands import run as run_command
from elspeth.cli.failures import failures_reported
from elspeth.cli.progress import progress_wanted
from elspeth.contracts.environment import NO_PROGRESS

__all__ = ["command"]


class Program(TyperGroup):
    """A group of commands that all end with one message and one exit code, whatever stops them."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  as in the base class
        """Parse the options of the program itself; `--help` and `--version` end here."""
        with failures_reported():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  as in the base class, whose context has a private type
        """Invoke the command that the context names."""
        with failures_reported(ctx):
            return super().invoke(ctx)


app = typer.Typer(
    cls=Program,
    name="elspeth",
    help="Run pipelines whose every decision is recorded, and look at what was recorded.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run_command.run)
app.command("resume")(resume.resume)
app.command("purge")(purge.purge)
app.command("validate")(validate.validate)
app.command("explain")(explain.explain)
app.command("differences")(differences.differences)
app.command("export")(export.export)
app.command("import")(import_.import_)
app.command("verify")(verify.verify)
app.command("prove")(prove.prove)
app.add_typer(keys.app, name="keys")
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
    *,
    no_progress: Annotated[
        bool,
        typer.Option(
            "--no-progress",
            envvar=NO_PROGRESS,
            callback=_switch_progress,
            help="Show no progress: no bars on a terminal, and elsewhere no line every 30 seconds.",
        ),
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of the program itself; each is dealt with by its callback."""


command = typer.main.get_command(app)
