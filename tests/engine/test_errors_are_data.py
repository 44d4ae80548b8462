"""Errors, recorded or raised in one clear message.

They are recorded where a row is to blame.
"""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from elspeth.contracts.plugins import PluginError, Source, SourceOptions, Transform, TransformOptions
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.core.canonical import canonical_bytes, stable_hash
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.predecessor_reads import RowDataState
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.payload_store import FilesystemPayloadStore
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.outputs.policy import OutputRefusedError
from elspeth.plugins.csv import CsvSink
from tests.engine.pipelines import (
    assert_sound,
    build,
    csv_settings,
    execute,
    graph_settings,
    outcomes,
    run,
    run_graph,
    trail,
    written,
)

HUGE = 16_777_217


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"2\n", "line 3: expected 2 fields, got 1"),
        (b"2,x,more\n", "line 3: expected 2 fields, got 3"),
        (b"2,\xff\n", "line 3: bytes that are not UTF-8"),
        (b"2,a\0b\n", "line 3: NUL characters"),
        (b'2,"a"b\n', "line 3: ',' expected after '\"'"),
    ],
)
def test_a_bad_line_of_a_csv_file_is_an_error_of_its_row(tmp_path: Path, line: bytes, error: str) -> None:
    (tmp_path / "in.csv").write_bytes(b"id,kind\n1,x\n" + line + b"3,y\n")
    _, records = run(tmp_path, csv_settings(tmp_path))
    assert outcomes(records) == [("routed", "x"), ("quarantined", None), ("completed", "rest")]
    assert [each["error"] for each in records["validation_error"]] == [error]


def test_a_field_too_large_to_hold_ends_the_run_after_the_rows_before_it(tmp_path: Path) -> None:
    with (tmp_path / "in.csv").open("wb") as file:
        file.write(b"id,kind\n1,x\n2,")
        file.write(b"x" * HUGE)
        file.write(b"\n")
    with pytest.raises(PluginError) as caught:
        execute(build(tmp_path, csv_settings(tmp_path)))
    assert str(caught.value) == f"{tmp_path / 'in.csv'}, line 3: longer than 16777216 characters"
    records = trail(tmp_path)
    assert_sound(records, status="interrupted")
    assert len(records["row"]) == 1


def test_an_unclosed_quote_ends_the_run_which_can_be_resumed_with_a_corrected_file(tmp_path: Path) -> None:
    lines = [f"{number},{'x' if number % 2 else 'y'}\n" for number in range(3_000)]
    mended = "id,kind\n" + "".join(lines)
    lines[1_000] = '1000,"y\n'
    (tmp_path / "in.csv").write_text("id,kind\n" + "".join(lines))
    pipeline = build(tmp_path, csv_settings(tmp_path))
    with pytest.raises(PluginError) as caught:
        execute(pipeline)
    limit = "1,000 lines: close it; if the record is longer, raise max_record_lines and run the pipeline again"
    assert str(caught.value) == f"{tmp_path / 'in.csv'}, line 1002: a quote opens here and is not closed within {limit}"
    records = trail(tmp_path)
    assert_sound(records, status="interrupted")
    assert len(records["row"]) == 1_000
    (tmp_path / "in.csv").write_text(mended)
    with LandscapeDB.from_url(pipeline.settings.landscape.url) as db:
        keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
        result = Orchestrator(db, build(tmp_path, csv_settings(tmp_path)), keys).resume(records["run"][0]["run_id"])
    assert (result.rows, result.rows_by_sink, result.quarantined) == (3_000, {"rest": 1_500, "x": 1_500}, 0)


def test_a_line_too_large_to_hold_is_an_error_of_its_row_where_lines_are_rows(tmp_path: Path) -> None:
    with (tmp_path / "in.jsonl").open("wb") as file:
        file.write(b'{"id": 1}\n{"id": "')
        file.write(b"x" * HUGE)
        file.write(b'"}\n{"id": 3}\n')
    settings = graph_settings(tmp_path, [])
    settings["datasource"] = {"plugin": "jsonl", "options": {"path": str(tmp_path / "in.jsonl")}}
    result, records = run_graph(tmp_path, settings)
    assert (result.quarantined, written(tmp_path, "out")) == (1, [{"id": 1}, {"id": 3}])
    (error,) = records["validation_error"]
    assert error["error"] == "line 2: longer than 16777216 characters, of which the first are kept"


class RaisingSource(Source):
    """A source with a defect."""

    error: type[BaseException] = KeyError
    name = "raising"
    plugin_version = "1"
    options_model = SourceOptions

    def read(self) -> Iterator[RowData | InvalidRow]:
        """Yield one row, then fail."""
        yield {"id": 1, "kind": "x"}
        raise self.error("oops")


class RaisingSink(CsvSink):
    """A sink with a defect."""

    error: type[BaseException] = KeyError
    name = "raising"

    def sync(self) -> None:
        """Fail."""
        raise self.error("oops")


@pytest.mark.parametrize("error", [KeyError, SystemExit])
def test_a_plugin_that_breaks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    for plugin in (RaisingSource, RaisingSink):
        monkeypatch.setattr(plugin, "error", error)
    kind = error.__name__
    settings = csv_settings(tmp_path)
    settings["datasource"] = {"plugin": "raising"}
    with pytest.raises(PluginError) as caught:
        execute(build(tmp_path, settings, RaisingSource))
    where = r"raised at tests\.engine\.test_errors_are_data line \d+"
    assert re.fullmatch(rf"source 'raising' failed: {kind}: {where}", str(caught.value))
    assert_sound(trail(tmp_path), status="interrupted")
    assert len(trail(tmp_path)["row"]) == 1
    (tmp_path / "in.csv").write_text("id,kind\n1,x\n")
    settings = csv_settings(tmp_path)
    settings["sinks"]["x"]["plugin"] = "raising"
    with pytest.raises(PluginError) as caught:
        execute(build(tmp_path, settings, RaisingSink))
    assert re.fullmatch(rf"sink 'x' failed: {kind}: {where}", str(caught.value))
    assert_sound(trail(tmp_path), status="failed")


@pytest.mark.parametrize("plugin", ["jsonl", "parquet"])
def test_a_sink_whose_path_is_a_directory_ends_the_run_before_the_first_row(tmp_path: Path, plugin: str) -> None:
    (tmp_path / "taken").mkdir()
    settings = csv_settings(tmp_path)
    (tmp_path / "in.csv").write_text("id,kind\n1,x\n")
    settings["sinks"]["x"] = {"plugin": plugin, "options": {"path": str(tmp_path / "taken")}}
    with pytest.raises(OutputRefusedError) as caught:
        execute(build(tmp_path, settings))
    assert str(caught.value) == f"{tmp_path / 'taken'}: expected the path of a file, got that of a directory"
    with LandscapeDB.from_url(settings["landscape"]["url"], create_tables=False) as db:
        assert LandscapeRecorder(db).list_runs() == []
    assert sorted(path.name for path in tmp_path.rglob("*.partial")) == []


def test_the_content_of_rows_is_kept_if_the_settings_ask_for_it(tmp_path: Path) -> None:
    settings = graph_settings(tmp_path, [{"id": 1}], payload_store={"base_path": str(tmp_path / "payloads")})
    _, records = run_graph(tmp_path, settings)
    (row,) = records["row"]
    payloads = FilesystemPayloadStore(tmp_path / "payloads")
    assert payloads.retrieve(row["source_data_ref"]) == canonical_bytes({"id": 1})
    with LandscapeDB.from_url(f"sqlite:///{tmp_path / 'audit.db'}") as db:
        found = LandscapeRecorder(db, payload_store=payloads).get_row_data(row["row_id"])
    assert (found.state, found.data) == (RowDataState.AVAILABLE, {"id": 1})


def test_a_recorded_error_says_where_and_why(tmp_path: Path) -> None:
    plugins = [{"plugin": "field_mapper", "options": {"computed": {"x": "row['a'] + 1"}, "on_error": "bad"}}]
    settings = graph_settings(tmp_path, [{"a": "text"}], "bad", row_plugins=plugins)
    _, records = run_graph(tmp_path, settings)
    (error,) = records["transform_error"]
    (node,) = [node for node in records["node"] if node["node_type"] == "transform"]
    assert (error["transform_id"], error["destination"]) == (node["node_id"], "bad")
    assert error["row_hash"] == stable_hash({"a": "text"})
    assert json.loads(error["error_details_json"]) == {
        "exception": "row['a'] + 1: expected two numbers or two texts, got str and int",
        "type": "RowError",
        "field": "a",
    }


PAIRS = {
    "name": "pairs",
    "plugin": "batch_replicate",
    "trigger": {"count": 2},
    "output_mode": "passthrough",
    "options": {"copies_field": "copies"},
}
FORK = {
    "name": "fork",
    "condition": "True",
    "routes": {"true": "fork", "false": "continue"},
    "fork_to": ["a", "b"],
}


class IdTransform(Transform):
    """A transform that adds what no row can hold."""

    name = "id"
    plugin_version = "1"
    options_model = TransformOptions

    def process(self, row: RowData) -> RowData:
        """Add a UUID to the row."""
        return {**row, "uuid": UUID(int=1)}


@pytest.mark.parametrize(
    ("parts", "failures"),
    [
        ({"aggregations": [PAIRS]}, 1),
        ({"gates": [FORK], "coalesce": [{"name": "meet", "branches": ["a", "b"]}]}, 2),
    ],
)
def test_a_row_that_json_cannot_hold_fails_at_the_step_where_it_would_wait(
    tmp_path: Path, parts: dict[str, object], failures: int
) -> None:
    settings = graph_settings(tmp_path, [{"id": 1}], row_plugins=[{"plugin": "id"}], **parts)
    result, records = run_graph(tmp_path, settings, IdTransform)
    assert result.failed == failures
    details = [each["error_details_json"] for each in records["transform_error"]]
    expected = '{"exception":"Object of type UUID is not JSON serializable","type":"AnswerError"}'
    assert details == [expected] * failures


def test_a_csv_file_holds_every_row_that_failed_whatever_its_fields(tmp_path: Path) -> None:
    content = b'id,kind\nx,a\n2\n3,b,more,still\n4,"q"b\n5,\xff\n6,boom\n7,ok\n'
    (tmp_path / "in.csv").write_bytes(content)
    settings = csv_settings(tmp_path)
    settings["datasource"]["options"] |= {
        "on_validation_failure": "x",
        "schema": {"mode": "free", "fields": ["id: int"]},
    }
    late = {"mappings": {"kind": "sort"}, "computed": {"n": "row['sort'] * 1"}, "on_error": "rest"}
    settings["row_plugins"] = [
        {"plugin": "field_mapper", "options": {"mappings": {"id": "key"}}},
        {"plugin": "keyword_filter", "options": {"fields": ["kind"], "blocked_patterns": ["boom"], "on_error": "rest"}},
        {"plugin": "field_mapper", "options": late},
    ]
    settings["gates"] = [{"name": "split", "condition": "True", "routes": {"true": "x", "false": "continue"}}]
    _, records = run(tmp_path, settings)
    with (tmp_path / "out" / "x.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"id": "x", "kind": "a", "__extra__": ""},
            {"id": "2", "kind": "", "__extra__": ""},
            {"id": "3", "kind": "b", "__extra__": '["more", "still"]'},
            {"id": "", "kind": "", "__extra__": '{"__raw__": "4,\\"q\\"b\\n"}'},
            {"id": "5", "kind": "\\xff", "__extra__": ""},
        ]
    with (tmp_path / "out" / "rest.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"key": "6", "kind": "boom", "__extra__": ""},
            {"key": "7", "kind": "ok", "__extra__": ""},
        ]
    assert {outcome for outcome, _ in outcomes(records)} == {"quarantined", "failed"}
    assert None not in {sink for _, sink in outcomes(records)}
