from __future__ import annotations

import hashlib
import json
import math

import pytest

from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from tests.fixtures.records import record_graph

UNSTORABLE = {"text": "lone \udcff", "number": math.nan}


def sha256(text: str | None) -> str:
    return hashlib.sha256((text or "").encode()).hexdigest()


@pytest.fixture
def token_id(recorder: LandscapeRecorder) -> str:
    record_graph(recorder)
    recorder.create_row("run", "source", 0, {}, row_id="row")
    return recorder.create_token("row").token_id


@pytest.mark.parametrize("node_id", ["source", None])
def test_a_validation_error_is_recorded(recorder: LandscapeRecorder, node_id: str | None) -> None:
    record_graph(recorder)
    error_id = recorder.record_validation_error(
        "run",
        node_id,
        {"id": "x"},
        "id: expected \x00 int",
        "strict",
        "quarantine",
        violation_type="type_mismatch",
        original_field_name="Id",
        normalized_field_name="id",
        expected_type="int",
        actual_type="str",
    )
    (found,) = recorder.get_validation_errors_for_run("run")
    assert (found.error_id, found.node_id, found.error) == (error_id, node_id, "id: expected \ufffd int")
    assert (found.row_data_json, found.row_hash) == ('{"id":"x"}', sha256('{"id":"x"}'))
    assert (found.schema_mode, found.destination) == ("strict", "quarantine")
    assert (found.violation_type, found.expected_type, found.actual_type) == ("type_mismatch", "int", "str")
    assert (found.original_field_name, found.normalized_field_name) == ("Id", "id")


def test_validation_errors_are_found_by_the_content_of_the_row(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    ids = [
        recorder.record_validation_error("run", "source", {"id": value}, "no", "strict", "discard")
        for value in ("x", "y", "x")
    ]
    found = recorder.get_validation_errors_for_row("run", sha256('{"id":"x"}'))
    assert sorted(each.error_id for each in found) == sorted([ids[0], ids[2]])
    assert len(recorder.get_validation_errors_for_run("run")) == 3
    assert recorder.get_validation_errors_for_row("nowhere", sha256('{"id":"x"}')) == []
    assert recorder.get_validation_errors_for_run("nowhere") == []


def test_a_transform_error_is_recorded(recorder: LandscapeRecorder, token_id: str) -> None:
    error_id = recorder.record_transform_error("run", token_id, "transform", {"id": 1}, {"reason": "zero"}, "errors")
    assert recorder.get_transform_errors_for_run("run") == recorder.get_transform_errors_for_token(token_id)
    (found,) = recorder.get_transform_errors_for_token(token_id, run_id="run")
    assert (found.error_id, found.token_id, found.transform_id) == (error_id, token_id, "transform")
    assert (found.row_data_json, found.row_hash) == ('{"id":1}', sha256('{"id":1}'))
    assert (found.error_details_json, found.destination) == ('{"reason":"zero"}', "errors")
    assert recorder.get_transform_errors_for_token("nowhere") == []
    assert recorder.get_transform_errors_for_run("nowhere") == []


@pytest.mark.parametrize("row_data", [UNSTORABLE, [UNSTORABLE], {1, 2}, "text", None, {1: "a"}], ids=repr)
def test_an_error_is_recorded_whatever_the_row_held(
    recorder: LandscapeRecorder, token_id: str, row_data: object
) -> None:
    recorder.record_validation_error("run", "source", row_data, "no", "strict", "discard")
    recorder.record_transform_error("run", token_id, "transform", row_data, UNSTORABLE, "discard")
    (validation,) = recorder.get_validation_errors_for_run("run")
    (transform,) = recorder.get_transform_errors_for_run("run")
    assert validation.row_data_json == transform.row_data_json
    assert validation.row_hash == transform.row_hash == sha256(validation.row_data_json)
    assert json.loads(transform.error_details_json or "")["__repr__"] == "{'text': 'lone \\udcff', 'number': nan}"
