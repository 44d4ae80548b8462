"""Columns have types that hold all their values."""

from decimal import Decimal

from elspeth.contracts.rows import RowData
from elspeth.contracts.schema import FieldDefinition
from elspeth.plugins.column_types import Column, ColumnType, column_types
from tests.plugins.typed_rows import ROWS


def test_the_type_of_a_column_holds_all_its_values() -> None:
    declared = [FieldDefinition.parse("n: float"), FieldDefinition.parse("any: any"), FieldDefinition.parse("d: date")]
    found = column_types(ROWS, declared)
    assert list(found) == ["n", "any", "d", "id", "x", "name", "ok", "tags", "mixed", "late"]
    assert {name: column.type for name, column in found.items()} == {
        "n": ColumnType.REAL,
        "any": ColumnType.TEXT,
        "d": ColumnType.DATE,
        "id": ColumnType.INTEGER,
        "x": ColumnType.REAL,
        "name": ColumnType.TEXT,
        "ok": ColumnType.BOOLEAN,
        "tags": ColumnType.JSON,
        "mixed": ColumnType.JSON,
        "late": ColumnType.TEXT,
    }


def test_the_column_of_a_field_of_any_type_holds_the_values_that_occur() -> None:
    declared = [FieldDefinition.parse("x: any"), FieldDefinition.parse("n: float")]
    rows: list[RowData] = [{"x": None, "n": 1}, {"x": 1}, {"x": 2.5}]
    assert column_types(rows, declared) == {"x": Column(type=ColumnType.REAL), "n": Column(type=ColumnType.REAL)}


def test_a_column_of_decimals_has_the_places_of_the_finest() -> None:
    rows: list[RowData] = [
        {"a": Decimal("1.5"), "b": 1, "c": 2.5},
        {"a": Decimal("0.125"), "b": Decimal("1.50"), "c": Decimal(1)},
        {"a": Decimal("2.5"), "d": Decimal("1E+2")},
    ]
    assert column_types(rows, [FieldDefinition.parse("e: decimal(4)")]) == {
        "e": Column(type=ColumnType.DECIMAL, places=4),
        "a": Column(type=ColumnType.DECIMAL, places=3),
        "b": Column(type=ColumnType.DECIMAL, places=2),
        "c": Column(type=ColumnType.JSON),
        "d": Column(type=ColumnType.DECIMAL, places=0),
    }
