"""Records what happens to the tokens of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple, cast

from elspeth.contracts.audit import NodeState, NodeStatePending
from elspeth.contracts.enums import NodeStateStatus, RowOutcome
from elspeth.contracts.errors import ExecutionError
from elspeth.contracts.plugins import JsonObject
from elspeth.contracts.routing import DISCARD, ON_ERROR, RoutingSpec
from elspeth.contracts.rows import RowData
from elspeth.core.canonical import CanonicalText
from elspeth.core.landscape.recording.batches import HeldItem
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.settings.wiring import Place
from elspeth.engine.errors import Failure
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.start import Start
from elspeth.engine.tally import FailedVisit, Tally
from elspeth.engine.tokens import (
    Branch,
    Departure,
    Diversion,
    HashedRow,
    LiveToken,
    Onward,
    changed_fields,
    lose_branch,
)
from elspeth.engine.waiting import WaitingItems

__all__ = ["TrailWriter", "Visit", "WaitingToken"]


_NOTHING: Mapping[str, object] = MappingProxyType({})


class Visit(NamedTuple):
    """A visit of a token, recorded with its result."""

    token: LiveToken
    place: Place
    step_index: int
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingToken:
    """A waiting token, with the record of its visit."""

    token: LiveToken
    place: Place
    state: NodeStatePending


class TrailWriter:
    """Records what happens to the tokens of one run.

    Methods that end or divert a token return the departures and lost branches to send on.
    """

    def __init__(
        self, recorder: LandscapeRecorder, start: Start, pipeline: Pipeline, *, keeps_failures: bool = False
    ) -> None:
        self.tally = Tally(start.endings, keeps_failures=keeps_failures)
        self._recorder = recorder
        self._run_id = start.run_id
        self._node_ids = {place: node.node_id for place, node in pipeline.nodes.items()}
        self._names = {place: node.name for place, node in pipeline.nodes.items()}
        self._wires = {(wire.origin, wire.label): wire for wire in pipeline.wiring.wires}
        self._specs = {
            way: RoutingSpec(edge_id, wire.mode)
            for way, wire in self._wires.items()
            if (edge_id := start.edges.get((self._node_ids[wire.origin], wire.label))) is not None
        }
        self._waiting = WaitingItems(start.held)
        self._keeps_items = pipeline.settings.checkpoint.enabled
        self.reason_key = start.reason_key
        """The key of the salts of reasons, if contents are kept."""

    @property
    def recorder(self) -> LandscapeRecorder:
        """The recorder, for records that only one step makes."""
        return self._recorder

    @property
    def run_id(self) -> str:
        """Return the id of the run."""
        return self._run_id

    # -- tokens ------------------------------------------------------------------------------------------------------

    def create_row(self, source: Place, index: int, data: RowData, content: CanonicalText | None = None) -> LiveToken:
        """Record a row of a source, and its token.

        `content` is the canonical JSON of the data, if it is known.
        """
        row = self._recorder.create_row(self._run_id, self._node_ids[source], index, content or data)
        token = self._recorder.create_token(row.row_id, run_id=self._run_id)
        return LiveToken(
            token_id=token.token_id,
            row_id=row.row_id,
            row_index=index,
            row=data,
            row_hash=row.source_data_hash,
            source=self._names[source],
        )

    def create_output(self, members: Sequence[LiveToken], output: HashedRow) -> LiveToken:
        """Record a token for a row that a batch produced.

        It belongs to the source row of the last member.
        """
        last = members[-1]
        token = self._recorder.create_token(last.row_id, run_id=self._run_id)
        return LiveToken(
            token_id=token.token_id,
            row_id=last.row_id,
            row_index=last.row_index,
            row=output.row,
            row_hash=output.row_hash,
            step_index=max(member.step_index for member in members),
            source=last.source,
        )

    def fork(self, visit: Visit, joins: Mapping[str, Place | None]) -> list[LiveToken]:
        """Record a fork, and return a child for each branch.

        `joins` holds the branches, each with the coalesce that waits for it.
        """
        token = visit.token
        children = self._recorder.fork_token(
            token.token_id,
            token.row_id,
            list(joins),
            run_id=self._run_id,
            step_in_pipeline=visit.step_index,
            record_parent_outcome=True,
        )
        self.tally.end(RowOutcome.FORKED)
        return [
            replace(
                token,
                token_id=child.token_id,
                # No coalesce waits for a branch that is not joined, so its end does not matter to the outer branches.
                branches=()
                if join is None
                else (*token.branches, Branch(name=name, group=child.fork_group_id or "", join=join)),
            )
            for (name, join), child in zip(joins.items(), children, strict=True)
        ]

    def expand(self, visit: Visit, outputs: Sequence[HashedRow]) -> list[LiveToken]:
        """Record an expansion, and return a child for each row."""
        token = visit.token
        children = self._recorder.expand_token(
            token.token_id,
            token.row_id,
            len(outputs),
            visit.step_index,
            run_id=self._run_id,
            record_parent_outcome=True,
        )
        self.tally.end(RowOutcome.EXPANDED)
        return [
            replace(token, token_id=child.token_id, row=output.row, row_hash=output.row_hash)
            for child, output in zip(children, outputs, strict=True)
        ]

    def merge(
        self,
        waiting: Sequence[WaitingToken],
        output: HashedRow,
        reason: Mapping[str, object],
        *,
        branches: tuple[Branch, ...],
    ) -> tuple[LiveToken, str | None]:
        """Record that waiting tokens become one, which is on `branches`.

        Returns that token, with the id of the join group. A crash before the commit leaves the tokens waiting.
        """
        first, step_index = waiting[0].token, max(each.token.step_index for each in waiting)
        merged = self._recorder.coalesce_tokens(
            [each.token.token_id for each in waiting],
            first.row_id,
            run_id=self._run_id,
            step_in_pipeline=step_index - 1,
        )
        for each in waiting:
            self.complete_waiting(each, output.row_hash, reason)
            self.end(each.token, RowOutcome.COALESCED, join_group_id=merged.join_group_id)
        token = LiveToken(
            token_id=merged.token_id,
            row_id=first.row_id,
            row_index=first.row_index,
            row=output.row,
            row_hash=output.row_hash,
            step_index=step_index,
            branches=branches,
            source=first.source,
        )
        return token, merged.join_group_id

    # -- visits ------------------------------------------------------------------------------------------------------

    def arrive(self, token: LiveToken, place: Place, since: datetime | None = None) -> Visit:
        """Begin a visit, now or at an earlier time."""
        visit = Visit(token, place, token.step_index, since or datetime.now(UTC))
        token.step_index += 1
        self.tally.visits += 1
        return visit

    def complete(
        self, visit: Visit, output_hash: str, reason: Mapping[str, object] | CanonicalText | None = None
    ) -> str:
        """Record a visit with an output, and return its id."""
        token, place, step_index, started_at = visit
        return self._recorder.record_completed_visit(
            token.token_id,
            self._node_ids[place],
            step_index,
            run_id=self._run_id,
            input_hash=token.row_hash,
            output_hash=output_hash,
            started_at=started_at,
            success_reason=reason,
        ).state_id

    def change(self, visit: Visit, output: HashedRow, action: str, details: Mapping[str, object] = _NOTHING) -> str:
        """Record a visit that gives its token a new row.

        Returns the id of the visit.
        """
        token = visit.token
        reason = {"action": action, "fields_modified": changed_fields(token.row, output.row), **details}
        state_id = self.complete(visit, output.row_hash, reason)
        token.row, token.row_hash = output.row, output.row_hash
        return state_id

    def fail(self, visit: Visit, failure: Failure) -> str:
        """Record a visit that failed, and return its id."""
        self._note_failure(visit.place, visit.token, failure)
        return self._record(visit, NodeStateStatus.FAILED, failure.as_error()).state_id

    def _note_failure(self, place: Place, token: LiveToken, failure: Failure) -> None:
        step = self._names[place]
        self.tally.fail(FailedVisit(place, step, token.row_index, failure.kind, failure.message))

    def wait(self, visit: Visit) -> WaitingToken:
        """Record a visit whose result comes later."""
        state = cast("NodeStatePending", self._record(visit, NodeStateStatus.PENDING))
        return WaitingToken(token=visit.token, place=visit.place, state=state)

    def restore_waiting(self, place: Place, tokens: Sequence[LiveToken]) -> list[WaitingToken]:
        """Join waiting tokens with their recorded visits.

        All waiting visits to the node are read, so call it once for all tokens.
        """
        states = self._recorder.get_waiting_states(self._run_id, self._node_ids[place]) if tokens else {}
        return [WaitingToken(token=token, place=place, state=states[token.token_id]) for token in tokens]

    def complete_waiting(
        self, waiting: WaitingToken, output_hash: str, reason: Mapping[str, object] | CanonicalText
    ) -> None:
        """Record the output of a visit that waited."""
        self._recorder.end_visit(
            waiting.state, NodeStateStatus.COMPLETED, output_hash=output_hash, success_reason=reason
        )

    def _record(self, visit: Visit, status: NodeStateStatus, error: ExecutionError | None = None) -> NodeState:
        return self._recorder.record_visit(
            visit.token.token_id,
            self._node_ids[visit.place],
            visit.step_index,
            status,
            run_id=self._run_id,
            input_hash=visit.token.row_hash,
            started_at=visit.started_at,
            error=error,
        )

    # -- ways and ends -----------------------------------------------------------------------------------------------

    def depart(self, token: LiveToken, place: Place, label: str) -> Departure:
        """Return the token's departure along the edge with a label."""
        return Departure(token, self._wires[place, label])

    def route(self, state_id: str, place: Place, label: str, reason: Mapping[str, object] | CanonicalText) -> None:
        """Record that a visit sent its token along an edge."""
        edge = self._specs[place, label]
        self._recorder.record_routing_event(state_id, edge.edge_id, edge.mode, reason, run_id=self._run_id)

    def route_copies(self, state_id: str, place: Place, labels: Iterable[str], reason: CanonicalText) -> None:
        """Record that a visit sent a copy along each edge."""
        edges = [self._specs[place, label] for label in labels]
        self._recorder.record_routing_events(state_id, edges, reason, run_id=self._run_id)

    def refuse(self, visit: Visit, failure: Failure) -> Onward:
        """Fail a visit, and divert its token."""
        return self.divert(visit.token, self.fail(visit, failure), visit.place, failure)

    def refuse_waiting(self, waiting: WaitingToken, failure: Failure) -> Onward:
        """Fail a waiting visit, and divert its token."""
        self._note_failure(waiting.place, waiting.token, failure)
        self._recorder.end_visit(waiting.state, NodeStateStatus.FAILED, error=failure.as_error())
        return self.divert(waiting.token, waiting.state.state_id, waiting.place, failure)

    def drop(self, visit: Visit, reason: Mapping[str, object]) -> Onward:
        """Complete a visit that ends its token on purpose."""
        self.complete(visit, visit.token.row_hash, reason)
        return self.end(visit.token, RowOutcome.DROPPED)

    def divert(self, token: LiveToken, state_id: str, place: Place, failure: Failure) -> Onward:
        """Send a token to its error sink, or end it."""
        wire = self._wires.get((place, ON_ERROR))
        destination = DISCARD if wire is None else str(wire.target[-1])
        self._recorder.record_transform_error(
            self._run_id, token.token_id, self._node_ids[place], token.row, failure.as_details(), destination
        )
        error_hash = failure.hash()
        if wire is None:
            return self.end(token, RowOutcome.FAILED, error_hash=error_hash)
        self.route(state_id, place, ON_ERROR, {"error": failure.message})
        token.error_hash = error_hash
        token.diversion = Diversion(reason=failure.message, step=self._names[place])
        return [Departure(token, wire)]

    def end(
        self,
        token: LiveToken,
        outcome: RowOutcome,
        *,
        sink_name: str | None = None,
        error_hash: str | None = None,
        batch_id: str | None = None,
        join_group_id: str | None = None,
        context: Mapping[str, object] | None = None,
    ) -> Onward:
        """Record how a token ended, and count it.

        Returns the message for the coalesce that waits for the token's branch, if any.
        """
        self._recorder.record_token_outcome(
            self._run_id,
            token.token_id,
            outcome,
            sink_name=sink_name,
            error_hash=error_hash,
            batch_id=batch_id,
            join_group_id=join_group_id,
            context=context,
        )
        self.tally.end(outcome, sink_name)
        return lose_branch(token.branches)

    # -- waiting items -----------------------------------------------------------------------------------------------

    def keep_item(self, place: Place, item: str, state: Callable[[], JsonObject]) -> None:
        """Note a waiting item that is new or changed.

        `state` is called at the next commit, unless the item is dropped before.
        """
        self._waiting.put((self._node_ids[place], item), state)

    def drop_item(self, place: Place, item: str) -> None:
        """Note that an item no longer waits."""
        self._waiting.drop((self._node_ids[place], item))

    def remember(self, place: Place, item: str, position: int, state: JsonObject) -> None:
        """Note a fact that a resumed run needs.

        It is not kept in memory after the next commit. `position` orders the items of one place.
        """
        if self._keeps_items:
            self._waiting.remember(HeldItem(node_id=self._node_ids[place], item=item, position=position, state=state))

    def record_items(self) -> None:
        """Record the changes of waiting items, before a commit."""
        self._waiting.record(self._recorder, self._run_id)
