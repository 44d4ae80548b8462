"""Sources that break their contract fail tests of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from elspeth.contracts.plugins import (
    Dataset,
    Plugin,
    PluginError,
    ReadInput,
    Source,
    SourceOptions,
)
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.testing import (
    SourceContract,
)
from tests.testing.breaking import failing


class Reading(Source):
    """A source that keeps its contract."""

    name = "reading"
    plugin_version = "1.0.0"
    options_model = SourceOptions
    items: tuple[RowData | InvalidRow, ...] = ({"id": 1}, InvalidRow(data={"id": "seven"}, error="no integer"))

    def read(self) -> Iterator[RowData | InvalidRow]:
        yield from self.items


class ReadingContract(SourceContract):
    plugin = Reading
    rows = ({"id": 1},)
    invalid_rows = 1


class Drifting(Reading):
    """Reads other rows each time."""

    times = iter(range(1_000))

    def read(self) -> Iterator[RowData | InvalidRow]:
        next(self.times)
        yield {"id": 1}
        yield InvalidRow(data={"id": next(self.times)}, error="no integer")


class Falling(Reading):
    """Reports less and less progress."""

    fractions = iter([0.9, 0.1])

    def fraction_read(self) -> float | None:
        return next(self.fractions, None)


class Clinging(Reading):
    """Fails when it should stop."""

    def read(self) -> Iterator[RowData | InvalidRow]:
        try:
            yield from self.items
        except GeneratorExit:
            raise OSError from None


class Unready(Reading):
    """Finds nothing to read."""

    def check(self) -> None:
        raise PluginError("there is nothing")


class Renaming(Reading):
    """Gives what it reads another name each time."""

    names = iter(map(str, range(1_000)))

    def inputs(self) -> list[ReadInput]:
        return [ReadInput(input_type="file", rows=2, is_complete=True, path_or_uri=next(self.names))]

    def datasets(self) -> list[Dataset]:
        return [Dataset(namespace="file", name=next(self.names))]


def _reads(*, rows: int = 2, is_complete: bool = True) -> type[Source]:
    inputs = [ReadInput(input_type="file", rows=rows, is_complete=is_complete, path_or_uri="in.csv")]
    return type(f"Inputs{rows}{is_complete}", (Reading,), {"inputs": lambda _: inputs})


def _names(*names: str) -> type[Source]:
    datasets = [Dataset(namespace="file", name=name) for name in names]
    return type(f"Named{len(names)}{names[0][:1]}", (Reading,), {"datasets": lambda _: datasets})


INPUTS = "what_it_names_as_inputs_is_complete_after_the_last_row"
DATASETS = "it_names_its_datasets_before_it_reads"


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [
        (Reading, []),
        (Clinging, ["reading_can_stop_early"]),
        (Renaming, [DATASETS, INPUTS]),
        (_reads(), []),
        (_reads(rows=1), [INPUTS]),
        (_reads(is_complete=False), [INPUTS]),
        (_names(""), [DATASETS]),
        (_names("a\u202eb"), [DATASETS]),
        (_names("a", "a"), [DATASETS]),
        (_names("https://me:secret@catalogue"), [DATASETS]),
        (type("Overfull", (Reading,), {"fraction_read": lambda _: 1.5}), ["it_says_how_much_has_been_read"]),
        (type("Skipping", (Reading,), {"items": ({"id": 1},)}), ["it_yields_the_rows_of_its_input"]),
        (
            type("Silent", (Reading,), {"items": ({"id": 1}, InvalidRow(data={}, error=""))}),
            ["what_it_says_about_invalid_rows_repeats_no_value"],
        ),
        (Drifting, ["it_yields_the_same_again"]),
        (Falling, ["it_says_how_much_has_been_read"]),
        (
            type("Telling", (Reading,), {"items": ({"id": 1}, InvalidRow(data={"id": "seven"}, error="got seven"))}),
            ["what_it_says_about_invalid_rows_repeats_no_value"],
        ),
        (
            type("Named", (Reading,), {"datasets": lambda _: [Dataset(namespace="file", name="/data/in.csv")]}),
            [],
        ),
        (
            type("Blabbing", (Reading,), {"datasets": lambda _: [Dataset(namespace="pg://me:secret@db", name="x")]}),
            ["it_names_its_datasets_before_it_reads"],
        ),
        (type("Empty", (Reading,), {"items": ()}), ["it_yields_the_rows_of_its_input"]),
        (
            type("Misreading", (Reading,), {"items": ({"id": 2}, InvalidRow(data={}, error="no integer"))}),
            ["it_yields_the_rows_of_its_input"],
        ),
        (Unready, ["it_yields_the_rows_of_its_input"]),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else "",
)
def test_exactly_the_tests_of_the_rules_that_a_source_breaks_fail(
    plugin: type[Source], expected: list[str], tmp_path: Path
) -> None:
    plugin.__doc__ = plugin.__doc__ or "A source."
    contract = type("Contract", (ReadingContract,), {"plugin": plugin})
    assert failing(contract, tmp_path) == expected


@pytest.mark.parametrize("row", [{"id": {1}}, ["id"]])
def test_rows_must_be_recordable(row: RowData, tmp_path: Path) -> None:
    plugin = type("Unrecordable", (Reading,), {"items": (row,), "__doc__": "Reads anything."})
    contract = type("Contract", (ReadingContract,), {"plugin": plugin, "rows": (row,), "invalid_rows": 0})
    assert failing(contract, tmp_path) == ["it_yields_the_rows_of_its_input"]


@pytest.mark.parametrize("found", ["nowhere", "check", "read"])
def test_a_missing_input_must_be_reported(found: str, tmp_path: Path) -> None:
    def raising(_: Source) -> Iterator[RowData | InvalidRow]:
        raise PluginError("there is nothing")

    class Contract(ReadingContract):
        def make(self, options: Mapping[str, object]) -> Plugin:
            is_missing = options == {"gone": True}
            source = super().make({} if is_missing else options)
            if is_missing and found != "nowhere":
                setattr(source, found, raising.__get__(source))
            return source

        def missing(self, directory: Path) -> Mapping[str, object]:  # noqa: ARG002
            return {"gone": True}

    assert failing(Contract, tmp_path) == ["an_input_that_is_missing_is_found_before_the_run"]
