"""Invalid records for every constraint of the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from codegen.model import Column, Kind, Table, Variant

__all__ = ["InvalidCase", "invalid_cases"]

_TOO_BIG = 2**53

Value = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidCase:
    """Changes that make a valid record of one shape invalid.

    `changes` holds export values by column. The contract refuses every case. `database` names the constraint that
    refuses it there: "NOT NULL" for a missing value, None if no constraint can. `json_schema` tells whether the
    export's schema can.
    """

    name: str
    changes: tuple[tuple[str, Value], ...]
    json_schema: bool
    database: str | None


def invalid_cases(table: Table, variant: Variant | None) -> tuple[InvalidCase, ...]:
    """Return the invalid cases of one shape of a table."""
    return (*_column_cases(table, variant), *_variant_cases(table, variant), *_exactly_one_cases(table))


def _column_cases(table: Table, variant: Variant | None) -> Iterator[InvalidCase]:
    for column in table.columns:
        if column.withheld is not None or (variant is not None and column.name in variant.absent):
            continue
        if not column.nullable:
            yield _case(column, "missing", None, database="NOT NULL")
        yield from _value_cases(table, column)


def _value_cases(table: Table, column: Column) -> Iterator[InvalidCase]:
    check = f"ck_{table.name}_{column.name}"
    if column.enum is not None:
        yield _case(column, "unknown_value", "no-such-value", database=check)
    elif column.pattern is not None:
        yield _case(column, "pattern", "not a match")
    elif column.kind is Kind.TEXT and column.max_length is not None:
        yield _case(column, "too_long", "x" * (column.max_length + 1))
    elif column.kind is Kind.JSON:
        yield _case(column, "not_json", '{"never": ended', json_schema=False)
    elif column.kind is Kind.TIMESTAMP:
        yield _case(column, "without_zone", "2026-01-01T00:00:00.000000")
    elif column.kind is Kind.BOOLEAN:
        yield _case(column, "not_boolean", 2, database=check)
    elif column.kind in (Kind.INTEGER, Kind.REAL):
        yield _case(column, "too_big", _TOO_BIG)
    if column.minimum is not None:
        yield _case(column, "below_minimum", column.minimum - 1, database=check)
    if column.maximum is not None:
        yield _case(column, "above_maximum", column.maximum + 1, database=check)


def _variant_cases(table: Table, variant: Variant | None) -> Iterator[InvalidCase]:
    if variant is None:
        return
    check = f"ck_{table.name}_{variant.value.text}"
    for name in variant.required:
        yield _case(table.column(name), "missing_here", None, database=check)
    for name in variant.absent:
        yield _case(table.column(name), "not_here", _some_value(table.column(name)), database=check)


def _exactly_one_cases(table: Table) -> Iterator[InvalidCase]:
    for rule in table.exactly_one:
        check = f"ck_{table.name}_{rule.title}"
        for name, value in ((f"{rule.title}_none", None), (f"{rule.title}_all", "both")):
            changes = tuple((column, value) for column in rule.columns)
            yield InvalidCase(name=name, changes=changes, json_schema=True, database=check)


def _case(
    column: Column, problem: str, value: Value, *, json_schema: bool = True, database: str | None = None
) -> InvalidCase:
    return InvalidCase(
        name=f"{column.name}_{problem}", changes=((column.name, value),), json_schema=json_schema, database=database
    )


def _some_value(column: Column) -> Value:
    """Return a value that the column accepts on its own."""
    if column.pattern is not None:
        return "0" * (column.max_length or 1)
    values: dict[Kind, Value] = {
        Kind.TEXT: "text",
        Kind.JSON: "{}",
        Kind.INTEGER: 1,
        Kind.REAL: 1.5,
        Kind.BOOLEAN: 1,
        Kind.TIMESTAMP: "2026-01-01T00:00:00.000000Z",
    }
    return values[column.kind]
