"""The command line: `main` is all of it as one function, `run` the console script."""

from elspeth.cli.program import main, run

__all__ = ["main", "run"]
