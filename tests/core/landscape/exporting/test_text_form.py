"""Pattern and contract read sound lines in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from elspeth.core.canonical import canonical_bytes
from elspeth.core.landscape.exporting import _text_form
from elspeth.core.landscape.exporting._text_form import find_stated_epoch, is_sound, write_array, write_lines
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.records.mapping import mapper, record_type_of
from elspeth_schema import EPOCH
from elspeth_schema.conversions import CONVERSIONS
from elspeth_schema.records import RECORD_TYPES, Kind
from elspeth_strategies import INVALID, SHAPES, Shape, records
from tests.fixtures.rich_run import export_to, rich_run

each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.contract.__name__)


def exported_form(shape: Shape, data: st.DataObject) -> dict[str, Any]:
    convert = mapper(RECORD_TYPES[shape.record_type])
    return convert.to_record(list(convert.to_row(data.draw(records(shape))).values()))


@pytest.mark.parametrize(
    ("write", "content"), [(write_lines, b"1\n2\n3\n"), (write_array, b"[\n1,\n2,\n3\n]\n")], ids=["lines", "array"]
)
def test_the_lines_of_all_chunks_are_written_and_counted(
    write: Callable[[BinaryIO, Iterable[tuple[int, bytes]]], int], content: bytes
) -> None:
    file = BytesIO()
    assert write(file, [(2, b"1\n2\n"), (1, b"3\n")]) == 3
    assert file.getvalue() == content


@each_shape
@given(data=st.data())
@settings(max_examples=10)
def test_the_row_of_a_sound_line_equals_that_of_its_contract(shape: Shape, data: st.DataObject) -> None:
    record = exported_form(shape, data)
    convert = mapper(RECORD_TYPES[shape.record_type])
    if is_sound(record, canonical_bytes(record)):
        row = CONVERSIONS[shape.record_type].line_to_row(record, datetime.fromisoformat)
        assert list(row) == list(convert.to_row(convert.from_record(record)).values())


@each_shape
@given(data=st.data())
@settings(max_examples=5)
def test_no_line_that_breaks_a_constraint_is_sound(shape: Shape, data: st.DataObject) -> None:
    record = exported_form(shape, data)
    for case in INVALID[shape.contract]:
        note(case.name)
        broken = {**record, **case.changes}
        assert not is_sound(broken, orjson.dumps(broken, option=orjson.OPT_SORT_KEYS))


def with_a_float() -> list[tuple[dict[str, Any], str]]:
    """Return records with floats, and the name of a column.

    The records are sound lines of a run; each float is 0.25.
    """
    found = []
    for contract in rich_run():
        record_type = record_type_of(contract)
        convert = mapper(record_type)
        record = convert.to_record(list(convert.to_row(contract).values()))
        names = [each.name for each in record_type.columns if each.kind is Kind.REAL and record[each.name]]
        found += [({**record, **dict.fromkeys(names, 0.25)}, name) for name in names]
    return [each for each in found if is_sound(each[0], canonical_bytes(each[0]))]


@pytest.mark.parametrize("spelling", ["0.50", "5e-1", "-0", "1.0", "0.4999999999999999999"])
def test_a_float_in_another_spelling_gets_the_general_check(spelling: str) -> None:
    for record, column in with_a_float():
        usual = {**record, column: 0.5}
        line = canonical_bytes(usual)
        assert is_sound(usual, line)
        other = line.replace(f'"{column}":0.5'.encode(), f'"{column}":{spelling}'.encode())
        assert not is_sound({**usual, column: float(spelling)}, other)


@pytest.mark.parametrize(
    "moment",
    [
        "2026-01-31T24:00:00.000000Z",
        "2026-01-31T25:00:00.000000Z",
        "2026-01-31T23:60:00.000000Z",
        "2026-01-31T23:59:60.000000Z",
        "2026-01-31T23:59:59.00000Z",
        "2026-02-30T00:00:00.000000Z",
        "2026-04-31T00:00:00.000000Z",
        "2026-13-01T00:00:00.000000Z",
        "0000-01-01T00:00:00.000000Z",
    ],
)
def test_a_time_that_does_not_exist_gets_the_general_check(moment: str) -> None:
    run = next(each for each in rich_run() if record_type_of(each).name == "run")
    convert = mapper(record_type_of(run))
    record = convert.to_record(list(convert.to_row(run).values()))
    assert is_sound(record, canonical_bytes(record))
    other = {**record, "started_at": moment}
    assert not is_sound(other, canonical_bytes(other))


def test_a_float_of_many_digits_is_sound() -> None:
    assert with_a_float()
    for record, column in with_a_float():
        long = {**record, column: 0.020999999999999998}
        assert is_sound(long, canonical_bytes(long))


@pytest.mark.parametrize("form", [ExportFormat.JSONL, ExportFormat.JSON])
@pytest.mark.parametrize("block", [1, 1000, 1 << 20])
def test_the_epoch_is_found_however_much_of_a_compressed_file_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: ExportFormat, block: int
) -> None:
    export = export_to(tmp_path / "export", form)
    monkeypatch.setattr(_text_form, "_BLOCK", block)
    monkeypatch.setattr(_text_form, "_TAIL", 2000)
    for is_compressed in (True, False):
        assert find_stated_epoch(export, is_compressed=is_compressed) == EPOCH


def test_only_a_manifest_states_an_epoch(tmp_path: Path) -> None:
    for last in (b'{"epoch":5,"record_type":"run"}', b'{"epoch":5}', b"[5]", b"5", b"", b"{"):
        (tmp_path / "export").write_bytes(b'{"record_type":"run"}\n' + last + b"\n")
        assert find_stated_epoch(tmp_path / "export", is_compressed=False) is None
