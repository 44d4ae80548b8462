"""Pipelines for tests, and the trails of their runs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from elspeth.contracts.plugins import Plugin, RowError, Source, SourceOptions, Transform, TransformOptions
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.settings import load_settings
from elspeth.engine import partitions as partitions_module
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.pipeline import Pipeline, build_pipeline
from elspeth.engine.reporting import Observer, RunResult
from elspeth.engine.sharing import Workers
from elspeth.objects.address import place_of
from elspeth.objects.stores import open_place
from elspeth.plugins.manager import PluginManager

Records = dict[str, list[dict[str, Any]]]
Settings = dict[str, Any]
Environ = Mapping[str, str]

NO_ENVIRON: Environ = {}


def csv_settings(directory: Path, *, source: str = "csv", **sections: object) -> Settings:
    """Return settings that split in.csv between two files.

    Rows of kind x go to x.csv, the others to rest.csv.
    """
    return {
        "datasource": {"plugin": source, "options": {"path": str(directory / "in.csv")}},
        "sinks": {
            name: {"plugin": "csv", "options": {"path": str(directory / "out" / f"{name}.csv")}}
            for name in ("rest", "x")
        },
        "output_sink": "rest",
        "gates": [
            {"name": "split", "condition": "row['kind'] == 'x'", "routes": {"true": "x", "false": "continue"}},
        ],
        "landscape": {"url": f"sqlite:///{directory / 'audit.db'}"},
        **sections,
    }


def build(directory: Path, settings: Settings, *plugins: type[Plugin], environ: Environ = NO_ENVIRON) -> Pipeline:
    """Build a pipeline from settings, by way of a file.

    `plugins` come in addition to the installed ones.
    """
    path = directory / "settings.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    manager = PluginManager([*PluginManager.installed().all(), *plugins])
    return build_pipeline(load_settings(path, environ=environ, plugins=manager), manager)


def execute(
    pipeline: Pipeline,
    observer: Observer | None = None,
    *,
    environ: Environ = NO_ENVIRON,
    force: bool = False,
    workers: Workers | None = None,
) -> RunResult:
    """Run a pipeline on the database of its settings.

    With `force`, outputs replace files that no run wrote.
    """
    keys = load_run_keys(pipeline.settings, environ, source="settings.yaml")
    with LandscapeDB.from_url(pipeline.settings.landscape.url) as db:
        return Orchestrator(db, pipeline, keys, observer, force=force, workers=workers).run()


def run(
    directory: Path, settings: Settings, *plugins: type[Plugin], environ: Environ = NO_ENVIRON
) -> tuple[RunResult, Records]:
    """Run settings, and return the summary and the trail.

    The run must complete with a sound trail.
    """
    result = execute(build(directory, settings, *plugins, environ=environ), environ=environ)
    records = trail(directory, settings["landscape"]["url"])
    assert records["run"][0]["run_id"] == result.run_id
    assert_sound(records, status="completed")
    return result, records


def trail(directory: Path, url: str | None = None) -> Records:
    """Export the newest run, grouped by record type."""
    with LandscapeDB.from_url(url or f"sqlite:///{directory / 'audit.db'}", create_tables=False) as db:
        with db.connection() as connection:
            newest = connection.exec_driver_sql("SELECT run_id FROM runs ORDER BY started_at DESC, run_id DESC LIMIT 1")
            run_id = newest.scalar_one()
        grouped: Records = LandscapeExporter(db).export_run_grouped(run_id)
    return grouped


def groups_of(patch: pytest.MonkeyPatch, rows: int, visits: int = 10_000) -> None:
    """Limit the rows and visits of a commit."""
    patch.setattr(partitions_module, "PARTITION_ROWS", rows)
    patch.setattr(partitions_module, "_PARTITION_VISITS", visits)


def assert_sound(records: Records, *, status: str, resumed: bool = False) -> None:
    """Assert what holds of the trail of every run."""
    assert records["run"][0]["status"] == status
    ended = Counter(outcome["token_id"] for outcome in records.get("token_outcome", []) if outcome["is_terminal"])
    assert ended == Counter({token["token_id"]: 1 for token in records.get("token", [])})
    assert {token["row_id"] for token in records.get("token", [])} == {row["row_id"] for row in records.get("row", [])}
    indexes = sorted(row["row_index"] for row in records.get("row", []))
    assert indexes == list(range(len(indexes)))
    assert [state for state in records.get("node_state", []) if state["status"] == "open"] == []
    expected = {"completed"} if status == "completed" and not resumed else {"completed", "failed"}
    assert {operation["status"] for operation in records["operation"]} <= expected
    published = {operation["node_id"] for operation in records["operation"] if operation["status"] == "completed"}
    sinks = [artifact["sink_node_id"] for artifact in records.get("artifact", [])]
    assert len(set(sinks)) == len(sinks)
    for artifact in records.get("artifact", []):
        if artifact["sink_node_id"] in published and artifact["artifact_type"] != "database":
            with open_place(place_of(artifact["path_or_uri"])) as file:
                content = file.read()
            assert hashlib.sha256(content).hexdigest() == artifact["content_hash"]
            assert len(content) == artifact["size_bytes"]


def outcomes(records: Records) -> list[tuple[str, str | None]]:
    """Return each row's outcome and sink, in source order."""
    index = {row["row_id"]: row["row_index"] for row in records.get("row", [])}
    row_of = {token["token_id"]: index[token["row_id"]] for token in records.get("token", [])}
    found = sorted(records.get("token_outcome", []), key=lambda outcome: row_of[outcome["token_id"]])
    return [(outcome["outcome"], outcome["sink_name"]) for outcome in found]


# -- graphs ----------------------------------------------------------------------------------------------------------


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


def wired_settings(directory: Path, sources: Mapping[str, list[RowData]], *sinks: str, **sections: object) -> Settings:
    """Return wired settings with these sources, sinks and sections.

    Every source writes to the connection `rows`, and every sink writes JSON lines.
    """
    return {
        "sources": {
            name: {"plugin": "given", "on_success": "rows", "options": {"rows": rows}} for name, rows in sources.items()
        },
        "sinks": {name: {"plugin": "jsonl", "options": {"path": str(directory / f"{name}.jsonl")}} for name in sinks},
        "landscape": {"url": f"sqlite:///{directory / 'audit.db'}"},
        **sections,
    }
