"""The transforms and aggregations: results and errors of rows."""

from collections.abc import Mapping
from decimal import Decimal

import pytest
from pydantic import ValidationError

from elspeth.contracts.plugins import PluginKind, RowDrop, RowError
from elspeth.contracts.rows import RowData
from elspeth.plugins.manager import PluginManager

PLUGINS = PluginManager.installed()


def process(plugin: str, row: RowData, **options: object) -> RowData | list[RowData] | RowError | RowDrop:
    return PLUGINS.transform(plugin, options).process(row)


def test_passthrough_changes_nothing() -> None:
    assert process("passthrough", {"a": 1}) == {"a": 1}


def test_a_field_is_renamed_in_its_place() -> None:
    mapped = process("field_mapper", {"a": 1, "b": 2, "c": 3}, mappings={"b": "B"})
    assert list(mapped.items() if isinstance(mapped, dict) else ()) == [("a", 1), ("B", 2), ("c", 3)]


def test_two_fields_can_swap_their_names() -> None:
    assert process("field_mapper", {"a": 1, "b": 2}, mappings={"a": "b", "b": "a"}) == {"b": 1, "a": 2}


def test_computed_fields_see_the_renamed_row_and_not_each_other() -> None:
    computed = {"total": "row['price'] * row['n']", "n": "row['n'] + 1"}
    assert process("field_mapper", {"cost": 2.5, "n": 4}, mappings={"cost": "price"}, computed=computed) == {
        "price": 2.5,
        "n": 5,
        "total": 10.0,
    }


@pytest.mark.parametrize(
    ("plugin", "row", "options", "message", "details"),
    [
        ("field_mapper", {}, {"mappings": {"a": "b"}}, "field 'a' is missing", {"field": "a"}),
        ("field_mapper", {"a": 1, "b": 2}, {"mappings": {"a": "b"}}, "field 'b' exists already", {"field": "b"}),
        (
            "field_mapper",
            {},
            {"computed": {"x": "row['a'] + 1"}},
            "the row has no field 'a'",
            {"field": "a"},
        ),
        (
            "keyword_filter",
            {"note": "top Secret", "n": 1},
            {"fields": ["n", "note"], "blocked_patterns": ["top secret", "(?i)secret"]},
            "field 'note' contains the blocked pattern '(?i)secret'",
            {"field": "note", "pattern": "(?i)secret"},
        ),
        ("json_explode", {"a": 1}, {"array_field": "b"}, "field 'b' is missing", {"field": "b"}),
        ("json_explode", {"b": []}, {"array_field": "b"}, "field 'b' is an empty list", {"field": "b"}),
        ("json_explode", {"b": 5}, {"array_field": "b"}, "field 'b' expected a list, got an integer", {"field": "b"}),
        (
            "json_explode",
            {"b": "[1"},
            {"array_field": "b"},
            "field 'b' cannot be read: not JSON: Expecting ',' delimiter at character 3",
            {"field": "b"},
        ),
        ("json_explode", {"b": [1], "item": 0}, {"array_field": "b"}, "field 'item' exists already", {"field": "item"}),
        (
            "json_explode",
            {"b": [1], "item_index": 0},
            {"array_field": "b"},
            "field 'item_index' exists already",
            {"field": "item_index"},
        ),
    ],
)
def test_a_row_is_refused_with_a_reason(
    plugin: str, row: RowData, options: Mapping[str, object], message: str, details: Mapping[str, object]
) -> None:
    assert process(plugin, row, **options) == RowError(message=message, details=details)


def test_a_filter_searches_text_only_and_all_fields_if_asked() -> None:
    row: RowData = {"a": 5, "b": None, "c": ["secret"], "d": "public"}
    assert process("keyword_filter", row, fields="all", blocked_patterns=["secret"]) == row
    assert process("keyword_filter", row, fields=["a", "missing"], blocked_patterns=["public"]) == row
    assert isinstance(process("keyword_filter", row, fields="all", blocked_patterns=["pub"]), RowError)
    assert process("keyword_filter", row, fields=["all"], blocked_patterns=["pub"]) == row  # a field of this name


@pytest.mark.parametrize("items", [["x", {"y": 1}], '["x", {"y": 1}]'])
def test_each_item_of_a_list_becomes_a_row(items: object) -> None:
    assert process("json_explode", {"id": 7, "list": items}, array_field="list") == [
        {"id": 7, "item": "x", "item_index": 0},
        {"id": 7, "item": {"y": 1}, "item_index": 1},
    ]


def test_an_item_can_take_the_place_of_its_list() -> None:
    options = {"array_field": "list", "output_field": "list", "include_index": False}
    assert process("json_explode", {"list": [1, 2]}, **options) == [{"list": 1}, {"list": 2}]


def batch(plugin: str, rows: list[RowData], **options: object) -> list[RowData] | RowError:
    return PLUGINS.aggregation(plugin, options).process(rows)


def test_statistics_summarise_a_batch() -> None:
    rows: list[RowData] = [{"v": 1}, {"v": 2}, {"v": 6}]
    assert batch("batch_stats", rows, value_field="v") == [{"count": 3, "sum": 9, "mean": 3.0}]
    assert batch("batch_stats", rows, value_field="v", compute_mean=False) == [{"count": 3, "sum": 9}]


def test_statistics_do_not_depend_on_the_order_of_rows() -> None:
    rows: list[RowData] = [{"v": value} for value in (1e16, 1.0, -1e16, 0.1)]
    assert batch("batch_stats", rows, value_field="v") == batch("batch_stats", rows[::-1], value_field="v")


def test_the_sum_of_decimals_is_exact_and_a_decimal() -> None:
    rows: list[RowData] = [{"v": Decimal("0.10")}, {"v": 0.2}, {"v": 1}]
    [stats] = batch("batch_stats", rows, value_field="v")  # type: ignore[misc]  # not an error
    assert repr(stats) == "{'count': 3, 'sum': Decimal('1.30'), 'mean': Decimal('0.433333333333333333')}"
    too_large = batch("batch_stats", [{"v": Decimal("6e19")}] * 2, value_field="v")
    assert too_large == RowError(
        message="field 'v': expected a decimal of at most 20 digits before the point, got a larger one",
        details={"field": "v"},
    )


def test_groups_come_in_the_order_in_which_they_occur() -> None:
    rows: list[RowData] = [{"k": "b", "v": 1}, {"k": "a", "v": 2}, {"k": "b", "v": 3}]
    assert batch("batch_stats", rows, value_field="v", group_by="k", compute_mean=False) == [
        {"k": "b", "count": 2, "sum": 4},
        {"k": "a", "count": 1, "sum": 2},
    ]


def test_values_of_different_types_are_different_groups() -> None:
    keys = [1, "1", None, "None", True, 1]
    rows: list[RowData] = [{"k": key, "v": 1} for key in keys]
    stats = batch("batch_stats", rows, value_field="v", group_by="k", compute_mean=False)
    assert isinstance(stats, list)
    assert [(repr(row["k"]), row["count"]) for row in stats] == [
        ("1", 2),
        ("'1'", 1),
        ("None", 1),
        ("'None'", 1),
        ("True", 1),
    ]


def test_rows_are_replicated_in_order() -> None:
    rows: list[RowData] = [{"id": "a", "copies": 2}, {"id": "b", "copies": 0}, {"id": "c"}]
    assert batch("batch_replicate", rows) == [
        {"id": "a", "copies": 2, "copy_index": 0},
        {"id": "a", "copies": 2, "copy_index": 1},
        {"id": "c", "copy_index": 0},
    ]
    assert batch("batch_replicate", [{"id": "a"}], include_copy_index=False, default_copies=2) == [{"id": "a"}] * 2
    most = batch("batch_replicate", [{"copies": 10_000}], include_copy_index=False)
    assert most == [{"copies": 10_000}] * 10_000


@pytest.mark.parametrize(
    ("plugin", "value", "message"),
    [
        ("batch_stats", "1", "row 1 of the batch: field 'v': expected a number, got text of 1 character"),
        ("batch_stats", True, "row 1 of the batch: field 'v': expected a number, got a boolean"),
        ("batch_replicate", True, "row 1 of the batch: field 'v': expected an integer from 0 to 10000, got a boolean"),
        ("batch_replicate", 2.5, "row 1 of the batch: field 'v': expected an integer from 0 to 10000, got a number"),
        ("batch_replicate", -1, "row 1 of the batch: field 'v': expected an integer from 0 to 10000, got one beyond"),
        (
            "batch_replicate",
            10_001,
            "row 1 of the batch: field 'v': expected an integer from 0 to 10000, got one beyond",
        ),
    ],
)
def test_a_batch_is_refused_with_a_reason(plugin: str, value: object, message: str) -> None:
    option = "value_field" if plugin == "batch_stats" else "copies_field"
    rows: list[RowData] = [{"v": 1}, {"v": value}]
    assert batch(plugin, rows, **{option: "v"}) == RowError(message=message, details={"field": "v"})


@pytest.mark.parametrize(
    ("plugin", "options", "message"),
    [
        ("field_mapper", {"mappings": {"a": "c", "b": "c"}}, "two fields would both be named 'c'"),
        (
            "field_mapper",
            {"computed": {"x": "len(row)"}},
            (
                "the expression for 'x' has the name 'row' at column 5, which is not allowed: expected row['f'], "
                "row.get('f', d), comparisons, and/or/not, + - * / %, in, literals, x if c else y, functions such as "
                "len(row['f'])"
            ),
        ),
        (
            "keyword_filter",
            {"fields": ["a"], "blocked_patterns": ["("]},
            "'(' is not a regular expression: missing ), unterminated subpattern at position 0",
        ),
    ],
)
def test_impossible_options_are_refused(plugin: str, options: Mapping[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PLUGINS.options_model(PluginKind.TRANSFORM, plugin).model_validate(options)
    (problem,) = caught.value.errors()
    assert str(problem["ctx"]["error"]) == message
