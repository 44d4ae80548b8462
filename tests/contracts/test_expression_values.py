"""Nested access, functions, decimals, dates and times in expressions."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts.expressions import EvaluationError, ExpressionError, compile_expression
from elspeth.contracts.expressions.functions import FUNCTIONS
from elspeth.contracts.values import plain

ROW: dict[str, object] = {
    "name": " Ada ",
    "n": -7,
    "x": 2.5,
    "none": None,
    "tags": ["a", "b"],
    "empty": [],
    "pair": ("a", "b"),
    "zero": Decimal("0.00"),
    "infinite": float("inf"),
    "line": {"taxes": [{"rate": 0.077}], "$": 1, "none": None},
    "paid": Decimal("12.30"),
    "day": dt.date(2026, 3, 1),
    "at": dt.datetime(2026, 3, 1, 12, 30, 45, tzinfo=dt.UTC),
    "took": dt.timedelta(hours=36),
}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("row['line']['taxes'][0]['rate']", 0.077),
        ("row['tags'][-1]", "b"),
        ("row['tags'][-2]", "a"),
        ("row.get('line').get('taxes')[0].get('code', 'none')", "none"),
        ("row['line'].get('none', 1)", None),
        ("row.get('gone').get('deeper', 'default')", "default"),
        ("row['none'].get('deeper')", None),
        ("row['name'] or row['n']", " Ada "),
        ("row['n'] and row['empty'] and row['x']", []),
        ("len(row['tags']) + len(row['name']) + len(row['line'])", 10),
        ("upper(strip(row['name'])) + lower('XY')", "ADAxy"),
        ("startswith(row['name'], ' A') and endswith(row['name'], ' ') and contains(row['name'], 'da')", True),
        ("round(row['x']) + round(3.5)", 6),
        ("round(1.005 * 100, 1)", 100.5),
        ("round(row['paid'], 1)", Decimal("12.3")),
        ("round(row['x'], 18)", 2.5),
        ("floor(9007199254740991.0)", 9007199254740991),
        ("9007199254740990 + 1", 9007199254740991),
        ("round(row['paid'], -1)", Decimal(10)),
        ("round(row['paid']) + floor(row['paid']) + ceil(row['paid'])", 37),
        ("floor(-2.5) + ceil(-2.5)", -5),
        ("abs(row['n']) + abs(-0.5)", 7.5),
        ("abs(duration('-PT1H'))", dt.timedelta(hours=1)),
        ("min(row['n'], 3, row['x'])", -7),
        ("max(row['tags'])", "b"),
        ("max(row['paid'], 12.31)", 12.31),
        ("text(row['paid']) + text(row['n']) + text(True)", "12.30-7true"),
        ("int('12') + float('0.5')", 12.5),
        ("row['paid'] * 1.077", Decimal("13.24710")),
        ("row['paid'] / 3", Decimal("4.10")),
        ("decimal(1) / 3", Decimal("0.333333333333333333")),
        ("row['paid'] % 5", Decimal("2.30")),
        ("-row['paid'] + 1", Decimal("-11.30")),
        ("row['paid'] - 12.3", Decimal("0.00")),
        ("row['paid'] + 0", Decimal("12.30")),
        ("3.3 - row['paid']", Decimal("-9.00")),
        ("-row['took']", dt.timedelta(hours=-36)),
        ("-row['zero']", Decimal("0.00")),
        ("+row['n']", -7),
        ("+row['took']", dt.timedelta(hours=36)),
        ("abs(-row['paid'])", Decimal("12.30")),
        ("min(row['paid'], 12.3)", Decimal("12.30")),
        ("max(12.3, row['paid'])", 12.3),
        ("'taxes' in row['line']", True),
        ("'gone' in row['line']", False),
        ("'a' in row['pair']", True),
        ("len(row['pair'])", 2),
        ("row['pair'][1]", "b"),
        ("max(row['pair'])", "b"),
        ("contains(row['tags'][0], ' ')", False),
        ("row['none'] == row['day']", False),
        ("row['none'] != row['paid']", True),
        ("text(duration('PT5S'))", "PT5S"),
        ("row['paid'] == 12.3 and 12.3 == row['paid'] and row['paid'] != 12.31", True),
        ("12 < row['paid'] <= 12.3", True),
        ("row['paid'] in [5, 12.3]", True),
        ("row['day'] in [date('2026-03-01')]", True),
        ("row['day'] == None or row['day'] is None", False),
        ("row['day'] >= date('2026-01-31')", True),
        ("row['day'] + duration('P1D') == date('2026-03-02')", True),
        ("row['day'] - date('2026-02-01')", dt.timedelta(days=28)),
        ("row['at'] - row['took']", dt.datetime(2026, 2, 28, 0, 30, 45, tzinfo=dt.UTC)),
        ("row['took'] * 2 - duration('PT0.5S')", dt.timedelta(hours=72, milliseconds=-500)),
        ("seconds(row['took'])", 129600.0),
        ("date(row['at'])", dt.date(2026, 3, 1)),
        ("datetime('2026-03-01T13:30:45+01:00') == row['at']", True),
        ("year(row['day']) * 10000 + month(row['at']) * 100 + day(row['day'])", 20260301),
        ("weekday(row['day'])", 7),
        ("hour(row['at']) * 10000 + minute(row['at']) * 100 + second(row['at'])", 123045),
        ("decimal('1.5', 2)", Decimal("1.50")),
        ("decimal('7.0', 0)", Decimal(7)),
    ],
)
def test_expressions_have_the_expected_values(source: str, value: object) -> None:
    result = compile_expression(source).evaluate(ROW)
    assert (repr(result), type(result)) == (repr(value), type(value))


@pytest.mark.parametrize(
    ("source", "field", "problem"),
    [
        ("row['line']['gone']", "line", "there is no 'gone'"),
        ("row['tags'][2]", "tags", "there is no item 2 in a list of 2 items"),
        ("row['tags'][-3]", "tags", "there is no item -3 in a list of 2 items"),
        ("row['tags']['a']", "tags", "expected an object, got a list of 2 items"),
        ("row['name'][0]", "name", "expected a list, got text of 5 characters"),
        ("row['none']['a']", "none", "expected an object, got null"),
        ("row['name'].get('a')", "name", "expected an object, got text of 5 characters"),
        ("len(row['n'])", "n", "expected text, a list or an object, got an integer"),
        ("upper(row['none'])", "none", "expected text, got null"),
        ("round(row['name'])", "name", "expected a number, got text of 5 characters"),
        ("round(row['x'], row['n'] * 9)", "x", "expected from -18 to 18 decimal places"),
        ("decimal(row['n'], row['n'])", "n", "expected from 0 to 18 decimal places"),
        ("round(1e300 * row['x'])", "x", "the result is out of range"),
        ("floor(-1e300 * row['x'])", "x", "the result is out of range"),
        ("ceil(row['infinite'])", "infinite", "expected a finite number"),
        ("round(row['x'], True)", "x", "expected from -18 to 18 decimal places"),
        ("round(row['x'], 19)", "x", "expected from -18 to 18 decimal places"),
        ("round(row['x'], 0.5)", "x", "expected from -18 to 18 decimal places"),
        ("decimal(row['x'], True)", "x", "expected from 0 to 18 decimal places"),
        ("decimal(row['x'], 19)", "x", "expected from 0 to 18 decimal places"),
        ("max(row['tags'], 1)", "tags", "'>' not supported between instances of 'int' and 'list'"),
        ("max(row['line']['none'])", "line", "expected several values or a list, got null"),
        ("min(row['empty'])", "empty", "expected several values or a list, got a list of 0 items"),
        (
            "text(row['tags'])",
            "tags",
            "expected text, a number, a boolean, a date, a time or a duration, got a list of 2 items",
        ),
        (
            "row['day'] == '2026-03-01'",
            "day",
            (
                "expected two values of one kind, got a date and text of 10 characters "
                "(text becomes a date, a time or a duration by date(), datetime() or duration())"
            ),
        ),
        (
            "'2026-03-01' != row['day']",
            "day",
            (
                "expected two values of one kind, got text of 10 characters and a date "
                "(text becomes a date, a time or a duration by date(), datetime() or duration())"
            ),
        ),
        ("row['day'] < row['at']", "day", "expected two values of one kind, got a date and a date and time"),
        ("row['paid'] < row['none']", "paid", "expected two values of one kind, got a decimal and null"),
        ("row['paid'] == True", "paid", "expected two values of one kind, got a decimal and a boolean"),
        ("row['paid'] / 0", "paid", "division by zero"),
        ("row['paid'] % 0.0", "paid", "division by zero"),
        ("row['paid'] + (0.1 + 0.2)", "paid", "expected a number of at most 15 digits, got a float of more"),
        (
            "row['paid'] * 9007199254740991 * 9007199254740991",
            "paid",
            "expected a decimal of at most 20 digits before the point, got a larger one",
        ),
        ("row['day'] + row['took']", "day", "expected a duration of whole days beside a date"),
        ("row['day'] + duration('PT0.5S')", "day", "expected a duration of whole days beside a date"),
        ("row['day'] - duration('PT0.5S')", "day", "expected a duration of whole days beside a date"),
        ("row['day'] + duration('P9999999D')", "day", "date value out of range"),
        ("row['day'] + 1", "day", "expected two numbers or two texts, got date and int"),
        ("hour(row['day'])", "day", "expected a date and time, got a date"),
        ("year(row['n'])", "n", "expected a date or a time, got an integer"),
        ("seconds(row['n'])", "n", "expected a duration, got an integer"),
        ("-row['day']", "day", "expected a number, got date"),
    ],
)
def test_a_row_without_a_value_names_field_and_problem(source: str, field: str, problem: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        compile_expression(source).evaluate(ROW)
    assert str(caught.value).partition(": ")[2] == problem
    assert caught.value.field == field


LITERALS = st.sampled_from(["1", "-2", "0.5", "0", "'a'", "''", "True", "None", "date('2026-03-01')", "[1, 'a', 0.5]"])
FIELDS = st.sampled_from(["row['a']", "row.get('b', 1)", "row['a']['b']", "row['b'][0]", "row.get('a').get('a')"])


def calls(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return expressions with a call of each function."""
    return st.sampled_from(sorted(FUNCTIONS)).flatmap(
        lambda name: st.lists(inner, min_size=FUNCTIONS[name].least, max_size=min(FUNCTIONS[name].most, 3)).map(
            lambda arguments: f"{name}({', '.join(arguments)})"
        )
    )


EXPRESSIONS = st.recursive(
    LITERALS | FIELDS,
    lambda inner: st.one_of(
        calls(inner),
        calls(inner),
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/", "%"]), inner),
        st.builds("({} {} {})".format, inner, st.sampled_from(["<", "<=", "==", "!=", "in", "not in"]), inner),
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds("(-{})".format, inner),
    ),
    max_leaves=6,
)
CELLS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats()
    | st.text(max_size=5)
    | st.decimals(-(10**19), 10**19, places=3)
    | st.dates()
    | st.datetimes(timezones=st.just(dt.UTC))
    | st.timedeltas(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=4,
)


def size(value: object) -> int:
    """Return the characters that a value takes, at least one."""
    if isinstance(value, Mapping):
        return 1 + sum(len(str(key)) + size(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return 1 + sum(map(size, value))
    return 1 + len(value) if isinstance(value, str) else max(1, len(str(plain(value))))


@given(EXPRESSIONS, st.fixed_dictionaries({"a": CELLS, "b": CELLS}))
def test_an_expression_has_a_bounded_value_or_an_error_of_its_own(source: str, row: dict[str, object]) -> None:
    """A value has at most three times what is read.

    A number may take 45 characters, whatever it was made of.
    """
    try:
        expression = compile_expression(source)
    except ExpressionError:
        return  # a function of literals without a value
    before = repr(row)
    try:
        result = expression.evaluate(row)
    except EvaluationError:
        return
    finally:
        assert repr(row) == before
    reads = source.count("row") * max(map(size, row.values())) + len(source)
    assert size(result) <= max(45, 3 * reads)


@given(EXPRESSIONS, st.fixed_dictionaries({"a": CELLS, "b": CELLS}))
def test_an_expression_is_deterministic(source: str, row: dict[str, object]) -> None:
    def evaluate() -> str:
        try:
            return repr(compile_expression(source).evaluate(row))
        except ValueError as error:
            return str(error)

    assert evaluate() == evaluate()
