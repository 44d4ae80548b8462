"""Parquet files as source and sink."""

import hashlib
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from pydantic import ValidationError

from elspeth.contracts.plugins import PluginError, PluginKind
from elspeth.contracts.rows import InvalidRow
from elspeth.plugins.manager import PluginManager
from elspeth.plugins.parquet import ParquetSink, ParquetSinkOptions
from tests.plugins.typed_rows import EXPECTED, FIELDS, ROWS, TYPED, write

PLUGINS = PluginManager.installed()


@pytest.mark.parametrize("group", [2, 10_000])
def test_a_parquet_file_is_read_back_by_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int) -> None:
    monkeypatch.setattr("elspeth.plugins.parquet._GROUP_ROWS", group)
    path = tmp_path / "out" / "rows.parquet"
    write(PLUGINS.sink("parquet", {"path": str(path)}), ROWS)
    assert parquet.read_table(path).to_pylist() == EXPECTED
    source = PLUGINS.source("parquet", {"path": str(path)})
    assert list(source.read()) == EXPECTED
    assert source.fraction_read() == 1.0
    (read,) = source.inputs()
    content = path.read_bytes()
    assert (read.content_hash, read.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert sorted(each.name for each in path.parent.iterdir()) == ["rows.parquet"]


@pytest.mark.parametrize("declared", [[], [f"{field}?" for field in FIELDS]], ids=["inferred", "declared"])
def test_decimals_dates_times_and_durations_keep_their_types(tmp_path: Path, declared: list[str]) -> None:
    options = {"schema": {"mode": "strict", "fields": declared}} if declared else {}
    path = tmp_path / "rows.parquet"
    write(PLUGINS.sink("parquet", {"path": str(path), **options}), [TYPED, dict.fromkeys(TYPED)])
    table = parquet.read_table(path)
    assert [str(each) for each in table.schema.types] == [
        "decimal128(38, 2)",
        "date32[day]",
        "timestamp[us, tz=UTC]",
        "duration[us]",
    ]
    assert table.to_pylist() == [TYPED, dict.fromkeys(TYPED)]
    optional = {"mode": "strict", "fields": [f"{field}?" for field in FIELDS]}
    read = PLUGINS.source("parquet", {"path": str(path), "schema": optional}).read()
    assert list(read) == [TYPED, dict.fromkeys(TYPED)]


def test_a_parquet_file_holds_the_values_that_its_schema_makes(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    schema = {"mode": "strict", "fields": ["id: int", "paid: decimal(2)"]}
    write(PLUGINS.sink("parquet", {"path": str(path), "schema": schema}), [{"id": "7", "paid": "1.5"}])
    assert parquet.read_table(path).to_pylist() == [{"id": 7, "paid": Decimal("1.50")}]
    schema = {"mode": "free", "fields": ["id: bool"]}
    (bad,) = PLUGINS.source("parquet", {"path": str(path), "schema": schema}).read()
    error = "row 0: field 'id': expected true or false, got an integer"
    assert bad == InvalidRow(data={"id": 7, "paid": "1.50"}, error=error, file=str(path))


def test_a_parquet_file_without_rows_has_the_columns_of_its_schema(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    schema = {"mode": "strict", "fields": ["a: int", "b: str"]}
    write(PLUGINS.sink("parquet", {"path": str(path), "schema": schema}), [])
    assert parquet.read_table(path).schema.names == ["a", "b"]
    path = tmp_path / "none.parquet"
    write(PLUGINS.sink("parquet", {"path": str(path)}), [])
    assert parquet.read_table(path).schema.names == []
    assert list(PLUGINS.source("parquet", {"path": str(path)}).read()) == []


def test_a_row_of_declared_columns_may_have_no_field(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    schema = {"mode": "strict", "fields": ["a: int?"]}
    write(PLUGINS.sink("parquet", {"path": str(path), "schema": schema}), [{}])
    assert parquet.read_table(path).to_pylist() == [{"a": None}]


def test_a_file_that_is_not_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("just some text")
    with pytest.raises(PluginError, match=r"x\.parquet cannot be read: Parquet magic bytes not found"):
        list(PLUGINS.source("parquet", {"path": str(tmp_path / "x.parquet")}).read())
    with pytest.raises(PluginError) as caught:
        list(PLUGINS.source("parquet", {"path": str(tmp_path / "gone")}).read())
    assert str(caught.value) == f"{tmp_path / 'gone'} cannot be read: No such file or directory"


def test_a_parquet_file_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    parquet.write_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), path)
    with pytest.raises(PluginError) as caught:
        list(PLUGINS.source("parquet", {"path": str(path)}).read())
    assert str(caught.value) == f"{path}: two columns are named 'a'"


def test_times_keep_their_nanoseconds(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    moments = pa.array([0, 1_000, 1, -1, None], type=pa.timestamp("ns"))
    zoned = pa.array([1_500_000_000_000_000_001] * 5, type=pa.timestamp("ns", tz="UTC"))
    parquet.write_table(pa.table({"at": moments, "zoned": zoned}), path)
    rows = list(PLUGINS.source("parquet", {"path": str(path)}).read())
    assert [row["at"] for row in rows if isinstance(row, dict)] == [
        "1970-01-01T00:00:00",
        "1970-01-01T00:00:00.000001",
        "1970-01-01T00:00:00.000000001",
        "1969-12-31T23:59:59.999999999",
        None,
    ]
    assert rows[0] == {"at": "1970-01-01T00:00:00", "zoned": "2017-07-14T02:40:00.000000001+00:00"}


@pytest.mark.parametrize(
    "hostile",
    [
        pa.array([0, 10**15, 0], type=pa.timestamp("s")),
        pa.array([0, 2**31 - 1, 0], type=pa.date32()),
        pa.array([0, 2**60, 0], type=pa.duration("s")),
        pa.array([[0], [1], [0]], type=pa.list_(pa.duration("ns"))),
        pa.array([0, 1, 0], type=pa.time64("ns")),
    ],
    ids=["time", "date", "duration", "nested", "time of day"],
)
def test_a_value_that_python_cannot_hold_makes_one_invalid_row(tmp_path: Path, hostile: pa.Array) -> None:
    path = tmp_path / "in.parquet"
    parquet.write_table(pa.table({"id": [1, 2, 3], "x": hostile, "photo": [b"\xff"] * 3}), path)
    first, bad, last = PLUGINS.source("parquet", {"path": str(path)}).read()
    error = "row 1: column 'x': the value cannot be read"
    assert bad == InvalidRow(data={"id": 2, "photo": "/w=="}, error=error, file=str(path))
    assert isinstance(first, dict)
    assert isinstance(last, dict)
    assert (first["id"], last["id"]) == (1, 3)


def test_nanoseconds_inside_lists_and_objects_are_text(tmp_path: Path) -> None:
    times = pa.array([[1, 1_000, None]], type=pa.list_(pa.timestamp("ns")))
    inside = pa.array([{"at": 2_001}], type=pa.struct([("at", pa.timestamp("ns", tz="UTC"))]))
    spans = pa.array([5_000], type=pa.duration("ns"))
    parquet.write_table(pa.table({"times": times, "inside": inside, "spans": spans}), tmp_path / "in.parquet")
    (row,) = PLUGINS.source("parquet", {"path": str(tmp_path / "in.parquet")}).read()
    assert row == {
        "times": ["1970-01-01T00:00:00.000000001", "1970-01-01T00:00:00.000001", None],
        "inside": {"at": "1970-01-01T00:00:00.000002001+00:00"},
        "spans": 5e-06,
    }


def test_several_files_are_read_in_their_order(tmp_path: Path) -> None:
    for name in ("b", "a"):
        parquet.write_table(pa.table({"id": [1, 2], "x": pa.array([0, 2**60], type=pa.duration("s"))}), tmp_path / name)
    (tmp_path / "c").write_text("no Parquet")
    source = PLUGINS.source("parquet", {"path": [f"{tmp_path}/?"], "file_field": "file"})
    source.check()
    rows = source.read()
    found = [next(rows) for _ in range(4)]
    with pytest.raises(PluginError, match="c cannot be read: "):
        next(rows)
    assert [each.error if isinstance(each, InvalidRow) else each["file"] for each in found] == [
        str(tmp_path / "a"),
        f"row 1 of {tmp_path / 'a'}: column 'x': the value cannot be read",
        str(tmp_path / "b"),
        f"row 1 of {tmp_path / 'b'}: column 'x': the value cannot be read",
    ]
    assert source.fraction_read() == pytest.approx(2 / 3)
    with pytest.raises(PluginError, match="the column 'x' is also to be added as file_field"):
        list(PLUGINS.source("parquet", {"path": f"{tmp_path}/a", "file_field": "x"}).read())


def test_standard_input_cannot_be_read_as_parquet() -> None:
    with pytest.raises(ValidationError, match="Parquet is read from its end, which standard input does not allow"):
        PLUGINS.source("parquet", {"path": "-"})


def test_leftovers_of_a_process_that_died_after_publishing_are_removed(tmp_path: Path) -> None:
    options = ParquetSinkOptions.model_validate({"path": str(tmp_path / "out.parquet")})
    sink = ParquetSink(options)
    sink.open("run")
    sink.write({"id": 1})
    output = sink.finish()
    assert output is not None
    sink._file._file.publish()
    sink.close()
    assert len(list(tmp_path.iterdir())) == 2
    assert ParquetSink(options).confirm("run", output)
    assert list(tmp_path.iterdir()) == [tmp_path / "out.parquet"]


def test_a_file_that_cannot_be_read_is_an_input_without_rows(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"a": [1, 2, 3]}), tmp_path / "1.parquet")
    (tmp_path / "2.parquet").write_text("just some text")
    source = PLUGINS.source("parquet", {"path": str(tmp_path / "*.parquet")})
    with pytest.raises(PluginError, match=r"2\.parquet cannot be read: "):
        list(source.read())
    assert [(each.rows, each.is_complete) for each in source.inputs()] == [(3, True), (0, False)]


@pytest.mark.parametrize("kind", [PluginKind.SOURCE, PluginKind.SINK])
def test_options_without_the_library_are_refused(monkeypatch: pytest.MonkeyPatch, kind: PluginKind) -> None:
    monkeypatch.setattr("elspeth.contracts.environment.find_spec", lambda _: None)
    with pytest.raises(ValidationError) as caught:
        PLUGINS.options_model(kind, "parquet").model_validate({"path": "x.parquet"})
    (problem,) = caught.value.errors()
    assert str(problem["ctx"]["error"]) == (
        "needs pyarrow, which is not installed: in a checkout of elspeth, pip install '.[parquet]'"
    )


def test_a_sink_without_its_library_says_so_before_the_first_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = PLUGINS.sink("parquet", {"path": str(tmp_path / "out.parquet")})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    begins: list[Callable[[], None]] = [lambda: sink.open("run1"), lambda: sink.reopen("run1", {})]
    for begin in begins:
        with pytest.raises(PluginError) as caught:
            begin()
        assert str(caught.value) == (
            "plugin 'parquet' needs pyarrow: in a checkout of elspeth, pip install '.[parquet]'"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_being_read_is_an_input_with_its_rows_so_far(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"a": [1, 2, 3]}), tmp_path / "1.parquet")
    source = PLUGINS.source("parquet", {"path": str(tmp_path / "1.parquet")})
    rows = source.read()
    next(rows)
    assert [(each.rows, each.is_complete, each.content_hash) for each in source.inputs()] == [(1, False, None)]
    assert source.fraction_read() == pytest.approx(1 / 3)


def test_an_integer_among_decimals_stays_exact(tmp_path: Path) -> None:
    path, large = tmp_path / "rows.parquet", 2**53 + 1
    write(PLUGINS.sink("parquet", {"path": str(path)}), [{"a": Decimal("1.50")}, {"a": large}])
    assert parquet.read_table(path).to_pylist() == [{"a": Decimal("1.50")}, {"a": Decimal(large)}]


def test_an_error_while_values_are_read_does_not_repeat_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise pa.ArrowInvalid("cannot convert 'a secret'")

    path = tmp_path / "in.parquet"
    parquet.write_table(pa.table({"a": [1]}), path)
    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", fail)
    with pytest.raises(PluginError) as caught:
        list(PLUGINS.source("parquet", {"path": str(path)}).read())
    assert str(caught.value).startswith(f"{path} cannot be read: ")
    assert "secret" not in str(caught.value)
