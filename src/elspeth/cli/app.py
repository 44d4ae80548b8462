"""The commands as one program.

Each command imports what it needs when it runs, so that ``elspeth --version`` does not load a database library.
Data goes to standard output; progress, verdicts and errors go to standard error.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from elspeth import __version__
from elspeth.cli.commands import (
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

__all__ = ["main", "run"]

_OBJECTS_BETWEEN_COLLECTIONS = 50_000

app = typer.Typer(
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


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of the program itself; `version` is dealt with by its callback."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 1 failed, 2 usage or settings error."""
    command = typer.main.get_command(app)
    try:
        command(args=None if argv is None else list(argv), prog_name="elspeth")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def run() -> None:
    """The console script."""
    # Looking for garbage among modules, at every 700 new objects, would take a tenth of the time that a command starts.
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    sys.exit(main())
