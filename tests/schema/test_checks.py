"""The error for a record that the schema forbids."""

from __future__ import annotations

import pickle

import pytest

from elspeth.schema.checks import AuditIntegrityError

ERROR = AuditIntegrityError(table="rows", key={"row_id": "r"}, field="row_index", expected="an integer", got="x")


def test_an_error_names_record_field_and_what_was_expected() -> None:
    assert str(ERROR) == "rows row_id='r': row_index: expected an integer, got 'x'"


def test_an_error_names_the_database_that_it_was_found_in() -> None:
    named = ERROR.in_database("sqlite:///a.db")
    assert str(named) == f"audit database sqlite:///a.db: {ERROR}"
    assert named.in_database("sqlite:///b.db") is named
    assert ERROR.database is None


@pytest.mark.parametrize("error", [ERROR, ERROR.in_database("sqlite:///a.db")], ids=["plain", "named"])
def test_an_error_survives_pickling(error: AuditIntegrityError) -> None:
    found = pickle.loads(pickle.dumps(error))  # noqa: S301  the test's own error
    assert isinstance(found, AuditIntegrityError)
    assert (str(found), vars(found)) == (str(error), vars(error))
