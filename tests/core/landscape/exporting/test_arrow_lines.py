"""Lines of records as Arrow tables."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from elspeth.core.canonical import canonical_bytes
from elspeth.core.landscape.exporting.arrow_lines import parse_lines, record_schema
from elspeth.core.landscape.records.mapping import mapper, record_type_of
from tests.fixtures.rich_run import rich_run


def record_of(name: str) -> dict[str, object]:
    record = next(each for each in rich_run() if record_type_of(each).name == name)
    convert = mapper(record_type_of(record))
    return convert.to_record(list(convert.to_row(record).values()))


def test_a_line_may_be_longer_than_a_block_of_the_parser() -> None:
    record = record_of("run") | {"settings_json": json.dumps("x" * (3 << 20))}
    line = canonical_bytes(record) + b"\n"
    table = parse_lines(line * 2, record_schema("run"))
    assert table["settings_json"].to_pylist() == [record["settings_json"]] * 2


def test_a_field_that_the_schema_does_not_have_is_refused() -> None:
    line = canonical_bytes(record_of("row") | {"note": "?"}) + b"\n"
    with pytest.raises(pa.ArrowInvalid):
        parse_lines(line, record_schema("row"))


def test_what_exports_withhold_is_not_in_the_schema() -> None:
    record = record_of("validation_error")
    names = record_schema("validation_error").names
    assert "row_data_json" not in names
    assert {*names} == record.keys() - {"record_type"}


@pytest.mark.parametrize("moment", ["2026-01-31T23:59:59.999999", "2026-01-31 23:59:59", "2026-01-31", "soon", 1])
def test_a_time_without_zone_is_refused(moment: object) -> None:
    line = canonical_bytes(record_of("row") | {"created_at": moment}) + b"\n"
    with pytest.raises(pa.ArrowInvalid):
        parse_lines(line, record_schema("row"))
