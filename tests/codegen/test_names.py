"""Values are rendered faithfully as Python source."""

import ast
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from codegen import names
from codegen.model import Column, Kind
from tests.codegen.models import column, enum

ONE_LINE = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), min_size=1).map(
    lambda text: " ".join(text.split()) or "x"
)
"""Text as read from the schema: one line without control characters."""


@given(text=st.text())
@example(text="both \" and '")
@example(text="two\nlines\\")
def test_a_literal_evaluates_to_its_value(text: str) -> None:
    assert ast.literal_eval(names.literal(text)) == text


@given(values=st.lists(st.text()).map(tuple))
def test_a_rendered_tuple_evaluates_to_the_names(values: tuple[str, ...]) -> None:
    assert ast.literal_eval(names.quoted_tuple(values)) == values


@given(text=ONE_LINE, indent=st.sampled_from([0, 4]))
@example(text='ends with a "quote"', indent=4)
@example(text="ends with a \\", indent=4)
@example(text='has """three""" quotes', indent=4)
@example(text="word " * 60, indent=4)
def test_a_docstring_has_the_given_text(text: str, indent: int) -> None:
    pad = " " * indent
    source = f'class A:\n{pad or " "}"""{names.docstring(text, indent)}"""'
    docstring = ast.get_docstring(ast.parse(source).body[0])  # type: ignore[arg-type]
    assert docstring is not None
    assert re.sub(r"\s+", "", docstring) == re.sub(r"\s+", "", text)


def test_a_long_word_of_a_docstring_stays_whole() -> None:
    address = f"https://example.org/{'x' * 150}"
    words = ["See", address, "and", *["more"] * 10]
    assert names.docstring(" ".join(words)).split() == words


def test_a_long_docstring_stays_within_the_line_and_closes_on_its_own() -> None:
    lines = names.docstring("word " * 60).split("\n")
    assert len(lines) == 4
    assert [line for line in lines if len(line) > 112] == []
    assert lines[-1] == "    "


@pytest.mark.parametrize(
    ("given_column", "type_", "acceptor"),
    [
        (column(), "str", "checks.text()"),
        (column(max_length=9), "str", "checks.text(max_length=9)"),
        (column(max_length=9, pattern="^x$"), "str", "checks.text(max_length=9, pattern='^x$')"),
        (column(enum=enum("open")), "State", "checks.member(State)"),
        (column(kind=Kind.JSON), "str", "checks.JSON"),
        (column(kind=Kind.INTEGER), "int", "checks.integer()"),
        (column(kind=Kind.INTEGER, bounds=(0, 9)), "int", "checks.integer(minimum=0, maximum=9)"),
        (column(kind=Kind.REAL, bounds=(0, None)), "float", "checks.real(minimum=0)"),
        (column(kind=Kind.BOOLEAN), "bool", "checks.BOOLEAN"),
        (column(kind=Kind.TIMESTAMP), "datetime", "checks.TIMESTAMP"),
    ],
)
def test_a_column_has_a_python_type_and_a_check(given_column: Column, type_: str, acceptor: str) -> None:
    assert (names.python_type(given_column), names.acceptor(given_column)) == (type_, acceptor)
