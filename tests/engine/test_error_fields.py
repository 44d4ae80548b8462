"""Failed rows in a file have fields with the reason."""

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
from tests.engine.pipelines import MarkTransform, Settings, build, execute, run

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


PLUGINS = (LinesSource, MarkTransform)


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
    _, records = run(tmp_path, settings(tmp_path, sink(tmp_path, "jsonl")), *PLUGINS)
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


def test_csv_and_parquet_files_have_columns_for_the_error_fields(tmp_path: Path) -> None:
    given = settings(tmp_path, sink(tmp_path, "csv"))
    given["sinks"]["worse"] = sink(tmp_path, "parquet")
    given["row_plugins"][0]["options"]["on_error"] = "worse"
    run(tmp_path, given, *PLUGINS)
    (invalid,) = csv.DictReader((tmp_path / "bad.csv").read_text().splitlines())
    assert invalid == {"id": "x", **{name: str(value) for name, value in INVALID.items()}, "__extra__": ""}
    refused = pq.read_table(tmp_path / "bad.parquet").to_pylist()
    assert [(row["error_reason"], row["error_reason_"]) for row in refused] == [("refused", None), (None, "refused")]
    assert [(row["error_line"], row["error_row"], row["error_row_"]) for row in refused] == [
        (None, 2, None),
        (9, None, 3),
    ]


@pytest.mark.parametrize(
    ("bad", "sections", "has_fields"),
    [
        ({}, {}, True),
        ({"error_fields": False}, {}, False),
        ({"options": {"schema": {"mode": "strict", "fields": ["id: any"]}}}, {}, False),
        ({"options": {"schema": {"mode": "free", "fields": ["id: any"]}}}, {}, True),
        ({}, {"output_sink": "bad"}, False),
        ({"error_fields": True}, {"output_sink": "bad"}, True),
    ],
    ids=["file", "switched off", "strict schema", "free schema", "with other rows", "with other rows, asked for"],
)
def test_a_sink_gets_error_fields_for_failed_rows_or_on_request(
    tmp_path: Path, bad: dict[str, Any], sections: dict[str, Any], has_fields: bool
) -> None:
    sinks = {"sinks": {"bad": sink(tmp_path, "jsonl", **bad)}} if sections else {}
    pipeline = build(tmp_path, settings(tmp_path, sink(tmp_path, "jsonl", **bad), **sections, **sinks), *PLUGINS)
    assert pipeline.error_sinks == ({"bad"} if has_fields else set())


def test_other_rows_in_the_same_sink_have_empty_error_fields(tmp_path: Path) -> None:
    bad = sink(tmp_path, "jsonl", error_fields=True)
    run(tmp_path, settings(tmp_path, bad, output_sink="bad", sinks={"bad": bad}), *PLUGINS)
    rows = lines(tmp_path / "bad.jsonl")
    assert rows[0] == {"id": 1, "ok": True} | dict.fromkeys(ERRORS)
    assert rows[1] == {"id": "x"} | INVALID


def test_a_table_gets_error_fields_only_on_request(tmp_path: Path, database_url: str) -> None:
    bad = {"plugin": "database", "options": {"url": database_url, "table": "bad"}}
    assert build(tmp_path, settings(tmp_path, bad), *PLUGINS).error_sinks == set()
    execute(build(tmp_path, settings(tmp_path, bad | {"error_fields": True}), *PLUGINS))
    engine = sa.create_engine(database_url)
    names = [column["name"] for column in sa.inspect(engine).get_columns("bad")]
    engine.dispose()
    assert names[:6] == ["id", *ERRORS]


def test_a_schema_that_refuses_the_error_fields_is_a_problem(tmp_path: Path) -> None:
    schema = {"mode": "strict", "fields": ["id: any", "error_line: any", "error_row: int"]}
    bad = sink(tmp_path, "jsonl", error_fields=True, options={"schema": schema})
    with pytest.raises(SettingsError) as raised:
        build(tmp_path, settings(tmp_path, bad), *PLUGINS)
    assert [str(each) for each in raised.value.problems] == [
        (
            "sinks.bad.error_fields: the schema of the sink allows no field 'error_reason', 'error_step',"
            " 'error_source': name them in the schema, make it free, or leave error_fields out"
        )
    ]


def test_error_fields_do_not_change_the_ids_of_other_nodes(tmp_path: Path) -> None:
    plain, full = (
        {node.node_id for node in build(tmp_path, settings(tmp_path, bad), *PLUGINS).nodes.values()}
        for bad in ({"plugin": "null"}, {"plugin": "null", "error_fields": True})
    )
    assert {name.rpartition("_")[0] for name in plain ^ full} == {"sink_bad"}
