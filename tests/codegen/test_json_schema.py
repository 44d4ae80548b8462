"""The JSON Schema of an export: valid and invalid records.

Together the schemas of the cases have every construct once.
"""

import json
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from codegen.json_schema import export_schema
from codegen.load import load_model
from elspeth_schema import EPOCH

CASES = Path(__file__).parent / "cases"

SAMPLE: dict[str, object] = {
    "record_type": "sample",
    "run_id": "r",
    "name": "n",
    "position": 0,
    "text": None,
    "digest": "00ff",
    "digit": None,
    "document": "{}",
    "percentage": None,
    "weight": None,
    "good": True,
    "checked": None,
    "taken_at": "2026-01-01T00:00:00.000000Z",
    "sent_at": None,
    "level": "low",
    "felt_level": None,
}
STEP: dict[str, object] = {
    "record_type": "step",
    "run_id": "r",
    "step_id": "s",
    "position": 0,
    "status": "open",
    "input_id": None,
    "output_id": None,
}
MANIFEST: dict[str, object] = {
    "record_type": "manifest",
    "run_id": "r",
    "run_status": "completed",
    "epoch": EPOCH,
    "record_count": 1,
    "counts": {"run": 1},
    "withheld": [],
    "hash_algorithm": "sha256",
    "final_hash": "0" * 64,
    "signature_algorithm": None,
}


@cache
def validator(case: str) -> jsonschema.Draft202012Validator:
    model = load_model(CASES / case / "schema" / "landscape.yaml")
    schema: Any = json.loads(json.dumps(export_schema(model, comment="")))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def valid(case: str, record: dict[str, object]) -> bool:
    return validator(case).is_valid(record)


def test_a_record_with_explicit_nulls_is_valid() -> None:
    assert valid("good_every_kind", SAMPLE)


@pytest.mark.parametrize(
    ("column", "taken", "refused"),
    [
        ("name", ["", "n" * 64], ["n" * 65, 1, None]),
        ("position", [0, 2**53 - 1], [-1, 2**53, 0.5, "0", True, None]),
        ("text", ["", "any", None], [1]),
        ("digest", ["0", "0123abcd"], ["", "g", "0123abcd0", None]),
        ("digit", ["1", None], ["", "12", "x"]),
        ("document", ["{}"], [{}, None]),
        ("remark", ["{}", None], [1]),
        ("percentage", [0, 99.5, 100, None], [-0.5, 101, "1"]),
        ("weight", [-1.5, 0, None], ["0", True]),
        ("good", [True, False], [0, 1, "true", None]),
        ("checked", [True, False, None], [0]),
        ("taken_at", ["2026-12-31T23:59:59.999999Z"], ["2026-12-31T23:59:59Z", "2026-12-31", 0, None]),
        ("level", ["low", "high"], ["Low", "", None]),
        ("felt_level", ["high", None], ["medium"]),
        ("record_type", ["sample"], ["run", "samples", None]),
        ("signature", ["0" * 64], ["0" * 63, None]),
        ("unknown", [], [1, None]),
    ],
)
def test_each_kind_of_column_has_its_schema(column: str, taken: list[object], refused: list[object]) -> None:
    assert [value for value in taken if not valid("good_every_kind", {**SAMPLE, column: value})] == []
    assert [value for value in refused if valid("good_every_kind", {**SAMPLE, column: value})] == []


@pytest.mark.parametrize("column", SAMPLE)
def test_a_missing_column_is_refused_even_if_null_is_accepted(column: str) -> None:
    record = {name: value for name, value in SAMPLE.items() if name != column}
    assert not valid("good_every_kind", record)


def test_exactly_one_of_the_columns_is_not_null() -> None:
    found = [
        ends for ends in product([None, "x"], repeat=2)
        if valid("good_exactly_one", {**STEP, "input_id": ends[0], "output_id": ends[1]})
    ]  # fmt: skip
    assert found == [(None, "x"), ("x", None)]


def test_each_variant_has_its_own_shape() -> None:
    found = [
        (status, output)
        for status, output in product(["open", "done", "lost"], [None, "x"])
        if valid("good_variants", {**STEP, "status": status, "output_id": output})
    ]
    assert found == [("open", None), ("done", "x")]


@pytest.mark.parametrize("case", ["good_minimal", "good_variants"])
def test_a_manifest_is_valid_whatever_the_tables(case: str) -> None:
    assert valid(case, MANIFEST)
    assert valid(case, {**MANIFEST, "signature_algorithm": "hmac-sha256", "signature": "0" * 64})


@pytest.mark.parametrize("key", MANIFEST)
def test_a_manifest_with_a_missing_member_is_refused(key: str) -> None:
    assert not valid("good_minimal", {name: value for name, value in MANIFEST.items() if name != key})
