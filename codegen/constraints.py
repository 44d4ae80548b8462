"""Constraint names, and conditions on one row for both databases."""

from __future__ import annotations

from codegen.model import CheckConstraint, Column, ExactlyOne, Kind, Variant

__all__ = ["ENUM_LENGTH", "checks", "foreign_key_name", "index_name", "unique_name"]

ENUM_LENGTH = 32
"""Width of a column that holds an enum value, in characters."""


def unique_name(table: str, key: str) -> str:
    """Return the name of a unique constraint."""
    return f"uq_{table}_{key}"


def index_name(table: str, name: str) -> str:
    """Return the name of a secondary index."""
    return f"ix_{table}_{name}"


def foreign_key_name(table: str, columns: tuple[str, ...]) -> str:
    """Return the name of a foreign key.

    It consists of the columns that distinguish the key from the table's others: all of them have run_id.
    """
    own = [column for column in columns if column != "run_id"] or list(columns)
    return f"fk_{table}_{'_'.join(own)}"


def checks(
    table: str,
    columns: tuple[Column, ...],
    exactly_one: tuple[ExactlyOne, ...],
    discriminator: str | None,
    variants: tuple[Variant, ...],
) -> tuple[CheckConstraint, ...]:
    """Return every condition on one row that both databases enforce."""
    conditions = [(column.name, _column_condition(column)) for column in columns]
    conditions += [(rule.title, _exactly_one_condition(rule)) for rule in exactly_one]
    for variant in variants:
        present = [f"{name} IS NOT NULL" for name in variant.required]
        absent = [f"{name} IS NULL" for name in variant.absent]
        if present or absent:
            shape = " AND ".join(present + absent)
            conditions.append((variant.value.text, f"{discriminator} <> '{variant.value.text}' OR ({shape})"))
    return tuple(
        CheckConstraint(name=f"ck_{table}_{name}", condition=condition)
        for name, condition in conditions
        if condition is not None
    )


def _column_condition(column: Column) -> str | None:
    if column.enum is not None:
        return _member_condition(column.name, [f"'{value.text}'" for value in column.enum.values])
    if column.kind is Kind.BOOLEAN:
        return f"{column.name} IN (0, 1)"
    bounds = [
        f"{column.name} {operator} {bound}"
        for operator, bound in ((">=", column.minimum), ("<=", column.maximum))
        if bound is not None
    ]
    return " AND ".join(bounds) or None


def _member_condition(name: str, values: list[str]) -> str:
    """Return the condition for one of these values.

    SQLite makes a table of a list of three or more for each row that it inserts, which takes as long as the row.
    """
    if len(values) <= 2:  # noqa: PLR2004 - SQLite's limit
        return f"{name} IN ({', '.join(values)})"
    return " OR ".join(f"{name} = {value}" for value in values)


def _exactly_one_condition(rule: ExactlyOne) -> str:
    alternatives = (
        " AND ".join(f"{column} IS {'NOT NULL' if column == chosen else 'NULL'}" for column in rule.columns)
        for chosen in rule.columns
    )
    return " OR ".join(f"({alternative})" for alternative in alternatives)
