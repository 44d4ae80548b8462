"""Fields are chosen, removed and renamed."""

import pytest

from elspeth.contracts.plugins import RowError
from elspeth.contracts.rows import RowData
from tests.plugins.transforms.processing import problem_of, process

ROW: RowData = {"a": 1, "b": {"c": 2, "d": [3, 4]}, "e.f": 5}


def ordered(row: object) -> list[tuple[str, object]]:
    """Return the fields of a row in their order."""
    assert isinstance(row, dict)
    return list(row.items())


def copy() -> RowData:
    """Return a row that may be changed."""
    return {"a": 1, "b": {"c": 2, "d": [3, 4]}, "e.f": 5}


def test_the_chosen_fields_are_kept_in_the_order_of_the_settings() -> None:
    assert ordered(process("select", copy(), fields=["e.f", "a"])) == [("e.f", 5), ("a", 1)]
    assert process("select", copy(), fields=["a", "x"]) == RowError(
        message="field 'x' is missing", details={"field": "x"}
    )
    assert process("select", copy(), fields=["a", "x"], on_missing="ignore") == {"a": 1}


def test_fields_are_removed_wherever_they_are() -> None:
    assert process("drop", copy(), fields=["a", "b.d.0", "e.f"]) == {"b": {"c": 2, "d": [4]}}
    for name in ("b.x", "b.d.2", "b.d.-1", "b.d.\u00b2"):
        assert process("drop", copy(), fields=[name]) == RowError(
            message=f"field {name!r} is missing", details={"field": name}
        )
    assert process("drop", copy(), fields=["b.x", "b", "x"], on_missing="ignore") == {"a": 1, "e.f": 5}


@pytest.mark.parametrize(("plugin", "option"), [("rename", "fields"), ("field_mapper", "mapping")])
def test_fields_are_renamed_in_their_places_and_taken_out_of_objects(plugin: str, option: str) -> None:
    names = {"a": "A", "b.c": "c", "e.f": "b"}
    row = copy() | {"z": 6}
    del row["e.f"]
    assert ordered(process(plugin, row, **{option: {"a": "A", "b.c": "c"}})) == [
        *[("A", 1), ("b", {"d": [3, 4]}), ("z", 6), ("c", 2)],
    ]
    assert process(plugin, copy(), **{option: names}) == RowError(
        message="field 'b' exists already", details={"field": "b"}
    )
    taken: list[RowData] = [copy(), {"a": None, "b": {"c": 2}}]
    for each in taken:
        assert process(plugin, each, **{option: {"b.c": "a"}}) == RowError(
            message="field 'a' exists already", details={"field": "a"}
        )
    assert process(plugin, copy(), **{option: {"b.x": "x"}}) == RowError(
        message="field 'b.x' is missing", details={"field": "b.x"}
    )


def test_only_what_is_renamed_or_computed_is_kept_if_asked() -> None:
    options = {"mappings": {"a": "A"}, "computed": {"two": "row['A'] + row['e.f']"}, "select_only": True}
    assert process("field_mapper", copy(), **options) == {"A": 1, "two": 6}
    names = {"e.f": "z", "b.c": "b"}  # the object `b` is not kept
    assert ordered(process("field_mapper", copy(), mapping=names, select_only=True)) == [("z", 5), ("b", 2)]
    missing = process("field_mapper", copy(), mapping={"b.x": "x"}, select_only=True)
    assert missing == RowError(message="field 'b.x' is missing", details={"field": "b.x"})


def test_impossible_options_are_refused() -> None:
    assert problem_of("rename", fields={"a": "c", "b": "c"}) == "two fields would both be named 'c'"
    assert problem_of("rename", fields={"a": "c", "b": "c", "c": "d"}) == "two fields would both be named 'c'"
    both = problem_of("field_mapper", mapping={"a": "b"}, mappings={"a": "b"})
    assert both == "mapping is another name of mappings: give one of them"
