"""Rows that failed say in the file why."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from elspeth.contracts.plugins import Source, SourceOptions
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.core.canonical import stable_hash
from elspeth.core.settings.problems import SettingsError
from tests.engine.pipelines import MarkTransform, Settings, build, execute, run, trail

ERRORS = ("error_reason", "error_step", "error_source", "error_line", "error_row")
REFUSED = {"error_reason": "refused", "error_step": "mark_0", "error_source": "lines", "error_line": None}
INVALID = {
    "error_reason": "line 3: expected an integer, got text of 1 character",
    "error_step": "lines",
    "error_source": "in.txt",
    "error_line": 3,
    "error_row": 1,
}


class LinesSource(Source):
    """A source of four rows; the second is invalid."""

    name = "lines"
    plugin_version = "1"
    options_model = SourceOptions

    def read(self) -> Iterator[RowData | InvalidRow]:
        """Yield the rows."""
        yield {"id": 1}
        yield InvalidRow(
            data={"id": "x"}, error="line 3: expected an integer, got text of 1 character", file="in.txt", line=3
        )
        yield {"id": 3}
        yield {"id": 4, "error_line": 9}


def settings(directory: Path, bad: dict[str, Any], **sections: object) -> Settings:
    """Return settings in which all but one row fail."""
    return {
        "datasource": {"plugin": "lines", "options": {"on_validation_failure": "bad"}},
        "row_plugins": [{"plugin": "mark", "options": {"field": "ok", "fail": [3, 4], "on_error": "bad"}}],
        "sinks": {"out": {"plugin": "jsonl", "options": {"path": str(directory / "out.jsonl")}}, "bad": bad},
        "output_sink": "out",
        "landscape": {"url": f"sqlite:///{directory / 'audit.db'}"},
        **sections,
    }


def sink(directory: Path, plugin: str, **more: object) -> dict[str, Any]:
    options = {"path": str(directory / f"bad.{plugin}")} | more.pop("options", {})  # type: ignore[operator]
    return {"plugin": plugin, "options": options, **more}


def lines(path: Path) -> list[RowData]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_failed_rows_in_a_file_say_why_and_where_they_failed(tmp_path: Path) -> None:
    _, records = run(tmp_path, settings(tmp_path, sink(tmp_path, "jsonl")), LinesSource, MarkTransform)
    rows = lines(tmp_path / "bad.jsonl")
    renamed = {f"{name}_": value for name, value in (REFUSED | {"error_row": 3}).items()}
    assert rows == [{"id": "x"} | INVALID, {"id": 3} | REFUSED | {"error_row": 2}, {"id": 4, "error_line": 9} | renamed]
    assert lines(tmp_path / "out.jsonl") == [{"id": 1, "ok": True}]
    node = next(each for each in records["node"] if each["node_id"].startswith("sink_bad"))
    assert json.loads(node["config_json"])["error_fields"] is True
    visits = [each for each in records["node_state"] if each["node_id"] == node["node_id"]]
    hashes = [stable_hash(row) for row in ({"id": "x"}, {"id": 3}, {"id": 4, "error_line": 9})]
    assert [each["input_hash"] for each in visits] == hashes
    assert [each["output_hash"] for each in visits] == [stable_hash(row) for row in rows]


@pytest.mark.parametrize(("plugin", "nothing"), [("csv", ""), ("parquet", None)])
def test_every_kind_of_file_has_columns_for_the_error_fields(tmp_path: Path, plugin: str, nothing: str | None) -> None:
    run(tmp_path, settings(tmp_path, sink(tmp_path, plugin)), LinesSource, MarkTransform)
    path = tmp_path / f"bad.{plugin}"
    if plugin == "csv":
        rows: list[dict[str, Any]] = list(csv.DictReader(path.read_text().splitlines()))
    else:
        rows = pq.read_table(path).to_pylist()
    assert [row["error_reason"] for row in rows[:2]] == [INVALID["error_reason"], "refused"]
    assert [str(row["error_line"] or "none") for row in rows] == ["3", "none", "9"]
    assert [str(row["error_row"] or "none") for row in rows] == ["1", "2", "none"]
    assert rows[1]["error_line"] == nothing


@pytest.mark.parametrize(
    "bad",
    [
        {"error_fields": False},
        {"options": {"schema": {"mode": "strict", "fields": ["id: any", "error_line: any?"]}}},
    ],
    ids=["switched off", "strict schema"],
)
def test_a_sink_that_does_not_ask_for_error_fields_gets_the_rows_alone(tmp_path: Path, bad: dict[str, Any]) -> None:
    run(tmp_path, settings(tmp_path, sink(tmp_path, "jsonl", **bad)), LinesSource, MarkTransform)
    assert lines(tmp_path / "bad.jsonl") == [{"id": "x"}, {"id": 3}, {"id": 4, "error_line": 9}]


def test_a_sink_with_other_rows_gets_error_fields_only_if_asked(tmp_path: Path) -> None:
    bad = sink(tmp_path, "jsonl")
    run(tmp_path, settings(tmp_path, bad, output_sink="bad", sinks={"bad": bad}), LinesSource, MarkTransform)
    assert lines(tmp_path / "bad.jsonl")[0] == {"id": 1, "ok": True}
    bad["error_fields"] = True
    run(tmp_path, settings(tmp_path, bad, output_sink="bad", sinks={"bad": bad}), LinesSource, MarkTransform)
    rows = lines(tmp_path / "bad.jsonl")
    assert rows[0] == {"id": 1, "ok": True} | dict.fromkeys(ERRORS)
    assert rows[1] == {"id": "x"} | INVALID


def test_a_table_gets_error_fields_only_if_asked(tmp_path: Path, database_url: str) -> None:
    names = []
    for table, wanted in [("plain", {}), ("full", {"error_fields": True})]:
        options = {"url": database_url, "table": table}
        bad = {"plugin": "database", "options": options, **wanted}
        execute(build(tmp_path, settings(tmp_path, bad), LinesSource, MarkTransform), force=True)
        engine = sa.create_engine(database_url)
        names.append([column["name"] for column in sa.inspect(engine).get_columns(table)])
        engine.dispose()
    assert names[0] == ["id", "error_line"]
    assert names[1][:6] == ["id", *ERRORS]


def test_a_schema_that_refuses_the_error_fields_is_a_problem(tmp_path: Path) -> None:
    schema = {"mode": "strict", "fields": ["id: any", "error_line: any", "error_row: int"]}
    bad = sink(tmp_path, "jsonl", error_fields=True, options={"schema": schema})
    with pytest.raises(SettingsError) as raised:
        build(tmp_path, settings(tmp_path, bad), LinesSource, MarkTransform)
    assert [str(each) for each in raised.value.problems] == [
        (
            "sinks.bad.error_fields: the schema of the sink allows no field 'error_reason', 'error_step',"
            " 'error_source': name them in the schema, make it free, or leave error_fields out"
        )
    ]


def test_error_fields_do_not_change_the_ids_of_other_nodes(tmp_path: Path) -> None:
    ids = []
    for wanted in (False, True):
        directory = tmp_path / str(wanted)
        directory.mkdir()
        bad = {"plugin": "null", "error_fields": wanted}
        settings_ = settings(directory, bad) | {"sinks": {"out": {"plugin": "null"}, "bad": bad}}
        execute(build(directory, settings_, LinesSource, MarkTransform))
        ids.append({node["node_id"] for node in trail(directory)["node"]})
    assert len(ids[0] ^ ids[1]) == 2
