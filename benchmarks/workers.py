"""The same command by one process and by several.

Their start is included.

`python -m benchmarks.speed workers --records 2000000` is worth reading only on a machine that does nothing else.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.measuring import Timing, alternate, timed

__all__ = ["ONE_WORKER", "TWO_WORKERS", "Shared", "run_command", "shared_work"]

ONE_WORKER = 1.05
"""The most times as long that `--workers 1` may take as the same command without the option."""

TWO_WORKERS = 1.5
"""How many times faster two workers should be, on two idle cores."""

_KEY = "k" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A command without workers, with one and with two."""

    work: str
    records: int
    plain: Timing
    one: Timing
    two: Timing


def shared_work(source: str, records: int, directory: Path) -> list[Shared]:
    """Measure exports, and checks of a bag and a seal."""
    run_command("keys", "generate", "-o", str(directory / "keys"))
    private, public = (str(directory / "keys" / f"elspeth.{kind}.pem") for kind in ("key", "pub"))
    bag = str(directory / "verified")
    run_command("export", "latest", "-d", source, "-o", bag, "--format", "bag", "--key", private)
    target = directory / "export"
    export = ("export", "latest", "-d", source, "-o", str(target))
    commands = {
        "export to jsonl": (*export, "--format", "jsonl"),
        "the same with HMAC": (*export, "--format", "jsonl", "--hmac"),
        "export to a bag": (*export, "--format", "bag", "--key", private),
        "verify a bag": ("verify", bag, "--key", public),
        "check a seal": ("landscape", "check", "-d", source),
    }
    found = []
    for work, command in commands.items():
        options: list[tuple[str, ...]] = [(), ("--workers", "1"), ("--workers", "2")]
        jobs: list[Callable[[int], Timing]] = [partial(_measure, (*command, *each), target) for each in options]
        plain, one, two = alternate(*jobs)
        found.append(Shared(work=work, records=records, plain=plain, one=one, two=two))
    return found


def run_command(*arguments: str, directory: Path | None = None) -> None:
    """Run a command of elspeth, in a directory.

    Raises CalledProcessError if it ends with another code than 0 or 1: the recorded rows have no outcomes, so that
    verification, which does all its work, says in the end that they break the laws of accounting.
    """
    command = [str(Path(sys.executable).with_name("elspeth")), *arguments]
    environment = {"PATH": "/usr/bin:/bin", "ELSPETH_SIGNING_KEY": _KEY}
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, check=False)  # noqa: S603  the command is ours
    if done.returncode > 1:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)


def _measure(command: tuple[str, ...], target: Path, attempt: int) -> Timing:  # noqa: ARG001  as `alternate` asks
    timing = timed(lambda: run_command(*command))
    if target.is_dir():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)
    return timing
