"""The contract of sinks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import ClassVar, cast

import pytest

from elspeth.contracts.plugins import JsonObject, PluginError, RowRejectedError, Sink, StagedOutput
from elspeth.contracts.rows import RowData
from elspeth.testing.plugins import PluginContract, files_below, repeated_values, require_datasets

__all__ = ["SinkContract"]

_STAGING = "run-1"


class SinkContract(PluginContract):
    """Tests that a sink passes.

    `rows` has at least two rows that it takes, `rejected` rows for which `write` raises RowRejectedError. Override
    `published` unless the sink writes the one file that its option `path` names.
    """

    plugin: ClassVar[type[Sink]]
    rows: ClassVar[Sequence[RowData]]
    rejected: ClassVar[Sequence[RowData]] = ()

    def published(self, directory: Path) -> object:
        """Return what others see, or None for nothing."""
        path = Path(str(self.options(directory)["path"]))
        return path.read_bytes() if path.exists() else None

    def test_nothing_is_seen_before_it_is_published(self, tmp_path: Path) -> None:
        """Then all is seen; publishing again changes nothing."""
        sink = self._opened(tmp_path)
        assert self.published(tmp_path) is None
        self._write(sink, self.rows)
        sink.sync()
        sink.finish()
        assert self.published(tmp_path) is None, "the output is visible before it was published"
        sink.publish()
        first = self.published(tmp_path)
        sink.publish()
        assert self.published(tmp_path) == first

    def test_the_finished_output_is_described_as_it_is(self, tmp_path: Path) -> None:
        """Its hash and size are recorded before it is published."""
        output = self._finished(tmp_path)
        content = self.published(tmp_path)
        if output is not None:
            assert output.artifact_type
            assert output.path
            assert len(output.content_hash) == hashlib.sha256().digest_size * 2
            if isinstance(content, bytes):
                assert output.content_hash == hashlib.sha256(content).hexdigest()
                assert output.size_bytes == len(content)

    def test_it_names_its_dataset_before_it_writes(self, tmp_path: Path) -> None:
        """Lineage events name it; naming it leaves nothing behind."""
        sink = self._new(tmp_path)
        before = files_below(tmp_path)
        dataset = sink.dataset()
        require_datasets([] if dataset is None else [dataset])
        assert sink.dataset() == dataset
        assert files_below(tmp_path) == before

    def test_a_rejected_row_leaves_nothing(self, tmp_path: Path) -> None:
        """It takes the next row; the message repeats no value."""
        whole, disturbed = tmp_path / "whole", tmp_path / "disturbed"
        for directory in (whole, disturbed):
            directory.mkdir()
        self._finished(whole)
        sink = self._opened(disturbed)
        self._write(sink, self.rows[:1])
        for row in self.rejected:
            with pytest.raises(RowRejectedError) as caught:
                sink.write(deepcopy(row))
            assert repeated_values([row], str(caught.value), {}) == []
        self._write(sink, self.rows[1:])
        sink.finish()
        sink.publish()
        assert self.published(disturbed) == self.published(whole)

    def test_it_goes_on_in_another_process(self, tmp_path: Path) -> None:
        """What was staged after the position is dropped."""
        whole, resumed = tmp_path / "whole", tmp_path / "resumed"
        for directory in (whole, resumed):
            directory.mkdir()
        expected = self._finished(whole)
        first = self._opened(resumed)
        self._write(first, self.rows[:1])
        first.sync()
        position = _through_json(first.position())
        self._write(first, self.rows[1:])
        first.sync()
        first.close()
        second = self._new(resumed)
        second.reopen(_STAGING, position)
        self._write(second, self.rows[1:])
        second.sync()
        output = second.finish()
        second.publish()
        assert self.published(resumed) == self.published(whole)
        assert (output is None) == (expected is None)
        if output is not None and expected is not None:
            assert output.content_hash == expected.content_hash

    def test_it_confirms_what_was_published(self, tmp_path: Path) -> None:
        """A process that stopped while publishing leaves it open."""
        first = self._opened(tmp_path)
        self._write(first, self.rows)
        first.sync()
        position = _through_json(first.position())
        output = first.finish()
        first.close()
        if output is None:
            return
        second = self._new(tmp_path)
        assert not second.confirm(_STAGING, output), "the output is not in place yet"
        second.reopen(_STAGING, position)
        assert second.finish() == output
        second.publish()
        content = self.published(tmp_path)
        assert self._new(tmp_path).confirm(_STAGING, output), "the output is in place"
        assert self.published(tmp_path) == content

    def test_it_refuses_to_go_on_from_what_is_not_there(self, tmp_path: Path) -> None:
        """A position whose rows are lost is a PluginError."""
        other = tmp_path / "other"
        other.mkdir()
        first = self._opened(other)
        self._write(first, self.rows)
        first.sync()
        position = _through_json(first.position())
        first.discard()
        if position:  # a sink that remembers nothing has nothing to lose
            second = self._new(other)
            with pytest.raises(PluginError):
                second.reopen(_STAGING, position)
            second.close()

    def test_what_is_discarded_leaves_nothing(self, tmp_path: Path) -> None:
        """A run that fails for good removes what it staged."""
        self._new(tmp_path)
        before = {name for name, content in files_below(tmp_path).items() if content is not None}
        sink = self._opened(tmp_path)
        self._write(sink, self.rows)
        sink.sync()
        sink.discard()
        after = {name for name, content in files_below(tmp_path).items() if content is not None}
        assert self.published(tmp_path) is None
        assert after == before

    def _new(self, directory: Path) -> Sink:
        return cast(Sink, self.make(self.options(directory)))

    def _opened(self, directory: Path) -> Sink:
        assert len(self.rows) > 1, "give at least two rows that the sink takes"
        sink = self._new(directory)
        sink.open(_STAGING)
        return sink

    def _finished(self, directory: Path) -> StagedOutput | None:
        """Return the output of an undisturbed sink."""
        sink = self._opened(directory)
        self._write(sink, self.rows)
        sink.sync()
        output = sink.finish()
        sink.publish()
        return output

    def _write(self, sink: Sink, rows: Sequence[RowData]) -> None:
        for row in rows:
            sink.write(deepcopy(row))


def _through_json(position: JsonObject) -> JsonObject:
    """Return a position as a checkpoint keeps it."""
    return cast(JsonObject, json.loads(json.dumps(position)))
