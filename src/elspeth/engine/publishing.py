"""Opens, syncs and publishes the sinks of a run.

Nothing is published before the audit trail holds the hashes of the outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from elspeth.contracts.enums import OperationStatus, OperationType
from elspeth.contracts.plugins import JsonObject, PluginError, RowRejectedError, Sink, StagedOutput
from elspeth.contracts.rows import RowData
from elspeth.core.landscape.queries.recorded import (
    output_summary,
)
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.engine.errors import PLUGIN_ERRORS, AccountingError, ResumeError, blame
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.run_outputs import RunOutputs
from elspeth.engine.start import SinkProgress, Start

__all__ = ["OpenSink", "SinkSet"]


@dataclass(slots=True, kw_only=True)
class OpenSink:
    """A sink that takes rows.

    The first `synced_rows` of its `rows` are durable. `last_state_id` is the newest visit that wrote a row. `before` is
    the progress of the sink when this process began. `output` is set when the sink is finished, and `is_in_place` says
    that it is published.
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

    def write(self, row: RowData) -> None:
        """Stage a row, and count it if accepted."""
        try:
            self.sink.write(row)
        except (RowRejectedError, PluginError):
            raise
        except PLUGIN_ERRORS as error:
            raise blame("sink", self.name, error) from error
        self.rows += 1

    def state(self) -> JsonObject:
        """Return the position of the sink, after `sync`."""
        with _blamed(self.name):
            position = self.sink.position()
        return {"rows": self.rows, "last_state_id": self.last_state_id, "position": position}

    def prepare(self, run_id: str) -> None:
        """Open the sink, or reopen an earlier process' output.

        That process may have stopped while it was publishing, before or after that took effect.
        """
        with _blamed(self.name):
            if self.before.output is not None and self.sink.confirm(run_id, self.before.output):
                self.is_in_place = True
            elif self.before.rows:
                self.sink.reopen(run_id, self.before.position)
            else:
                self.sink.open(run_id)

    def finish(self) -> None:
        """Complete the staged output.

        Raises ResumeError if the output differs from the one that an earlier process recorded.
        """
        recorded = self.before.output
        if self.is_in_place:
            self.output = recorded
            return
        with _blamed(self.name):
            self.output = self.sink.finish()
        if recorded is not None and (self.output is None or self.output.content_hash != recorded.content_hash):
            got = None if self.output is None else self.output.content_hash
            raise ResumeError(
                f"sink {self.name!r}: the audit trail names an output with SHA-256 {recorded.content_hash} at "
                f"{recorded.path}, which is not there, and what is staged makes {got}; find out where the first is "
                "and put it there, or give the run up with --abandon"
            )

    def publish(self) -> None:
        """Publish the output, unless it is published already."""
        if not self.is_in_place:
            with _blamed(self.name):
                self.sink.publish()
            self.is_in_place = True

    def summary(self) -> dict[str, object]:
        """Return the summary that the sink's operation records."""
        output = self.output or self.before.output
        if output is None:
            return {"rows": self.rows}
        return output_summary(
            rows=self.rows, path=output.path, content_hash=output.content_hash, size_bytes=output.size_bytes
        )


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
        """Begin the operation of each unpublished sink, and open it.

        A sink that an earlier process opened is reopened at the position of the last commit. Raises PluginError for the
        first sink that cannot be opened.
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
            each.prepare(self._run_id)

    def sync(self) -> None:
        """Make staged rows durable, before the commit that records them."""
        for each in self._sinks.values():
            if each.synced_rows < each.rows:
                with _blamed(each.name):
                    each.sink.sync()
        for each in self._sinks.values():
            each.synced_rows = each.rows

    def state(self) -> dict[str, JsonObject]:
        """Return the position of each sink, by node."""
        return {each.node_id: each.state() for each in self._sinks.values()}

    def require_complete(self, recorded: Mapping[str, int]) -> None:
        """Compare each sink's number of rows with the records.

        Raises AccountingError if they differ.
        """
        wrong = [each for each in self._sinks.values() if each.rows != recorded.get(each.name, 0)]
        if wrong:
            counts = (f"sink {each.name!r} holds {each.rows} of {recorded.get(each.name, 0)} rows" for each in wrong)
            raise AccountingError(f"run {self._run_id}: {'; '.join(counts)}")

    def publish(self, progress: Callable[[int, int], None]) -> None:
        """Finish every output, record its hash, and publish it.

        `progress` is called with the number of finished plus published outputs, and with twice the number of sinks. A
        crash before the commit leaves staged files and no artifact. A crash after it leaves artifacts whose files are
        staged or published, and open operations until the run ends.
        """
        steps = 2 * len(self._sinks)
        for number, each in enumerate(self._sinks.values(), start=1):
            each.finish()
            self._outputs.confirm(each.name, each.output)
            progress(number, steps)
        with self._recorder.unit_of_work():
            for each in self._sinks.values():
                if each.output is not None and each.last_state_id is not None and each.before.output is None:
                    self._register(each, each.last_state_id, each.output)
        for number, each in enumerate(self._sinks.values(), start=len(self._sinks) + 1):
            each.publish()
            progress(number, steps)

    def record_published(self) -> None:
        """Complete the operation of every sink.

        Call it in the unit of work that ends the run, so that a run has ended if all its outputs are recorded as
        published.
        """
        for each in self._sinks.values():
            self._complete(each)

    def abandon(self, *, keep: bool) -> list[str]:
        """Close sinks early, and return the places of staged rows.

        With `keep`, rows that may be recorded as written are not removed. A failed commit may have taken effect, so
        only a sink that was never synced is cleaned up.
        """
        places = []
        for each in self._sinks.values():
            if each.is_in_place:
                continue
            if each.synced_rows == 0 or not keep:
                each.sink.discard()
            elif place := each.sink.close():
                places.append(place)
        return places

    def record_failure(self, reason: str) -> None:
        """Record failed operations for unpublished sinks.

        If all sinks are published, the end of the run failed. Then one operation fails, and the next attempt confirms
        its output.
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

    def _complete(self, each: OpenSink) -> None:
        self._recorder.complete_operation(
            each.operation_id,
            OperationStatus.COMPLETED,
            run_id=self._run_id,
            output_data=each.summary(),
            object_version=each.sink.published_version(),
        )

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


@contextmanager
def _blamed(name: str) -> Iterator[None]:
    """Make the errors of a sink name the sink.

    A rejected row is not an error of the sink.
    """
    try:
        yield
    except (RowRejectedError, PluginError):
        raise
    except PLUGIN_ERRORS as error:
        raise blame("sink", name, error) from error
