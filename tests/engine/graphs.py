"""Small pipelines with every kind of node, and questions to the trail of their runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elspeth.contracts.plugins import InvalidRow, Row, RowError
from elspeth.core.landscape.database import LandscapeDB
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.preflight import keys_for_run
from elspeth.engine.result import RunResult
from elspeth.plugins.base import Plugin, Source, SourceOptions, Transform, TransformOptions
from tests.engine.pipelines import Records, Settings, assert_sound, build, trail

__all__ = ["GivenSource", "MarkOptions", "MarkTransform", "Ticks", "graph_settings", "run_graph", "written"]


class GivenOptions(SourceOptions):
    """The rows themselves."""

    rows: list[dict[str, Any]]


class GivenSource(Source):
    """Yields the rows in its options."""

    name = "given"
    plugin_version = "1"
    options_model = GivenOptions

    def __init__(self, options: GivenOptions) -> None:
        super().__init__(options)
        self._rows = options.rows

    def read(self) -> Iterator[Row | InvalidRow]:
        """The rows."""
        yield from map(dict, self._rows)


class MarkOptions(TransformOptions):
    """The field to set, and rows (by their `id`) to fail for."""

    field: str
    value: Any = True
    fail: list[Any] = []  # noqa: RUF012  pydantic copies defaults
    crash: list[Any] = []  # noqa: RUF012


class MarkTransform(Transform):
    """Sets a field, or fails as told."""

    name = "mark"
    plugin_version = "1"
    options_model = MarkOptions

    def __init__(self, options: MarkOptions) -> None:
        super().__init__(options)
        self._options = options

    def process(self, row: Row) -> Row | RowError:
        """The row with its mark."""
        if row.get("id") in self._options.fail:
            return RowError(message="refused", details={"id": row.get("id")})
        if row.get("id") in self._options.crash:
            raise ZeroDivisionError("division by zero")
        row[self._options.field] = self._options.value
        return row


class Ticks:
    """A clock that moves a second whenever it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        self.now += 1.0
        return self.now


def graph_settings(directory: Path, rows: list[Row], *sinks: str, **sections: object) -> Settings:
    """The rows through the sections to `out`; other sinks as named. Every sink writes JSON lines."""
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
    """Run a pipeline that is expected to complete; its summary and its audit trail, which must be sound."""
    pipeline = build(directory, settings, *PLUGINS, *plugins)
    keys = keys_for_run(pipeline.settings, {}, source="settings.yaml")
    with LandscapeDB.from_url(pipeline.settings.landscape.url) as db:
        result = Orchestrator(db, pipeline, keys, clock=Ticks()).run()
    records = trail(directory, settings["landscape"]["url"])
    assert_sound(records, status="completed")
    return result, records


def written(directory: Path, sink: str) -> list[Row]:
    """The rows that a sink wrote."""
    return [json.loads(line) for line in (directory / f"{sink}.jsonl").read_text().splitlines()]
