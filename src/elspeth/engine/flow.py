"""What all steps of a run share: recording what happens to tokens, and sending them on."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, cast

from elspeth.contracts.audit import NodeState, NodeStatePending
from elspeth.contracts.enums import NodeStateStatus, RowOutcome
from elspeth.contracts.errors import ExecutionError
from elspeth.contracts.failures import recordable_message
from elspeth.contracts.plugins import RowError
from elspeth.contracts.routing import DISCARD, ON_ERROR, RoutingSpec
from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.recording.base import tolerant
from elspeth.core.landscape.recording.batches import HeldItem
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.settings.wiring import Place, Wire
from elspeth.engine.calls.exchange import Exchange
from elspeth.engine.held import Held
from elspeth.engine.pipeline import Node, Pipeline
from elspeth.engine.result import Ending
from elspeth.engine.start import Start
from elspeth.engine.tokens import Branch, Token

__all__ = ["AskingStep", "Failure", "Flow", "Join", "Step", "Visit", "WaitingStep"]


class Step(Protocol):
    """What happens at one node. `is_ordered` says that rows must come here in the order of the source."""

    is_ordered: bool

    def take(self, token: Token, along: Wire) -> None:
        """Take a token that came along an edge: send on what becomes of it, keep it for later, or end it."""
        ...


class WaitingStep(Step, Protocol):
    """A step where tokens wait for others."""

    def release_due(self, now: float) -> None:
        """Go on with those that have waited long enough."""
        ...

    def release_all(self) -> None:
        """Go on with all of them: nothing more will come."""
        ...

    def restore(self, items: Sequence[HeldItem]) -> None:
        """Wait with what waited when another process stopped."""
        ...


class AskingStep(Step, Protocol):
    """A step that needs time for each token, and begins as soon as it knows that the token will come."""

    def expect(self, token: Token) -> None:
        """Begin: the token will be taken later."""
        ...

    def pending(self, token: Token) -> Future[Exchange] | None:
        """What the token must wait for before it can be taken."""
        ...


class Join(Protocol):
    """A step that waits for the branches of a fork."""

    def lose(self, branches: Sequence[Branch]) -> None:
        """Learn that the innermost of these branches will never arrive."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A token's arrival at a node, to be recorded when it is known what came of it."""

    token: Token
    node_id: str
    step: int
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a node could not process a token: in words, the kind of error, and further facts; no values of the row."""

    message: str
    kind: str
    details: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, error: Exception | RowError) -> Failure:
        """The failure that an exception or a plugin's answer stands for."""
        if isinstance(error, RowError):
            return cls(message=error.message, kind=type(error).__name__, details=error.details)
        return cls(message=recordable_message(error), kind=type(error).__name__)

    def as_error(self) -> ExecutionError:
        """What the node state keeps."""
        return ExecutionError(exception=self.message, type=self.kind)

    def as_details(self) -> dict[str, object]:
        """What the transform error keeps."""
        return {**self.details, **self.as_error()}

    def hash(self) -> str:
        """The hash by which outcomes refer to the error that the node state keeps."""
        return stable_hash(tolerant(self.as_error()))


class Flow:
    """Records and forwards the tokens of one run. `edges` holds edge ids by the node they leave and their label."""

    def __init__(self, recorder: LandscapeRecorder, start: Start, pipeline: Pipeline) -> None:
        self.recorder = recorder
        self.run_id = start.run_id
        self.endings: Counter[Ending] = Counter(start.endings)
        self.held = Held(start.held)
        self.visits = 0
        self.batches = 0
        self.joins: dict[Place, Join] = {}
        self.asking: dict[Place, AskingStep] = {}
        self.queue: deque[tuple[Token, Wire]] = deque()
        self._edges = start.edges
        self._nodes = pipeline.nodes
        self._wires = {(wire.origin, wire.label): wire for wire in pipeline.wiring.wires}

    # -- the way of tokens -------------------------------------------------------------------------------------------

    def node(self, place: Place) -> Node:
        """The node at a place."""
        return self._nodes[place]

    def send(self, token: Token, place: Place, label: str) -> None:
        """Send a token along the edge that leaves a place with a label."""
        self._send(token, self._wires[place, label])

    def _send(self, token: Token, wire: Wire) -> None:
        self.queue.append((token, wire))
        if wire.target in self.asking:
            self.asking[wire.target].expect(token)

    # -- visits ------------------------------------------------------------------------------------------------------

    def arrive(self, token: Token, node_id: str, since: datetime | None = None) -> Visit:
        """Begin a visit, or take note of one that began before."""
        visit = Visit(token=token, node_id=node_id, step=token.step, started_at=since or datetime.now(UTC))
        token.step += 1
        self.visits += 1
        return visit

    def complete(self, visit: Visit, output_hash: str, reason: Mapping[str, object] | None = None) -> str:
        """Record a visit that produced an output; the id of its state."""
        return self._record(visit, NodeStateStatus.COMPLETED, output_hash=output_hash, reason=reason).state_id

    def wait(self, visit: Visit) -> NodeStatePending:
        """Record a visit whose result comes later."""
        return cast("NodeStatePending", self._record(visit, NodeStateStatus.PENDING))

    def waiting_states(self, node_id: str) -> dict[str, NodeStatePending]:
        """The visits to a node whose result is still to come, by token: what another process recorded."""
        return self.recorder.get_waiting_states(self.run_id, node_id)

    def refuse(self, visit: Visit, place: Place, failure: Failure) -> str:
        """Record that the node at a place cannot process a token, and divert the token or end it; the state's id."""
        state_id = self.fail(visit, failure)
        self._divert(visit.token, state_id, place, failure)
        return state_id

    def refuse_waiting(self, token: Token, state: NodeStatePending, place: Place, failure: Failure) -> None:
        """The same for a token that has waited at the node."""
        self.recorder.end_visit(state, NodeStateStatus.FAILED, error=failure.as_error())
        self._divert(token, state.state_id, place, failure)

    def fail(self, visit: Visit, failure: Failure) -> str:
        """Record that a visit failed; the id of its state."""
        return self._record(visit, NodeStateStatus.FAILED, error=failure.as_error()).state_id

    def _record(
        self,
        visit: Visit,
        status: NodeStateStatus,
        *,
        output_hash: str | None = None,
        reason: Mapping[str, object] | None = None,
        error: ExecutionError | None = None,
    ) -> NodeState:
        return self.recorder.record_visit(
            visit.token.token_id,
            visit.node_id,
            visit.step,
            status,
            run_id=self.run_id,
            input_hash=visit.token.row_hash,
            started_at=visit.started_at,
            output_hash=output_hash,
            success_reason=reason,
            error=error,
        )

    def route(self, state_id: str, place: Place, labels: Sequence[str], reason: Mapping[str, object]) -> None:
        """Record that a state sent its token along edges, and why."""
        specs = []
        for label in labels:
            wire = self._wires[place, label]
            specs.append(RoutingSpec(self._edges[self._nodes[place].node_id, label], wire.mode))
        self.recorder.record_routing_events(state_id, specs, reason, run_id=self.run_id)

    # -- ends --------------------------------------------------------------------------------------------------------

    def end(
        self,
        token: Token,
        outcome: RowOutcome,
        *,
        sink_name: str | None = None,
        error_hash: str | None = None,
        batch_id: str | None = None,
        join_group_id: str | None = None,
        context: Mapping[str, object] | None = None,
    ) -> None:
        """Record how a token ended, and count it."""
        self.recorder.record_token_outcome(
            self.run_id,
            token.token_id,
            outcome,
            sink_name=sink_name,
            error_hash=error_hash,
            batch_id=batch_id,
            join_group_id=join_group_id,
            context=context,
        )
        self.count(outcome, sink_name)
        if outcome is not RowOutcome.COALESCED:
            self.lose(token.branches)

    def count(self, outcome: RowOutcome, sink_name: str | None = None) -> None:
        """Count an ending that is recorded elsewhere."""
        self.endings[outcome, sink_name] += 1

    def lose(self, branches: Sequence[Branch]) -> None:
        """Tell the join that waits for the innermost of these branches that it will not arrive."""
        if branches and branches[-1].join is not None:
            self.joins[branches[-1].join].lose(branches)

    def _divert(self, token: Token, state_id: str, place: Place, failure: Failure) -> None:
        wire = self._wires.get((place, ON_ERROR))
        destination = DISCARD if wire is None else str(wire.target[-1])
        self.recorder.record_transform_error(
            self.run_id, token.token_id, self._nodes[place].node_id, token.row, failure.as_details(), destination
        )
        if wire is None:
            self.end(token, RowOutcome.FAILED, error_hash=failure.hash())
            return
        self.route(state_id, place, [ON_ERROR], {"error": failure.message})
        token.error_hash = failure.hash()
        self._send(token, wire)
