"""The contract of sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, cast

import pytest

from elspeth.contracts.plugins import PluginError, Source
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.testing.plugins import PluginContract, repeated_values, require_datasets, require_rows

__all__ = ["SourceContract"]


class SourceContract(PluginContract):
    """Tests that a source passes.

    `options` writes an input and returns the options to read it. `rows` has the rows in it, `invalid_rows` the number
    of items that cannot be rows. `missing` returns options for an input that is not there, if there are such.
    """

    plugin: ClassVar[type[Source]]
    rows: ClassVar[Sequence[RowData]]
    invalid_rows: ClassVar[int] = 0

    def missing(self, directory: Path) -> Mapping[str, object] | None:  # noqa: ARG002  for subclasses
        """Return options with which there is nothing to read."""
        return None

    def test_it_yields_the_rows_of_its_input(self, tmp_path: Path) -> None:
        """Items that cannot be rows are yielded, too, as `InvalidRow`."""
        source = self._new(tmp_path)
        source.check()
        items = list(source.read())
        rows = [item for item in items if not isinstance(item, InvalidRow)]
        require_rows(rows)
        assert rows == list(self.rows)
        assert len(items) - len(rows) == self.invalid_rows

    def test_it_yields_the_same_again(self, tmp_path: Path) -> None:
        """A resumed run reads again, and compares the rows."""
        options = self.options(tmp_path)
        first, second = (list(cast(Source, self.make(options)).read()) for _ in range(2))
        assert first == second

    def test_what_it_says_about_invalid_rows_repeats_no_value(self, tmp_path: Path) -> None:
        """Errors of invalid rows are exported, their data is not."""
        for item in self._new(tmp_path).read():
            if isinstance(item, InvalidRow):
                assert item.error, "the error must not be empty"
                assert repeated_values([item.data], item.error, {}) == [], f"the error repeats values: {item.error}"

    def test_what_it_names_as_inputs_is_complete_after_the_last_row(self, tmp_path: Path) -> None:
        """Together they have all rows."""
        source = self._new(tmp_path)
        named = [[each.path_or_uri for each in source.inputs()] for _ in source.read()]
        inputs = source.inputs()
        assert all(each.is_complete for each in inputs)
        assert not inputs or sum(each.rows for each in inputs) == len(named)
        assert all(names == [each.path_or_uri for each in inputs[: len(names)]] for names in named)

    def test_it_names_its_datasets_before_it_reads(self, tmp_path: Path) -> None:
        """Lineage events name them; a resumed run names the same."""
        options = self.options(tmp_path)
        first, second = (list(cast(Source, self.make(options)).datasets()) for _ in range(2))
        require_datasets(first)
        assert first == second

    def test_it_says_how_much_has_been_read(self, tmp_path: Path) -> None:
        """A fraction that never falls, or None."""
        source = self._new(tmp_path)
        fractions = [source.fraction_read() for _ in source.read()]
        known = [0.0, *(each for each in fractions if each is not None), 1.0]
        assert sorted(known) == known

    def test_reading_can_stop_early(self, tmp_path: Path) -> None:
        """What was opened is closed when the run stops."""
        items = iter(self._new(tmp_path).read())
        next(items, None)
        close = getattr(items, "close", None)
        if close is not None:
            close()

    def test_an_input_that_is_missing_is_found_before_the_run(self, tmp_path: Path) -> None:
        """Both `check` and `read` raise PluginError."""
        options = self.missing(tmp_path)
        if options is None:
            return
        source = cast(Source, self.make(options))
        with pytest.raises(PluginError):
            source.check()
        with pytest.raises(PluginError):
            list(source.read())

    def _new(self, directory: Path) -> Source:
        return cast(Source, self.make(self.options(directory)))
