"""The command line.

`main` runs a command in this process, `run` is the console script.
"""

from elspeth.cli.program import main, run

__all__ = ["main", "run"]
