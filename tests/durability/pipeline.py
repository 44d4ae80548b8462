"""The pipeline that is killed, run by the real command.

It reads csv, and a gate splits the rows between two csv sinks.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import yaml

from tests.durability.shadow import Shadow

__all__ = ["SINKS", "Job", "command", "elspeth"]

SINKS = ("rest", "large")

_COMMAND = "from elspeth.cli import run; run()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A pipeline of `rows` rows in a directory.

    The directory holds all that the pipeline reads and writes, but for a database at `url`.
    """

    directory: Path
    rows: int
    url: str | None = None

    @property
    def database(self) -> Path:
        """Return the path of the SQLite file."""
        return self.directory / "audit" / "landscape.db"

    @property
    def database_url(self) -> str:
        """Return the URL of the audit database."""
        return self.url or f"sqlite:///{self.database}"

    @property
    def settings(self) -> Path:
        """Return the path of the settings file."""
        return self.directory / "settings.yaml"

    def output(self, sink: str) -> Path:
        """Return the path of a sink's published file."""
        return self.directory / "out" / f"{sink}.csv"

    def staged(self, sink: str) -> list[Path]:
        """List a sink's staged files."""
        return sorted(self.output(sink).parent.glob(f".{sink}.csv.*.partial"))

    def write(self) -> None:
        """Make the directory with the settings and the rows."""
        self.output("rest").parent.mkdir(parents=True)
        with (self.directory / "in.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["id", "size", "note"])
            writer.writerows(self.cells(index) for index in range(self.rows))
        settings = {
            "datasource": {"plugin": "csv", "options": {"path": str(self.directory / "in.csv")}},
            "gates": [
                {"name": "by_size", "condition": "row['size'] >= '7'", "routes": {"true": "large", "false": "continue"}}
            ],
            "output_sink": "rest",
            "sinks": {name: {"plugin": "csv", "options": {"path": str(self.output(name))}} for name in SINKS},
            "landscape": {"url": self.database_url},
        }
        self.settings.write_text(yaml.safe_dump(settings), encoding="utf-8")

    def expected(self, sink: str) -> bytes:
        """Return the expected content of a sink's file."""
        lines = (",".join(self.cells(index)) + "\n" for index in range(self.rows) if self.sink_of(index) == sink)
        return "".join(["id,size,note\n", *lines]).encode()

    @staticmethod
    def cells(index: int) -> list[str]:
        """Return a source row: number, kind, and text.

        The text varies in length.
        """
        digest = sha256(str(index).encode()).hexdigest()
        return [str(index), str(int(digest[0], 16) % 10), digest[: index % 50]]

    @staticmethod
    def sink_of(index: int) -> str:
        """Return the name of the row's sink."""
        return "large" if Job.cells(index)[1] >= "7" else "rest"

    @staticmethod
    def row_hash(index: int) -> str:
        """Return the row hash of a source row.

        For short ASCII strings, canonical JSON (RFC 8785) is what `json.dumps` makes here.
        """
        row = dict(zip(("id", "size", "note"), Job.cells(index), strict=True))
        return sha256(json.dumps(row, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def run(self, shadow: Shadow | None = None, *, before: str = "") -> subprocess.CompletedProcess[str]:
        """Run ``elspeth run``.

        The code `before` is executed first.
        """
        return elspeth(*self.run_arguments, shadow=shadow, before=before)

    def resume(
        self, run_id: str, shadow: Shadow | None = None, *, before: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run ``elspeth resume``."""
        return elspeth(*self.resume_arguments(run_id), shadow=shadow, before=before)

    @property
    def run_arguments(self) -> tuple[str, ...]:
        """Return the arguments of ``elspeth run``."""
        return ("run", "-s", str(self.settings), "--execute")

    def resume_arguments(self, run_id: str) -> tuple[str, ...]:
        """Return the arguments of ``elspeth resume``."""
        return ("resume", run_id, "-s", str(self.settings), "--execute")


def elspeth(*arguments: str, shadow: Shadow | None = None, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in a process, to its end."""
    return subprocess.run(
        command(*arguments, before=before),
        env=None if shadow is None else shadow.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def command(*arguments: str, before: str = "") -> list[str]:
    """Return the arguments of a process that runs the command.

    The code `before` is executed first.
    """
    return [sys.executable, "-c", f"{before}\n{_COMMAND}", *arguments]
