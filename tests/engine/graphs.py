"""Small pipelines with every kind of node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elspeth.contracts.plugins import Plugin, RowError, Source, SourceOptions, Transform, TransformOptions
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.core.landscape.database import LandscapeDB
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.reporting import RunResult
from tests.engine.pipelines import Records, Settings, assert_sound, build, trail

__all__ = ["GivenSource", "MarkOptions", "MarkTransform", "Ticks", "graph_settings", "run_graph", "written"]


class GivenOptions(SourceOptions):
    """Options of a source that holds its rows."""

    rows: list[dict[str, Any]]


class GivenSource(Source):
    """A source that yields the rows in its options."""

    name = "given"
    plugin_version = "1"
    options_model = GivenOptions

    def __init__(self, options: GivenOptions) -> None:
        super().__init__(options)
        self._rows = options.rows

    def read(self) -> Iterator[RowData | InvalidRow]:
        """Yield the rows."""
        yield from map(dict, self._rows)


class MarkOptions(TransformOptions):
    """Options of the marking transform.

    `field` is set. `fail` and `crash` are the ids of rows to fail for, by an error returned or raised.
    """

    field: str
    value: Any = True
    fail: list[Any] = []  # noqa: RUF012  pydantic copies defaults
    crash: list[Any] = []  # noqa: RUF012


class MarkTransform(Transform):
    """A transform that sets a field, or fails."""

    name = "mark"
    plugin_version = "1"
    options_model = MarkOptions

    def __init__(self, options: MarkOptions) -> None:
        super().__init__(options)
        self._options = options

    def process(self, row: RowData) -> RowData | RowError:
        """Mark the row."""
        if row.get("id") in self._options.fail:
            return RowError(message="refused", details={"id": row.get("id")})
        if row.get("id") in self._options.crash:
            raise ZeroDivisionError("division by zero")
        row[self._options.field] = self._options.value
        return row


class Ticks:
    """A clock that advances one second at each reading."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time, in seconds."""
        self.now += 1.0
        return self.now


def graph_settings(directory: Path, rows: list[RowData], *sinks: str, **sections: object) -> Settings:
    """Return settings with these rows, sections and sinks.

    The output sink is `out`. Every sink writes JSON lines.
    """
    return {
        "datasource": {"plugin": "given", "options": {"rows": rows}},
        "sinks": {
            name: {"plugin": "jsonl", "options": {"path": str(directory / f"{name}.jsonl")}} for name in ("out", *sinks)
        },
        "output_sink": "out",
        "landscape": {"url": f"sqlite:///{directory / 'audit.db'}"},
        **sections,
    }


PLUGINS: tuple[type[Plugin], ...] = (GivenSource, MarkTransform)


def run_graph(directory: Path, settings: Settings, *plugins: type[Plugin]) -> tuple[RunResult, Records]:
    """Run settings, and return the summary and the trail.

    The run must complete with a sound trail.
    """
    pipeline = build(directory, settings, *PLUGINS, *plugins)
    keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
    with LandscapeDB.from_url(pipeline.settings.landscape.url) as db:
        result = Orchestrator(db, pipeline, keys, clock=Ticks()).run()
    records = trail(directory, settings["landscape"]["url"])
    assert_sound(records, status="completed")
    return result, records


def written(directory: Path, sink: str) -> list[RowData]:
    """Read the rows that a sink wrote."""
    return [json.loads(line) for line in (directory / f"{sink}.jsonl").read_text().splitlines()]
