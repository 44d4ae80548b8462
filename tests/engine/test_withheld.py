"""Withheld values are in nothing that leaves the database."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from pyarrow import parquet

from elspeth.contracts.rows import RowData
from elspeth.core.landscape.recording._visits import VisitRecording
from tests.engine.planted import (
    NAME,
    NUMBER,
    RAISING_SINKS,
    TEXT,
    VALUES,
    Planted,
    found_in,
    raised,
    settings_of,
)
from tests.fixtures.llm_server import Answer, answers, llm_server, says

JSONL = {"plugin": "jsonl", "options": {"path": "in.jsonl"}}
STRICT = {"mode": "strict", "fields": ["n: int", "f: float?", "b: bool?", "t: str?"]}
ERRORS = len(list(raised(None)))


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Planted:
    monkeypatch.chdir(tmp_path)
    return Planted(monkeypatch, capsys)


def written(rows: list[RowData], path: str = "in.jsonl") -> None:
    Path(path).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def each_wrong(field: str, **others: object) -> list[RowData]:
    """Return a row for each planted value in a field."""
    return [{**others, field: value} for value in VALUES.values()]


def each_raised(**others: object) -> list[RowData]:
    """Return a row for each exception of a plugin."""
    return [{"value": TEXT, **others, "raise": number} for number in range(ERRORS)]


def refused_rows() -> list[RowData]:
    """Return rows that the strict schema refuses.

    Each has planted values in one place.
    """
    wrong = [row for field in ("n", "f", "b", "t") for row in each_wrong(field, n=TEXT)]
    return [*wrong, {"n": 1, NAME: TEXT}, {"n": 10**16}, {"f": TEXT}, {"n": 1, "b": NUMBER}]


def csv_lines() -> bytes:
    """Return a CSV file with every kind of bad record."""
    good = b"n,f,b,t\n1,,,fine\n"
    values = [TEXT, str(NUMBER), "1_0" + TEXT, "48151.62342x"]
    wrong = "".join(f"{value},{value},{value},{value}\n" for value in values).encode()
    ragged = f"{TEXT}\n1,2,true,x,{TEXT},{NUMBER}\n".encode()
    return good + wrong + ragged + b'1,"Zqxjkv"x,,\n' + b"Zqxjkv\xff,,,\n" + b"1,Zqxjkv\0,,\n"


def json_lines() -> bytes:
    """Return JSON lines with every kind of bad line."""
    broken = [
        f'{{"n": "{TEXT}"',
        f'{{"n": {NUMBER}e9, "n": "{TEXT}"}}',
        f'{{"{NAME}": 1, "{NAME}": 2, "n": 1}}',
        f'{{"n": NaN, "t": "{TEXT}"}}',
        f'["{TEXT}", {NUMBER}]',
        f'"{TEXT}"',
        f"{NUMBER}",
        f'{{"n": {NUMBER}{"7" * 5_000}}}',
        f'{{"t": "{TEXT}\\ud800", "n": 1}}',
    ]
    lines = [json.dumps(row) for row in refused_rows()] + broken
    return "".join(line + "\n" for line in lines).encode() + b'{"n": "Zqxjkv\xff"}\n'


def json_array() -> bytes:
    """Return a JSON array with the rows it can hold."""
    elements = [json.dumps(row) for row in refused_rows()]
    elements += [f'["{TEXT}", {NUMBER}]', f'"{TEXT}"', f'{{"t": "{TEXT}\\ud800", "n": 1}}']
    return ("[" + ",\n".join(elements) + "]").encode()


@pytest.mark.parametrize(
    ("plugin", "content"),
    [("csv", csv_lines()), ("jsonl", json_lines()), ("json", json_lines()), ("json", json_array())],
)
def test_values_of_a_row_that_a_file_source_refuses_are_withheld(planted: Planted, plugin: str, content: bytes) -> None:
    Path("in").write_bytes(content)
    options = {"path": "in", "schema": STRICT}
    shown = planted.run(settings_of({"plugin": plugin, "options": options}))
    assert found_in(shown) == []
    assert TEXT.encode() in planted.withheld()


@pytest.mark.parametrize(
    "content",
    [f'[{{"n": 1}}, {{"n": "{TEXT}" {TEXT}]', f'[{{"n": 1}}, {{"{NAME}": 1, "{NAME}": 2}}]', f'[1] "{TEXT}"', "[NaN]"],
)
def test_values_of_an_invalid_json_array_are_withheld(planted: Planted, content: str) -> None:
    Path("in").write_text(content)
    shown = planted.run(settings_of({"plugin": "json", "options": {"path": "in", "schema": STRICT}}))
    assert found_in(shown) == []


def test_values_of_a_row_that_a_typed_source_refuses_are_withheld(planted: Planted, database_url: str) -> None:
    columns: dict[str, list[Any]] = {"n": [TEXT, str(NUMBER), None], "t": [TEXT, TEXT, TEXT], NAME: [1, 2, 3]}
    parquet.write_table(pa.table(columns), "in.parquet")
    options: dict[str, Any] = {"schema": STRICT}
    assert found_in(planted.run(settings_of({"plugin": "parquet", "options": {**options, "path": "in.parquet"}}))) == []
    query = f"SELECT '{TEXT[:6]}' || 'x' AS n, 'Zqxjkv' AS t UNION ALL SELECT '1', 'Zqxjkv'"
    query = query.replace("Zqxjkv", "Z' || 'qxjkv")  # the query is in the settings, which are recorded
    shown = planted.run(settings_of({"plugin": "sql", "options": {**options, "url": database_url, "query": query}}))
    assert found_in(shown) == []


@pytest.mark.postgres
def test_values_for_which_a_query_fails_are_withheld(planted: Planted, postgresql_url: str) -> None:
    query = "SELECT ('Z' || 'qxjkv')::integer AS n"
    shown = planted.run(settings_of({"plugin": "sql", "options": {"url": postgresql_url, "query": query}}))
    assert found_in(shown) == []
    assert b"InvalidTextRepresentation" in shown["run: stderr"]


STEPS: dict[str, tuple[list[RowData], dict[str, Any]]] = {
    "passthrough": (refused_rows(), {"row_plugins": [{"plugin": "passthrough", "options": {"schema": STRICT}}]}),
    "field_mapper": (
        each_wrong("m"),
        {"row_plugins": [{"plugin": "field_mapper", "options": {"computed": {"x": "-row['m'] % 0"}}}]},
    ),
    "field_mapper in": (
        each_wrong("m"),
        {"row_plugins": [{"plugin": "field_mapper", "options": {"computed": {"x": "row['m'] in row['m']"}}}]},
    ),
    "keyword_filter": (
        each_wrong("m"),
        {"row_plugins": [{"plugin": "keyword_filter", "options": {"fields": "all", "blocked_patterns": ["^Z"]}}]},
    ),
    "json_explode": (
        [*each_wrong("m"), {"m": f'["{TEXT}", NaN]'}, {"m": f'{{"{NAME}": 1}}'}],
        {"row_plugins": [{"plugin": "json_explode", "options": {"array_field": "m"}}]},
    ),
    "thrower": (
        [
            *(row for value in VALUES.values() for row in each_raised(value=value)),
            {"value": TEXT, "answer": "value"},
            {"value": NUMBER, "answer": "value"},
            {"value": TEXT, "answer": "none"},
            {"value": TEXT, "answer": "items"},
            {"value": TEXT, "answer": "set"},
            {"value": TEXT, "answer": "key"},
            {"value": TEXT, "answer": "big"},
        ],
        {"row_plugins": [{"plugin": "thrower"}]},
    ),
    "batch_thrower": (
        each_raised(),
        {"aggregations": [{"name": "each", "plugin": "batch_thrower", "trigger": {"count": 1}}]},
    ),
    "throwing_caller": (
        [
            *each_raised(at="request"),
            *each_raised(at="send"),
            *each_raised(at="result"),
            *each_wrong("value", at="call"),
        ],
        {"row_plugins": [{"plugin": "throwing_caller"}]},
    ),
    "batch_stats": (
        [row for row in each_wrong("v") if not isinstance(row["v"], int | float)],
        {
            "aggregations": [
                {"name": "each", "plugin": "batch_stats", "trigger": {"count": 1}, "options": {"value_field": "v"}}
            ]
        },
    ),
    "batch_replicate": (
        each_wrong("copies"),
        {
            "aggregations": [
                {"name": "each", "plugin": "batch_replicate", "trigger": {"count": 1}, "output_mode": "transform"}
            ]
        },
    ),
    "gate": (
        each_wrong("m"),
        {"gates": [{"name": "way", "condition": "row['m']", "routes": {"one": "continue", "two": "continue"}}]},
    ),
    "trigger": (
        each_wrong("m"),
        {
            "aggregations": [
                {"name": "each", "plugin": "batch_thrower", "trigger": {"condition": "row['m'] % 0 and row['m'] + 1"}}
            ]
        },
    ),
}


@pytest.mark.parametrize("step", STEPS)
def test_values_of_a_row_that_a_step_cannot_process_are_withheld(planted: Planted, step: str) -> None:
    rows, sections = STEPS[step]
    written(rows)
    shown = planted.run(settings_of(JSONL, **sections))
    assert found_in(shown) == []
    assert b'"transform_error"' in shown["e_jsonl"]


def test_values_are_withheld_from_everything_that_is_shown(planted: Planted) -> None:
    written([{"n": TEXT, "m": 1}, {"n": 1, "m": TEXT, NAME: 2}, {"n": 2, "m": 2}, {"n": 3, "m": 3, "late": TEXT}])
    source = {"plugin": "jsonl", "options": {"path": "in.jsonl", "schema": {"mode": "free", "fields": ["n: int"]}}}
    steps = [{"plugin": "field_mapper", "options": {"computed": {"x": "row['m'] + 1"}}}, {"plugin": "throwing_caller"}]
    shown = planted.run(settings_of(source, row_plugins=steps, sink=SINKS["csv"])) | planted.look_everywhere()
    assert found_in(shown) == []
    assert {
        "e_csv/transform_error.csv",
        "e_parquet/validation_error.parquet",
        "e_bag/data/records.jsonl",
    } <= shown.keys()
    assert {"explain 3 []: stdout", "proof_transform_error.json", "runs: stdout"} <= shown.keys()


ECHO = json.dumps({"error": {"message": f"cannot answer {TEXT} {NUMBER}"}}).encode()


def _status_line(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(f"{TEXT} {TEXT}\r\n\r\n".encode())


ANSWERS: dict[str, Answer] = {
    "an error that repeats the question": answers(400, ECHO),
    "no JSON": answers(200, ECHO[:-3]),
    "no object": answers(200, json.dumps([TEXT]).encode()),
    "a refusal": answers(200, json.dumps({"choices": [{"message": {"refusal": TEXT}}]}).encode()),
    "text that is no JSON": says(TEXT),
    "text that is no object": says(f'"{TEXT}"'),
    "text that does not fit": says(json.dumps({"mood": TEXT, NAME: 1})),
    "a status line of its own": _status_line,
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_values_that_a_language_model_repeats_are_withheld(planted: Planted, answer: str) -> None:
    written([{"m": TEXT, "n": NUMBER}])
    with llm_server(ANSWERS[answer]) as server:
        options = {
            "base_url": server.url,
            "service": "stub",
            "model": "stub",
            "prompt": "{{ row.m }} {{ row.n }}",
            "response_schema": ["mood: int"],
        }
        shown = planted.run(settings_of(JSONL, row_plugins=[{"plugin": "llm", "options": options}]))
    assert found_in(shown) == []
    assert b'"transform_error"' in shown["e_jsonl"]


@pytest.mark.parametrize("prompt", ["{{ row[row.m] }}", "{{ row.m | round }}", "{{ row.m[row.n] }}"])
def test_values_for_which_no_prompt_can_be_made_are_withheld(planted: Planted, prompt: str) -> None:
    written([{"m": TEXT, "n": NUMBER}])
    options = {"base_url": "http://127.0.0.1:1", "model": "stub", "prompt": prompt}
    shown = planted.run(settings_of(JSONL, row_plugins=[{"plugin": "llm", "options": options}]))
    assert found_in(shown) == []
    assert b'"transform_error"' in shown["e_jsonl"]


SINKS: dict[str, dict[str, Any]] = {
    "csv": {"plugin": "csv", "options": {"path": "out.csv"}},
    "jsonl": {"plugin": "jsonl", "options": {"path": "out.jsonl", "schema": STRICT}},
    "parquet": {"plugin": "parquet", "options": {"path": "out.parquet", "schema": STRICT}},
    "throwing_rows": {"plugin": "throwing_rows", "options": {"path": "out"}},
}


@pytest.mark.parametrize("sink", SINKS)
def test_values_of_a_row_that_a_sink_refuses_are_withheld(planted: Planted, sink: str) -> None:
    written([{"n": 1}, *refused_rows()])
    shown = planted.run(settings_of(JSONL, sink=SINKS[sink]))
    # The columns of a file are its shape, not its content: a checkpoint names them.
    assert found_in(shown) == []
    assert b'"failed"' in shown["e_jsonl"]
    assert TEXT.encode() in planted.withheld()


def test_values_of_rows_that_a_table_refuses_are_withheld(planted: Planted, database_url: str) -> None:
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE target (n TEXT PRIMARY KEY, t INTEGER CHECK (t > 0))")
    engine.dispose()
    options = {"url": database_url, "table": "target", "staging_directory": "staging"}
    for rows in ([{NAME: TEXT}, {"n": TEXT}, {"n": TEXT}], [{"n": "a", "t": TEXT}], [{"n": TEXT, "t": -NUMBER}]):
        written([*rows])
        shown = planted.run(settings_of(JSONL, sink={"plugin": "database", "options": options}))
        assert found_in(shown) == []


@pytest.mark.parametrize("number", range(ERRORS))
def test_values_in_the_exception_of_a_source_are_withheld(planted: Planted, number: int) -> None:
    shown = planted.run(settings_of({"plugin": "raising_source", "options": {"number": number}}))
    assert found_in(shown) == []
    assert b"source 'raising_source' failed: " in shown["run: stderr"]


@pytest.mark.parametrize("sink", RAISING_SINKS)
def test_values_in_the_exception_of_a_sink_are_withheld(planted: Planted, sink: str) -> None:
    written([{"n": TEXT}])
    shown = planted.run(settings_of(JSONL, sink={"plugin": sink, "options": {"path": "out"}}))
    assert found_in(shown) == []
    assert b"sink 'out' failed: LookupError" in shown["run: stderr"]


def test_values_in_refusals_of_the_audit_database_are_withheld(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        detail = f"new row violates a check\nDETAIL: Failing row contains ({TEXT}, {NUMBER})."
        raise sa.exc.IntegrityError("INSERT", {"row_data_json": TEXT}, RuntimeError(detail))

    written([{"n": 1}, {"n": TEXT}])
    monkeypatch.setattr(VisitRecording, "record_transform_error", refuse)
    steps = [{"plugin": "passthrough", "options": {"schema": STRICT}}]
    shown = planted.run(settings_of(JSONL, row_plugins=steps))
    assert found_in(shown) == []
    assert b"error: audit database: RuntimeError" in shown["run: stderr"]
