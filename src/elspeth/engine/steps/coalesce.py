"""Coalesces, at which branches become one token again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from elspeth.contracts.enums import RowOutcome
from elspeth.contracts.plugins import JsonObject
from elspeth.contracts.routing import CONTINUE
from elspeth.contracts.rows import RowData
from elspeth.core.landscape.recording.batches import HeldItem
from elspeth.core.settings.steps import CoalesceSettings
from elspeth.core.settings.wiring import Place, Wire
from elspeth.engine.errors import AnswerError, Failure
from elspeth.engine.steps import CollectingStep
from elspeth.engine.tokens import (
    Branch,
    Departure,
    HashedRow,
    LiveToken,
    LostBranch,
    Onward,
    lose_branch,
    require_json,
)
from elspeth.engine.trail import TrailWriter, WaitingToken

__all__ = ["CoalesceStep"]


@dataclass(slots=True, kw_only=True)
class _Meeting:
    """The state of one fork at its coalesce.

    `outer` are the branches around this fork, and `lost` the branches of the fork that will never arrive. `join_group`
    is the group of the merge, or `refusal` says why there is none.
    """

    group: str
    outer: tuple[Branch, ...]
    since: float
    arrived: dict[str, WaitingToken] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    join_group: str | None = None
    refusal: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeptMeeting:
    """A meeting as it is kept for another process.

    `arrived` are the waiting tokens, and `gone` the branches that are not waited for any more.
    """

    outer: tuple[Branch, ...]
    arrived: dict[str, LiveToken]
    gone: tuple[str, ...]
    is_decided: bool
    join_group: str | None
    refusal: Failure | None


_KEPT: TypeAdapter[_KeptMeeting] = TypeAdapter(_KeptMeeting)


class CoalesceStep(CollectingStep):
    """Waits for the branches of forks, and merges them.

    A policy decides as soon as it can: `require_all` when all branches have arrived, `quorum` when enough have, `first`
    when one has, and `best_effort` when each has arrived or is lost. When no branch is outstanding, or after the
    timeout, the policy decides with the branches that arrived. Only incomplete forks are held in memory.
    """

    def __init__(
        self, trail: TrailWriter, place: Place, settings: CoalesceSettings, clock: Callable[[], float]
    ) -> None:
        self._trail = trail
        self._place = place
        self._settings = settings
        self._clock = clock
        self._meetings: dict[str, _Meeting] = {}
        self._undecided: dict[str, _Meeting] = {}

    def take(self, token: LiveToken, along: Wire) -> Onward:  # noqa: ARG002  the token knows its branch
        """Add a waiting token, and merge if possible."""
        visit = self._trail.arrive(token, self._place)
        try:
            require_json(token.row)
        except AnswerError as error:
            return self._trail.refuse(visit, Failure.of(error))
        branch, meeting = token.branches[-1].name, self._meeting(token.branches)
        token.branches = ()  # from here on the meeting is responsible for the outer branches
        waiting = self._trail.wait(visit)
        meeting.arrived[branch] = waiting
        if meeting.group in self._undecided:
            onward = self._decide(meeting, is_final=False)
        else:
            onward = self._end_late(meeting, waiting)
        self._keep(meeting)
        return onward

    def lose(self, branches: tuple[Branch, ...]) -> Onward:
        """Give up waiting for the innermost branch."""
        meeting = self._meeting(branches)
        meeting.lost.add(branches[-1].name)
        onward = self._decide(meeting, is_final=False) if meeting.group in self._undecided else []
        self._keep(meeting)
        return onward

    def release_due(self, now: float) -> Onward:
        """Decide about the forks whose timeout has passed."""
        timeout = self._settings.timeout_seconds
        onward: list[Departure | LostBranch] = []
        while timeout is not None and self._undecided:
            oldest = next(iter(self._undecided.values()))
            if oldest.since + timeout > now:
                break
            onward += self._decide(oldest, is_final=True)
            self._keep(oldest)
        return onward

    def release_all(self) -> Onward:
        """Decide about all forks, as no more tokens will arrive."""
        onward: list[Departure | LostBranch] = []
        while self._undecided:
            onward += self._decide(next(iter(self._undecided.values())), is_final=True)
        for group in self._meetings:
            self._trail.drop_item(self._place, group)
        self._meetings.clear()
        return onward

    def restore(self, items: Sequence[HeldItem]) -> None:
        """Reopen the meetings that another process kept.

        Timeouts count from now.
        """
        kept = {each.item: _KEPT.validate_python(each.state) for each in items}
        tokens = [token for each in kept.values() for token in each.arrived.values()]
        waiting = {each.token.token_id: each for each in self._trail.restore_waiting(self._place, tokens)}
        for group, each in kept.items():
            meeting = _Meeting(
                group=group,
                outer=each.outer,
                since=self._clock(),
                arrived={name: waiting[token.token_id] for name, token in each.arrived.items()},
                lost=set(each.gone),
                join_group=each.join_group,
                refusal=each.refusal,
            )
            self._meetings[group] = meeting
            if not each.is_decided:
                self._undecided[group] = meeting

    def _meeting(self, branches: tuple[Branch, ...]) -> _Meeting:
        group = branches[-1].group
        if group not in self._meetings:
            meeting = _Meeting(group=group, outer=branches[:-1], since=self._clock())
            self._meetings[group] = self._undecided[group] = meeting
        return self._meetings[group]

    def _outstanding(self, meeting: _Meeting) -> list[str]:
        return [name for name in self._settings.branches if name not in meeting.arrived and name not in meeting.lost]

    def _keep(self, meeting: _Meeting) -> None:
        """Keep a meeting while branches are outstanding."""
        if self._outstanding(meeting):
            self._trail.keep_item(self._place, meeting.group, lambda: self._state(meeting))
        else:
            self._meetings.pop(meeting.group, None)
            self._trail.drop_item(self._place, meeting.group)

    def _state(self, meeting: _Meeting) -> JsonObject:
        is_decided = meeting.group not in self._undecided
        arrived = {} if is_decided else {name: each.token for name, each in meeting.arrived.items()}
        kept = _KeptMeeting(
            outer=meeting.outer,
            arrived=arrived,
            gone=tuple(sorted(meeting.lost | meeting.arrived.keys() - arrived.keys())),
            is_decided=is_decided,
            join_group=meeting.join_group,
            refusal=meeting.refusal,
        )
        state: JsonObject = _KEPT.dump_python(kept, by_alias=True)
        return state

    def _decide(self, meeting: _Meeting, *, is_final: bool) -> Onward:
        """Merge if the policy is satisfied, or give up.

        It gives up if the policy cannot be satisfied any more.
        """
        is_final = is_final or not self._outstanding(meeting)
        if self._is_satisfied(meeting, is_final=is_final):
            del self._undecided[meeting.group]
            return self._merge(meeting)
        if is_final:
            del self._undecided[meeting.group]
            return self._give_up(meeting)
        return []

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

    def _merge(self, meeting: _Meeting) -> Onward:
        """Merge the arrived tokens, and send on the merged token."""
        arrived = self._in_order(meeting)
        try:
            row, reason = self._merged_row(arrived)
        except AnswerError as error:
            return self._refuse(meeting, Failure.of(error))
        token, meeting.join_group = self._trail.merge(
            list(arrived.values()), HashedRow.of(row), reason, branches=meeting.outer
        )
        return [self._trail.depart(token, self._place, CONTINUE)]

    def _in_order(self, meeting: _Meeting) -> dict[str, WaitingToken]:
        """Return the arrived tokens, in the order of the settings."""
        return {name: meeting.arrived[name] for name in self._settings.branches if name in meeting.arrived}

    def _merged_row(self, arrived: Mapping[str, WaitingToken]) -> tuple[RowData, dict[str, object]]:
        """Return the merged row, and the reason to record.

        Raises AnswerError for a field that must not have several values.
        """
        settings, rows = self._settings, {name: each.token.row for name, each in arrived.items()}
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
        merged, overridden = _union(rows, keeps_first=settings.union_collision_policy == "first_wins")
        if overridden and settings.union_collision_policy == "fail":
            raise AnswerError(f"branches have different values for {', '.join(map(repr, overridden))}")
        return merged, reason | ({"overridden": overridden} if overridden else {})

    def _give_up(self, meeting: _Meeting) -> Onward:
        """Fail the arrived tokens, and lose the outer branch."""
        missing = [name for name in self._settings.branches if name not in meeting.arrived]
        message = f"the policy {self._settings.policy!r} cannot be met: branch {', '.join(missing)} did not arrive"
        return self._refuse(meeting, Failure(message=message, kind="CoalesceError"))

    def _refuse(self, meeting: _Meeting, refusal: Failure) -> Onward:
        """Fail the arrived tokens, and those that arrive later."""
        meeting.refusal = refusal
        onward: list[Departure | LostBranch] = []
        for waiting in self._in_order(meeting).values():
            onward += self._trail.refuse_waiting(waiting, meeting.refusal)
        return [*onward, *lose_branch(meeting.outer)]

    def _end_late(self, meeting: _Meeting, waiting: WaitingToken) -> Onward:
        """End a token that came after the decision."""
        if meeting.refusal is not None:
            return self._trail.refuse_waiting(waiting, meeting.refusal)
        reason = {"action": "not needed", "policy": self._settings.policy}
        self._trail.complete_waiting(waiting, waiting.token.row_hash, reason)
        late = {"merged": False, "reason": "arrived after the merge"}
        return self._trail.end(waiting.token, RowOutcome.COALESCED, join_group_id=meeting.join_group, context=late)


def _union(rows: Mapping[str, RowData], *, keeps_first: bool) -> tuple[RowData, dict[str, str]]:
    """Return all fields, and whose values were used for conflicts."""
    merged: RowData = {}
    owners: dict[str, str] = {}
    overridden: dict[str, str] = {}
    for name, row in rows.items():
        for key, value in row.items():
            if key in merged and merged[key] != value:
                overridden[key] = owners[key] if keeps_first else name
            if key not in merged or not keeps_first:
                merged[key], owners[key] = value, name
    return merged, overridden
