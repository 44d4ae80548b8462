"""Check constraints in a real database, compared with truth tables."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import product

import pytest

from codegen import constraints
from codegen.model import CheckConstraint, Column, ExactlyOne, Kind, Variant
from tests.codegen.models import column, enum, value_of

Value = int | float | str | None


def checks(
    *columns: Column,
    exactly_one: tuple[ExactlyOne, ...] = (),
    discriminator: str | None = None,
    variants: tuple[Variant, ...] = (),
) -> tuple[CheckConstraint, ...]:
    return constraints.checks("t", columns, exactly_one, discriminator, variants)


def accepted(
    found: Sequence[CheckConstraint], names: str, rows: Iterator[tuple[Value, ...]]
) -> list[tuple[Value, ...]]:
    """Return the rows that a table with these checks accepts."""
    clauses = "".join(f", CONSTRAINT {check.name} CHECK ({check.condition})" for check in found)
    with closing(sqlite3.connect(":memory:")) as connection, connection:
        connection.execute(f"CREATE TABLE t ({names}{clauses})")
        taken = []
        for row in rows:
            try:
                connection.execute(f"INSERT INTO t VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608 - only marks
            except sqlite3.IntegrityError:
                continue
            taken.append(row)
    connection.close()
    return taken


def singles(*values: Value) -> Iterator[tuple[Value, ...]]:
    return iter([(value,) for value in values])


def test_an_enum_column_takes_its_values_and_null() -> None:
    found = checks(column(enum=enum("open", "done")))
    assert [check.name for check in found] == ["ck_t_a"]
    assert accepted(found, "a", singles("open", "done", "Open", "", 0, None)) == [("open",), ("done",), (None,)]


def test_an_enum_column_of_many_values_takes_them_and_null() -> None:
    found = checks(column(enum=enum("open", "done", "gone")))
    values = ("open", "done", "gone")
    assert accepted(found, "a", singles(*values, "Open", "", 0, None)) == [(value,) for value in (*values, None)]


def test_checking_an_enum_builds_no_temporary_table() -> None:
    (check,) = checks(column(enum=enum("open", "done", "gone")))
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE t (a, CHECK ({check.condition}))")
        steps = [step[1] for step in connection.execute("EXPLAIN INSERT INTO t VALUES (?)", ("open",))]
    assert "OpenEphemeral" not in steps


def test_a_boolean_column_takes_zero_one_and_null() -> None:
    found = checks(column(kind=Kind.BOOLEAN))
    assert accepted(found, "a", singles(0, 1, 2, -1, "true", None)) == [(0,), (1,), (None,)]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((0, None), [0, 1, 9, 10]),
        ((None, 9), [-1, 0, 1, 9]),
        ((1, 9), [1, 9]),
        ((0, 0), [0]),
    ],
)
@pytest.mark.parametrize("kind", [Kind.INTEGER, Kind.REAL])
def test_bounds_are_inclusive(kind: Kind, bounds: tuple[int | None, int | None], expected: list[int]) -> None:
    found = checks(column(kind=kind, bounds=bounds))
    rows = [value for (value,) in accepted(found, "a", singles(-1, 0, 1, 9, 10, None))]
    assert rows == [*expected, None]


@pytest.mark.parametrize("kind", sorted(set(Kind) - {Kind.BOOLEAN}))
def test_a_column_without_rules_has_no_check(kind: Kind) -> None:
    assert checks(column(kind=kind)) == ()


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")])
def test_exactly_one_of_the_columns_must_be_present(names: tuple[str, ...]) -> None:
    found = checks(*map(column, names), exactly_one=(ExactlyOne(title="one", columns=names),))
    assert [check.name for check in found] == ["ck_t_one"]
    rows = list(product([None, "x"], repeat=len(names)))
    one = [row for row in rows if row.count("x") == 1]
    assert accepted(found, ", ".join(names), iter(rows)) == one


def test_each_variant_demands_and_forbids_its_columns_and_leaves_the_rest() -> None:
    variants = (
        Variant(class_name="Open", description="", value=value_of("open"), required=(), absent=("result", "reason")),
        Variant(class_name="Done", description="", value=value_of("done"), required=("result",), absent=("reason",)),
        Variant(class_name="Lost", description="", value=value_of("lost"), required=("reason",), absent=()),
        Variant(class_name="Free", description="", value=value_of("free"), required=(), absent=()),
    )
    found = checks(column("status"), column("result"), column("reason"), discriminator="status", variants=variants)
    assert [check.name for check in found] == ["ck_t_open", "ck_t_done", "ck_t_lost"]
    rows = list(product(["open", "done", "lost", "free"], [None, "x"], [None, "y"]))
    assert accepted(found, "status, result, reason", iter(rows)) == [
        ("open", None, None),
        ("done", "x", None),
        ("lost", None, "y"),
        ("lost", "x", "y"),
        ("free", None, None),
        ("free", None, "y"),
        ("free", "x", None),
        ("free", "x", "y"),
    ]


def test_two_rules_with_one_name_are_both_kept() -> None:
    """Keep both, so that the clash of names is noticed."""
    rule = ExactlyOne(title="a", columns=("b", "c"))
    found = checks(column("a", Kind.BOOLEAN), column("b"), column("c"), exactly_one=(rule,))
    assert [check.name for check in found] == ["ck_t_a", "ck_t_a"]


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        (("run_id",), "fk_t_run_id"),
        (("run_id", "node_id"), "fk_t_node_id"),
        (("run_id", "batch_id", "ordinal"), "fk_t_batch_id_ordinal"),
    ],
)
def test_a_foreign_key_is_named_after_its_distinguishing_columns(columns: tuple[str, ...], name: str) -> None:
    assert constraints.foreign_key_name("t", columns) == name


def test_every_kind_of_constraint_has_its_prefix() -> None:
    assert (constraints.unique_name("t", "k"), constraints.index_name("t", "i")) == ("uq_t_k", "ix_t_i")
