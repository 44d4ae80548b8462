"""The sinks of a run: opened together, fed row by row, published only after the audit trail names their bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from elspeth.contracts.enums import OperationStatus, OperationType
from elspeth.contracts.plugins import JsonObject, PluginError, Row, RowRejectedError, StagedOutput
from elspeth.core.landscape.queries.recorded_outputs import output_summary
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.engine.errors import AccountingError, ResumeError, blame
from elspeth.engine.outputs import RunOutputs
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.start import SinkProgress, Start
from elspeth.plugins.base import Sink

__all__ = ["OpenSink", "SinkSet"]


@dataclass(slots=True, kw_only=True)
class OpenSink:
    """A sink that takes rows. `synced_rows` may be recorded; `last_state_id` is the newest state that wrote to it.

    `before` is how far it had come when this process began. `is_in_place` says that its output is where it belongs;
    `output` is known when it is finished.
    """

    name: str
    sink: Sink
    node_id: str
    operation_id: str
    before: SinkProgress
    rows: int
    synced_rows: int
    last_state_id: str | None
    output: StagedOutput | None = None
    is_in_place: bool = False

    def write(self, row: Row) -> None:
        """Stage one row; raises what the sink raises, and counts the row only when it was taken."""
        with _blamed(self.name):
            self.sink.write(row)
        self.rows += 1

    def state(self) -> JsonObject:
        """How far the sink has come, asked after `sync`."""
        with _blamed(self.name):
            position = self.sink.position()
        return {"rows": self.rows, "last_state_id": self.last_state_id, "position": position}


class SinkSet:
    """All sinks of one run."""

    def __init__(self, recorder: LandscapeRecorder, start: Start, outputs: RunOutputs) -> None:
        self._recorder = recorder
        self._outputs = outputs
        self._start = start
        self._run_id = start.run_id
        self._sinks: dict[str, OpenSink] = {}

    def __getitem__(self, name: str) -> OpenSink:
        return self._sinks[name]

    def open(self, pipeline: Pipeline) -> None:
        """Begin the write operation of each sink and open it; PluginError from the first that cannot be opened.

        A sink that another process opened is reopened where its last commit left it. One whose output is published has
        nothing to do.
        """
        for name, sink in pipeline.sinks.items():
            before = self._start.sinks.get(name, SinkProgress())
            if before.is_published:
                continue
            node_id = pipeline.sink_node(name).node_id
            operation = self._recorder.begin_operation(self._run_id, node_id, OperationType.SINK_WRITE)
            self._sinks[name] = each = OpenSink(
                name=name,
                sink=sink,
                node_id=node_id,
                operation_id=operation.operation_id,
                before=before,
                rows=before.rows,
                synced_rows=before.rows,
                last_state_id=before.last_state_id,
            )
            with _blamed(name):
                self._prepare(each)

    def _prepare(self, each: OpenSink) -> None:
        """Open a sink, or go on with it: what stopped may have been its publication, before or after it took effect."""
        before = each.before
        if before.output is not None and each.sink.confirm(self._run_id, before.output):
            each.is_in_place = True
        elif before.rows:
            each.sink.reopen(self._run_id, before.position)
        else:
            each.sink.open(self._run_id)

    def sync(self) -> None:
        """Make every staged row durable. Comes before the commit that says the rows are written."""
        for each in self._sinks.values():
            if each.synced_rows < each.rows:
                with _blamed(each.name):
                    each.sink.sync()
        for each in self._sinks.values():
            each.synced_rows = each.rows

    def state(self) -> dict[str, JsonObject]:
        """How far each sink has come, by node."""
        return {each.node_id: each.state() for each in self._sinks.values()}

    def prove_complete(self, recorded: Mapping[str, int]) -> None:
        """AccountingError unless every sink holds as many rows as the trail says, by sink."""
        wrong = [each for each in self._sinks.values() if each.rows != recorded.get(each.name, 0)]
        if wrong:
            counts = (f"sink {each.name!r} holds {each.rows} of {recorded.get(each.name, 0)} rows" for each in wrong)
            raise AccountingError(f"run {self._run_id}: {'; '.join(counts)}")

    def publish(self, progress: Callable[[int, int], None]) -> None:
        """Show the output of every sink.

        `progress` is called with the number of outputs that were finished and published, of twice as many as there are
        sinks.
        A crash before the commit leaves staged files and no artifact. A crash after it leaves artifacts whose bytes are
        staged or already in place, and open operations, until the run ends.
        """
        steps = 2 * len(self._sinks)
        for number, each in enumerate(self._sinks.values(), start=1):
            each.output = self._finish(each)
            self._outputs.confirm(each.name, each.output)
            progress(number, steps)
        with self._recorder.unit_of_work():
            for each in self._sinks.values():
                if each.output is not None and each.last_state_id is not None and each.before.output is None:
                    self._register(each, each.last_state_id, each.output)
        for number, each in enumerate(self._sinks.values(), start=len(self._sinks) + 1):
            if not each.is_in_place:
                with _blamed(each.name):
                    each.sink.publish()
                each.is_in_place = True
            progress(number, steps)

    def record_published(self) -> None:
        """Record that every output is in place: in the unit of work that ends the run.

        So a run of which all outputs are recorded as published has ended.
        """
        for each in self._sinks.values():
            self._complete(each)

    def _complete(self, each: OpenSink) -> None:
        summary = _summary(each, each.output or each.before.output)
        self._recorder.complete_operation(
            each.operation_id, OperationStatus.COMPLETED, run_id=self._run_id, output_data=summary
        )

    def abandon(self) -> list[str]:
        """Stop before the end; the places where rows stay staged.

        What may be recorded as written is never removed, for a commit that failed may have taken effect: only a sink
        that was never synced is cleaned up.
        """
        places = []
        for each in self._unpublished():
            if each.synced_rows == 0:
                each.sink.discard()
            elif place := each.sink.close():
                places.append(place)
        return places

    def record_failure(self, reason: str) -> None:
        """Record that the sinks did not complete, but for those whose output is in place.

        If all of them are, it is the end of the run that failed: one is left for the next attempt to confirm.
        """
        sinks = list(self._sinks.values())
        failed = [each for each in sinks if not each.is_in_place] or sinks[-1:]
        for each in sinks:
            if each not in failed:
                self._complete(each)
                continue
            self._recorder.complete_operation(
                each.operation_id, OperationStatus.FAILED, run_id=self._run_id, error=reason
            )

    def _unpublished(self) -> list[OpenSink]:
        return [each for each in self._sinks.values() if not each.is_in_place]

    def _finish(self, each: OpenSink) -> StagedOutput | None:
        """The finished output; ResumeError if it is not the one that was recorded before another process stopped."""
        recorded = each.before.output
        if each.is_in_place:
            return recorded
        with _blamed(each.name):
            output = each.sink.finish()
        if recorded is not None and (output is None or output.content_hash != recorded.content_hash):
            got = None if output is None else output.content_hash
            raise ResumeError(
                f"sink {each.name!r}: the audit trail names an output with SHA-256 {recorded.content_hash} at "
                f"{recorded.path}, which is not there, and what is staged makes {got}; find out where the first is "
                "and put it there, or give the run up with --abandon"
            )
        return output

    def _register(self, each: OpenSink, state_id: str, output: StagedOutput) -> None:
        self._recorder.register_artifact(
            self._run_id,
            state_id,
            each.node_id,
            output.artifact_type,
            output.path,
            output.content_hash,
            output.size_bytes,
        )


def _summary(each: OpenSink, output: StagedOutput | None) -> dict[str, object]:
    if output is None:
        return {"rows": each.rows}
    return output_summary(
        rows=each.rows, path=output.path, content_hash=output.content_hash, size_bytes=output.size_bytes
    )


@contextmanager
def _blamed(name: str) -> Iterator[None]:
    """Turn whatever a sink raises into an error that names it. That it rejects one row is no failure of the sink."""
    try:
        yield
    except (RowRejectedError, PluginError):
        raise
    except Exception as error:
        raise blame("sink", name, error) from error
