from __future__ import annotations

import pytest

from elspeth.core.canonical import CanonicalError
from elspeth.core.landscape.formatters import CSVFormatter, ExportFormatter, JSONFormatter

RECORD = {"b": 1, "a": {"y": [2, {"z": None}], "x": {"deep": 1.0}}, "empty": {}, "none": None}


def test_json_is_canonical() -> None:
    formatter: ExportFormatter = JSONFormatter()
    assert formatter.format(RECORD) == '{"a":{"x":{"deep":1},"y":[2,{"z":null}]},"b":1,"empty":{},"none":null}'


def test_nan_cannot_be_formatted_as_json() -> None:
    with pytest.raises(CanonicalError, match=r"^a number is not finite, which JSON does not have$"):
        JSONFormatter().format({"a": float("nan")})


def test_csv_is_flat() -> None:
    formatter: ExportFormatter = CSVFormatter()
    assert formatter.format(RECORD) == {"b": 1, "a.y": '[2,{"z":null}]', "a.x.deep": 1.0, "none": None}


def test_a_list_is_text_in_a_record_without_objects_too() -> None:
    assert CSVFormatter().format({"a": [1, None], "b": "x"}) == {"a": "[1,null]", "b": "x"}
