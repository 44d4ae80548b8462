"""Which rows are committed together, and what is committed with them so that a run can go on from there."""

from __future__ import annotations

import time
from dataclasses import dataclass

from elspeth.core.settings.model import CheckpointSettings
from elspeth.engine.flow import Flow
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.sinks import SinkSet
from elspeth.engine.start import Start

__all__ = ["GROUP_ROWS", "Checkpoints", "Group"]

GROUP_ROWS = 500  # rows per commit: what a run holds in memory, and what a crash makes it do again at most
_GROUP_VISITS = 10_000  # after so many steps a commit comes early: rows that multiply must not fill the memory
_GROUP_SECONDS = 2.0  # and after so long: what took time, such as answers from outside, must not be lost


@dataclass(slots=True, kw_only=True)
class Group:
    """The rows that will be committed together, up to a limit."""

    flow: Flow
    limit: int
    ends_with_batch: bool
    visits: int
    batches: int
    began: float
    rows: int = 0

    def is_full(self) -> bool:
        """Whether it is time to commit. Where the groups end does not change what a run makes."""
        flow = self.flow
        return (
            self.rows >= self.limit
            or flow.visits - self.visits >= _GROUP_VISITS
            or (self.ends_with_batch and flow.batches > self.batches)
            or (self.rows > 0 and time.monotonic() - self.began >= _GROUP_SECONDS)
        )


class Checkpoints:
    """Records checkpoints as the settings ask for them, numbered on from those that the run has."""

    def __init__(self, flow: Flow, pipeline: Pipeline, sinks: SinkSet, start: Start) -> None:
        self._flow = flow
        self._sinks = sinks
        self._settings = pipeline.settings.checkpoint
        self._source = pipeline.source_node
        self._count = start.checkpoints
        self._last_token_id = start.last_token_id

    def group(self) -> Group:
        """A new group."""
        settings, flow = self._settings, self._flow
        return Group(
            flow=flow,
            limit=_limit(settings),
            ends_with_batch=settings.frequency is not None and settings.aggregation_boundaries,
            visits=flow.visits,
            batches=flow.batches,
            began=time.monotonic(),
        )

    def record(self, token_id: str | None) -> None:
        """Record how far the sinks have come and what waits, within the group's unit of work.

        `token_id` is that of the last row; None when the source has no more.
        """
        self._last_token_id = token_id or self._last_token_id
        if not self._settings.enabled or self._last_token_id is None:
            return
        flow = self._flow
        self._count += 1
        flow.recorder.create_checkpoint(
            flow.run_id, self._last_token_id, self._source.node_id, self._count, sink_state=self._sinks.state()
        )
        flow.held.flush(flow.recorder, flow.run_id)


def _limit(settings: CheckpointSettings) -> int:
    match settings.frequency:
        case "every_row":
            return 1
        case "every_n":
            return settings.checkpoint_interval or GROUP_ROWS
        case _:
            return GROUP_ROWS
