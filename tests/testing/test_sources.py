"""Sources that break their contract fail tests of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from elspeth.contracts.plugins import (
    Dataset,
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
    """Says that less and less has been read."""

    fractions = iter([0.9, 0.1])

    def fraction_read(self) -> float | None:
        return next(self.fractions, None)


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [
        (Reading, []),
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
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else "",
)
def test_of_a_source_exactly_the_tests_of_what_it_breaks_fail(
    plugin: type[Source], expected: list[str], tmp_path: Path
) -> None:
    plugin.__doc__ = plugin.__doc__ or "A source."
    contract = type("Contract", (ReadingContract,), {"plugin": plugin})
    assert failing(contract, tmp_path) == expected


def test_a_missing_input_must_be_found(tmp_path: Path) -> None:
    class Contract(ReadingContract):
        def missing(self, directory: Path) -> Mapping[str, object]:  # noqa: ARG002
            return {}

    assert failing(Contract, tmp_path) == ["an_input_that_is_missing_is_found_before_the_run"]
