"""A coalesce: the branches of a fork become one token again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from elspeth.contracts.audit import NodeStatePending
from elspeth.contracts.enums import NodeStateStatus, RowOutcome
from elspeth.contracts.plugins import JsonObject, Row
from elspeth.contracts.routing import CONTINUE
from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.recording.batches import HeldItem
from elspeth.core.settings.model import CoalesceSettings
from elspeth.core.settings.wiring import Place, Wire
from elspeth.engine.errors import AnswerError
from elspeth.engine.flow import Failure, Flow
from elspeth.engine.tokens import Branch, Token, require_json

__all__ = ["CoalesceStep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrival:
    token: Token
    state: NodeStatePending


@dataclass(slots=True, kw_only=True)
class _Meeting:
    """The branches of one fork: those that arrived and wait, those that never will, and what came of it.

    `outer` are the branches around this fork. `join_group` is that of the merge, `refusal` why there is none.
    """

    group: str
    outer: tuple[Branch, ...]
    since: float
    arrived: dict[str, _Arrival] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    join_group: str | None = None
    refusal: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _HeldMeeting:
    """A meeting as it is kept for another process: tokens that wait, and branches that need not be waited for."""

    outer: tuple[Branch, ...]
    arrived: dict[str, Token]
    gone: tuple[str, ...]
    is_decided: bool
    join_group: str | None
    refusal: Failure | None


_HELD: TypeAdapter[_HeldMeeting] = TypeAdapter(_HeldMeeting)


class CoalesceStep:
    """Waits for the branches of each fork, and merges what arrives as the policy says.

    Policies decide as soon as they can: `require_all` when all have arrived, `quorum` at the count, `first` at the
    first, `best_effort` when all have arrived or are known never to. Once no branch is outstanding, or after the
    timeout, what can still be decided is decided with those that arrived. Memory holds the forks that are not complete.
    """

    is_ordered = True

    def __init__(self, flow: Flow, place: Place, settings: CoalesceSettings, clock: Callable[[], float]) -> None:
        self._flow = flow
        self._place = place
        self._settings = settings
        self._clock = clock
        self._node_id = flow.node(place).node_id
        self._meetings: dict[str, _Meeting] = {}
        self._undecided: dict[str, _Meeting] = {}

    def take(self, token: Token, along: Wire) -> None:  # noqa: ARG002  the token knows its branch
        """Let a token wait for the others of its fork; merge them if that was the last that was needed."""
        visit = self._flow.arrive(token, self._node_id)
        try:
            require_json(token.row)
        except AnswerError as error:
            self._flow.refuse(visit, self._place, Failure.of(error))
            return
        branch, meeting = token.branches[-1].name, self._meeting(token.branches)
        token.branches = ()  # from here on the meeting answers for the branches outside
        arrival = _Arrival(token=token, state=self._flow.wait(visit))
        meeting.arrived[branch] = arrival
        if meeting.group in self._undecided:
            self._decide(meeting, is_final=False)
        else:
            self._end_late(meeting, arrival)
        self._note(meeting)

    def lose(self, branches: Sequence[Branch]) -> None:
        """Learn that the innermost of these branches will never arrive."""
        meeting = self._meeting(branches)
        meeting.lost.add(branches[-1].name)
        if meeting.group in self._undecided:
            self._decide(meeting, is_final=False)
        self._note(meeting)

    def release_due(self, now: float) -> None:
        """Decide for the forks whose timeout has passed."""
        timeout = self._settings.timeout_seconds
        while timeout is not None and self._undecided:
            oldest = next(iter(self._undecided.values()))
            if oldest.since + timeout > now:
                return
            self._decide(oldest, is_final=True)
            self._note(oldest)

    def release_all(self) -> None:
        """Decide for every fork: nothing more will come."""
        while self._undecided:
            self._decide(next(iter(self._undecided.values())), is_final=True)
        for group in self._meetings:
            self._flow.held.drop(self._node_id, group)
        self._meetings.clear()

    def restore(self, items: Sequence[HeldItem]) -> None:
        """Wait for the branches that were waited for when another process stopped; timeouts count from now."""
        states = self._flow.waiting_states(self._node_id) if items else {}
        for each in items:
            held = _HELD.validate_python(each.state)
            meeting = _Meeting(
                group=each.item,
                outer=held.outer,
                since=self._clock(),
                arrived={
                    name: _Arrival(token=token, state=states[token.token_id]) for name, token in held.arrived.items()
                },
                lost=set(held.gone),
                join_group=held.join_group,
                refusal=held.refusal,
            )
            self._meetings[each.item] = meeting
            if not held.is_decided:
                self._undecided[each.item] = meeting

    def _meeting(self, branches: Sequence[Branch]) -> _Meeting:
        group = branches[-1].group
        if group not in self._meetings:
            meeting = _Meeting(group=group, outer=tuple(branches[:-1]), since=self._clock())
            self._meetings[group] = self._undecided[group] = meeting
        return self._meetings[group]

    def _outstanding(self, meeting: _Meeting) -> list[str]:
        return [name for name in self._settings.branches if name not in meeting.arrived and name not in meeting.lost]

    def _note(self, meeting: _Meeting) -> None:
        """Keep a meeting for the next commit, or forget it when no branch is outstanding."""
        if self._outstanding(meeting):
            self._flow.held.put(self._node_id, meeting.group, lambda: self._state(meeting))
        else:
            self._meetings.pop(meeting.group, None)
            self._flow.held.drop(self._node_id, meeting.group)

    def _state(self, meeting: _Meeting) -> JsonObject:
        is_decided = meeting.group not in self._undecided
        arrived = {} if is_decided else {name: each.token for name, each in meeting.arrived.items()}
        gone = tuple(sorted(meeting.lost | meeting.arrived.keys() - arrived.keys()))
        held = _HeldMeeting(
            outer=meeting.outer,
            arrived=arrived,
            gone=gone,
            is_decided=is_decided,
            join_group=meeting.join_group,
            refusal=meeting.refusal,
        )
        state: JsonObject = _HELD.dump_python(held)
        return state

    def _decide(self, meeting: _Meeting, *, is_final: bool) -> None:
        """Merge if the policy is satisfied; give up if it can no longer be."""
        is_final = is_final or not self._outstanding(meeting)
        if self._is_satisfied(meeting, is_final=is_final):
            del self._undecided[meeting.group]
            self._merge(meeting)
        elif is_final:
            del self._undecided[meeting.group]
            self._give_up(meeting)

    def _is_satisfied(self, meeting: _Meeting, *, is_final: bool) -> bool:
        settings, count = self._settings, len(meeting.arrived)
        if settings.merge == "select" and settings.select_branch not in meeting.arrived:
            return False
        match settings.policy:
            case "require_all":
                return count == len(settings.branches)
            case "quorum":
                return count >= (settings.quorum_count or len(settings.branches))
            case "first":
                return count > 0
            case "best_effort":
                return count > 0 and is_final

    def _merge(self, meeting: _Meeting) -> None:
        """Record the merge, and send its token on. A crash before the commit leaves the branches waiting."""
        flow, arrivals = self._flow, self._in_order(meeting)
        row, reason = self._merged_row(arrivals)
        row_hash = stable_hash(row)
        row_id = next(iter(arrivals.values())).token.row_id
        step = max(arrival.token.step for arrival in arrivals.values())
        merged = flow.recorder.coalesce_tokens(
            [arrival.token.token_id for arrival in arrivals.values()],
            row_id,
            run_id=flow.run_id,
            step_in_pipeline=step - 1,
        )
        meeting.join_group = merged.join_group_id
        for arrival in arrivals.values():
            flow.recorder.end_visit(
                arrival.state, NodeStateStatus.COMPLETED, output_hash=row_hash, success_reason=reason
            )
            flow.end(arrival.token, RowOutcome.COALESCED, join_group_id=merged.join_group_id)
        token = Token(
            token_id=merged.token_id,
            row_id=row_id,
            row_index=next(iter(arrivals.values())).token.row_index,
            row=row,
            row_hash=row_hash,
            step=step,
            branches=meeting.outer,
        )
        flow.send(token, self._place, CONTINUE)

    def _in_order(self, meeting: _Meeting) -> dict[str, _Arrival]:
        """What arrived, in the order of the settings: the result does not depend on which came first."""
        return {name: meeting.arrived[name] for name in self._settings.branches if name in meeting.arrived}

    def _merged_row(self, arrivals: Mapping[str, _Arrival]) -> tuple[Row, dict[str, object]]:
        """The merged row, and what the trail says of how it was made."""
        settings, rows = self._settings, {name: arrival.token.row for name, arrival in arrivals.items()}
        reason: dict[str, object] = {
            "action": "merged",
            "policy": settings.policy,
            "merge": settings.merge,
            "branches": list(rows),
        }
        if settings.merge == "nested":
            return dict(rows), reason
        if settings.merge == "select" and settings.select_branch is not None:
            return rows[settings.select_branch], reason | {"selected": settings.select_branch}
        merged: Row = {}
        overridden: dict[str, str] = {}
        for name, row in rows.items():
            overridden |= {key: name for key, value in row.items() if key in merged and merged[key] != value}
            merged |= row
        return merged, reason | ({"overridden": overridden} if overridden else {})

    def _give_up(self, meeting: _Meeting) -> None:
        """End what arrived, for what is missing will not come; a fork around this one loses its branch, too."""
        missing = [name for name in self._settings.branches if name not in meeting.arrived]
        message = f"the policy {self._settings.policy!r} cannot be met: branch {', '.join(missing)} did not arrive"
        meeting.refusal = Failure(message=message, kind="CoalesceError")
        for arrival in self._in_order(meeting).values():
            self._flow.refuse_waiting(arrival.token, arrival.state, self._place, meeting.refusal)
        self._flow.lose(meeting.outer)

    def _end_late(self, meeting: _Meeting, arrival: _Arrival) -> None:
        """End a token that came after the decision."""
        if meeting.refusal is not None:
            self._flow.refuse_waiting(arrival.token, arrival.state, self._place, meeting.refusal)
            return
        token = arrival.token
        self._flow.recorder.end_visit(
            arrival.state,
            NodeStateStatus.COMPLETED,
            output_hash=token.row_hash,
            success_reason={"action": "not needed", "policy": self._settings.policy},
        )
        late = {"merged": False, "reason": "arrived after the merge"}
        self._flow.end(token, RowOutcome.COALESCED, join_group_id=meeting.join_group, context=late)
