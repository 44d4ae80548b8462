"""The contracts of transforms and aggregations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import ClassVar, cast

from elspeth.contracts.enums import Determinism
from elspeth.contracts.plugins import (
    Aggregation,
    CallingTransform,
    DistinctTransform,
    FieldOrigins,
    JsonObject,
    RowDrop,
    RowError,
    Transform,
)
from elspeth.contracts.rows import RowData
from elspeth.core.canonical import stable_hash
from elspeth.testing.plugins import PluginContract, repeated_values, require_rows

__all__ = ["AggregationContract", "CallingTransformContract", "DistinctTransformContract", "TransformContract"]


class _StepContract(PluginContract):
    """Tests that transforms and aggregations pass.

    An input is a row or a batch.
    """

    def _results(self, directory: Path, inputs: Sequence[object]) -> list[object]:
        """Return what a new plugin makes of the inputs."""
        raise NotImplementedError

    def _accepted(self) -> Sequence[object]:
        raise NotImplementedError

    def _refused(self) -> Sequence[object]:
        raise NotImplementedError

    def test_what_it_refuses_gets_an_error_that_repeats_no_value(self, tmp_path: Path) -> None:
        """Errors are exported, the content of rows is not."""
        for each, result in zip(self._refused(), self._results(tmp_path, self._refused()), strict=True):
            assert isinstance(result, RowError), f"expected a RowError for {each!r}, got {result!r}"
            rows = each if isinstance(each, list | tuple) else [each]
            self._require_message(tmp_path, rows, result.message, result.details)

    def _require_message(
        self, directory: Path, rows: Sequence[object], message: str, details: Mapping[str, object]
    ) -> None:
        """Require a message that can be recorded and exported."""
        assert message, "the message must not be empty"
        stable_hash(dict(details))
        known = repr(self.options(directory))
        repeated = [value for value in repeated_values(rows, message, details) if value not in known]
        assert repeated == [], f"values of the row are repeated: {message!r} {details!r}"

    def test_the_same_input_has_the_same_result_after_a_resume(self, tmp_path: Path) -> None:
        """A resumed run makes its plugins again, midway."""
        if self.make(self.options(tmp_path)).determinism not in {Determinism.DETERMINISTIC, Determinism.EXTERNAL_CALL}:
            return
        inputs = [*self._accepted(), *self._refused()]
        first = self._results(tmp_path, inputs)
        assert [self._results(tmp_path, [each])[0] for each in inputs] == first
        assert self._results(tmp_path, inputs[::-1])[::-1] == first


class TransformContract(_StepContract):
    """Tests that a transform passes.

    `rows` has rows that it accepts or drops, `refused` rows for which it returns a `RowError`.
    """

    plugin: ClassVar[type[Transform]]
    rows: ClassVar[Sequence[RowData]]
    refused: ClassVar[Sequence[RowData]] = ()

    def _results(self, directory: Path, inputs: Sequence[object]) -> list[object]:
        transform = cast(Transform, self.make(self.options(directory)))
        transform.check()
        transform.prepare()
        return [self.process(transform, cast(RowData, deepcopy(row))) for row in inputs]

    def _accepted(self) -> Sequence[object]:
        return self.rows

    def _refused(self) -> Sequence[object]:
        return self.refused

    def process(self, transform: Transform, row: RowData) -> RowData | list[RowData] | RowError | RowDrop:
        """Return what the transform makes of a row."""
        return transform.process(row)

    def test_what_it_reads_besides_rows_is_described_the_same(self, tmp_path: Path) -> None:
        """A resumed run compares the descriptions."""
        options = self.options(tmp_path)
        first, second = (cast(Transform, self.make(options)).prepare() for _ in range(2))
        assert stable_hash(dict(first)) == stable_hash(dict(second))

    def test_rows_that_it_accepts_become_rows(self, tmp_path: Path) -> None:
        """One row each, several, or a `RowDrop`."""
        assert self.rows, "give at least one row that the transform accepts"
        expands = cast(Transform, self.make(self.options(tmp_path))).expands
        for row, result in zip(self.rows, self._results(tmp_path, self.rows), strict=True):
            assert not isinstance(result, RowError), f"the row {row!r} was refused: {result}"
            if isinstance(result, RowDrop):
                self._require_message(tmp_path, [row], result.reason, result.details)
                continue
            if isinstance(result, list):
                assert expands, "a list of rows needs `expands = True`"
                assert result, "a row cannot become no rows: return a RowDrop or RowError that says why it ends"
            require_rows(result if isinstance(result, list) else [result])

    def test_fields_have_the_origins_that_it_names(self, tmp_path: Path) -> None:
        """Lineage events trace the fields of outputs by them."""
        options = self.options(tmp_path)
        origins, again = (cast(Transform, self.make(options)).field_origins() for _ in range(2))
        assert origins == again
        if origins is None or issubclass(self.plugin, DistinctTransform):
            return
        for row, result in zip(self.rows, self._results(tmp_path, self.rows), strict=True):
            for made in result if isinstance(result, list) else [result]:
                if isinstance(made, dict):
                    _require_origins(origins, row, made)


def _require_origins(origins: FieldOrigins, row: RowData, made: RowData) -> None:
    """Require that fields come from where they should."""
    inside = {name.partition(".")[0] for name in (*origins.changed, *origins.removed) if name not in row}
    for name, value in made.items():
        if name in origins.derived:
            continue
        origin = origins.same.get(name, name)
        is_kept = name in origins.same or (origins.keeps_others and name not in origins.removed)
        assert is_kept, f"field {name!r} of the result has no origin"
        assert origin in row or "." in origin, f"field {name!r} of the result: the row has no {origin!r}"
        may_differ = name not in origins.same and name in {*origins.changed, *inside}
        assert may_differ or origin not in row or row[origin] == value, f"field {name!r} is not {origin!r} unchanged"
    if origins.keeps_others:
        lost = row.keys() - made.keys() - set(origins.removed)
        assert not lost, f"the result lacks fields of the row: {sorted(lost)}"


class DistinctTransformContract(TransformContract):
    """Tests that a transform passes that drops repeated rows.

    `rows` has rows with different keys, `repeated` rows with the key of the first of them.
    """

    plugin: ClassVar[type[DistinctTransform]]
    repeated: ClassVar[Sequence[RowData]] = ()

    def process(self, transform: Transform, row: RowData) -> RowData | RowError:
        """Return the key of a row."""
        key = cast(DistinctTransform, transform).key(row)
        return key if isinstance(key, RowError) else {"key": key}

    def test_its_keys_tell_rows_apart(self, tmp_path: Path) -> None:
        """Keys are compared by their canonical JSON."""
        keys = [stable_hash(cast(RowData, result)) for result in self._results(tmp_path, self.rows)]
        assert len(set(keys)) == len(keys), "rows with different keys have the same one"
        again = {stable_hash(cast(RowData, result)) for result in self._results(tmp_path, self.repeated)}
        assert again <= {keys[0]}, "rows with the same key have different ones"


class CallingTransformContract(TransformContract):
    """Tests that a transform passes that calls a system outside.

    `answer` stands for that system: nothing is sent.
    """

    plugin: ClassVar[type[CallingTransform]]

    def answer(self, request: JsonObject) -> JsonObject:
        """Return what the system answers to a request."""
        raise NotImplementedError

    def process(self, transform: Transform, row: RowData) -> RowData | list[RowData] | RowError | RowDrop:
        """Return what becomes of a row with its answer."""
        calling = cast(CallingTransform, transform)
        request = calling.request(deepcopy(row))
        return request if isinstance(request, RowError) else calling.result(row, self.answer(request))

    def test_it_names_the_service_that_it_calls(self, tmp_path: Path) -> None:
        """Settings limit calls by this name."""
        assert self._new(tmp_path).service

    def test_requests_and_answers_can_be_recorded(self, tmp_path: Path) -> None:
        """Both are kept as JSON, the answer by its request."""
        transform, other = self._new(tmp_path), self._new(tmp_path)
        for row in self.rows:
            request = transform.request(deepcopy(row))
            assert not isinstance(request, RowError), f"the row {row!r} was refused: {request}"
            assert stable_hash(dict(request)) == stable_hash(dict(cast(JsonObject, other.request(deepcopy(row)))))
            answer = self.answer(request)
            stable_hash(dict(answer))
            stable_hash(dict(transform.comparable(answer)))

    def _new(self, directory: Path) -> CallingTransform:
        return cast(CallingTransform, self.make(self.options(directory)))


class AggregationContract(_StepContract):
    """Tests that an aggregation passes.

    `batches` has batches that it accepts, `refused` batches for which it returns a `RowError`.
    """

    plugin: ClassVar[type[Aggregation]]
    batches: ClassVar[Sequence[Sequence[RowData]]]
    refused: ClassVar[Sequence[Sequence[RowData]]] = ()

    def _results(self, directory: Path, inputs: Sequence[object]) -> list[object]:
        aggregation = cast(Aggregation, self.make(self.options(directory)))
        aggregation.prepare()
        return [aggregation.process(list(deepcopy(cast(Sequence[RowData], batch)))) for batch in inputs]

    def _accepted(self) -> Sequence[object]:
        return self.batches

    def _refused(self) -> Sequence[object]:
        return self.refused

    def test_batches_that_it_accepts_become_rows(self, tmp_path: Path) -> None:
        """A list of rows for each batch."""
        assert self.batches, "give at least one batch that the aggregation accepts"
        for batch, result in zip(self.batches, self._results(tmp_path, self.batches), strict=True):
            assert isinstance(result, list), f"expected a list for the batch {batch!r}, got {result!r}"
            require_rows(result)
