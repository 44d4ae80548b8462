"""Placeholders in the paths of outputs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.core.placeholders import fill_placeholders, has_placeholders, placeholder_problem, placeholder_values

VALUES = {"run_id": "0199ab", "date": "2026-03-01"}


@pytest.mark.parametrize(
    ("path", "filled"),
    [
        ("out.csv", "out.csv"),
        ("{run_id}", "0199ab"),
        ("out/{date}/{run_id}-{date}.csv", "out/2026-03-01/0199ab-2026-03-01.csv"),
        ("{{run_id}}", "{run_id}"),
        ("{{{run_id}}}", "{0199ab}"),
        ("a{{b}}c{{", "a{b}c{"),
    ],
)
def test_placeholders_are_filled_in_and_doubled_braces_are_braces(path: str, filled: str) -> None:
    assert placeholder_problem(path) is None
    assert fill_placeholders(path, VALUES) == filled
    assert has_placeholders(path) is (path != filled)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("{run}", "unknown placeholder {run}: expected one of {run_id}, {date}; write '{{' for a brace"),
        ("{dat}", "unknown placeholder {dat}: expected one of {run_id}, {date}; write '{{' for a brace"),
        ("{}", "unknown placeholder {}: expected one of {run_id}, {date}; write '{{' for a brace"),
        ("{date:%Y}", "unknown placeholder {date:%Y}: expected one of"),
        ("{ date }", "unknown placeholder { date }: expected one of"),
        ("a{b", "has a single '{': write '{{' for the character itself"),
        ("a}b", "has a single '}': write '}}' for the character itself"),
        ("{{run_id}", "has a single '}': write '}}' for the character itself"),
        ("{date}/{", "has a single '{': write '{{' for the character itself"),
    ],
)
def test_an_unknown_placeholder_is_a_problem(path: str, problem: str) -> None:
    assert (placeholder_problem(path) or "").startswith(problem)


def test_a_placeholder_that_is_almost_known_is_suggested() -> None:
    assert (placeholder_problem("{dates}") or "").endswith("; did you mean 'date'?")


@given(st.text())
def test_any_text_can_be_written_with_doubled_braces(text: str) -> None:
    written = text.replace("{", "{{").replace("}", "}}")
    assert placeholder_problem(written) is None
    assert fill_placeholders(written, VALUES) == text


@given(st.text(alphabet="{}abdetrun_i"))
def test_a_path_without_a_problem_can_be_filled_in(path: str) -> None:
    if placeholder_problem(path) is None:
        fill_placeholders(path, VALUES)


def test_the_date_is_in_utc() -> None:
    late = datetime(2026, 3, 1, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert placeholder_values("r", late) == {"run_id": "r", "date": "2026-03-02"}
    assert placeholder_values("r", late.astimezone(UTC))["date"] == "2026-03-02"
