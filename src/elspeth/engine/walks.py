"""Takes rows through the steps, several at a time.

Several rows may be in progress, but the results are the same as for one row at a time. Each row walks through the graph
by itself: first through the row-local steps, then through the ordered ones. Only the oldest row may enter the ordered
steps. The rows after it advance up to these steps, so that their calls begin early.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait

from elspeth.core.settings.wiring import Place
from elspeth.engine.calls.exchange import Exchange
from elspeth.engine.cut import Cut
from elspeth.engine.steps import Step
from elspeth.engine.tokens import Departure, LostBranch, Onward, lose_branch

__all__ = ["Walks"]


class _Walk:
    """One row's tokens, each with its next edge.

    `local` holds departures to row-local steps, `handed` those to the ordered steps afterwards.
    """

    __slots__ = ("handed", "local")

    def __init__(self) -> None:
        self.local: deque[Departure] = deque()
        self.handed: deque[Departure | LostBranch] = deque()

    def __bool__(self) -> bool:
        """Return whether any token is in progress."""
        return bool(self.local or self.handed)


class Walks:
    """The rows under way, the oldest first: at most `limit`.

    `steps` are all steps, or only the row-local ones. In the latter case a walk ends before the ordered steps, and
    `take_handed` returns the departures to them.
    """

    def __init__(self, steps: Mapping[Place, Step], limit: int, cut: Cut) -> None:
        self._steps = steps
        self._limit = limit
        self._ordered = cut.ordered
        self._behind = cut.behind
        self._is_local = not any(place in steps for place in cut.ordered)
        self._walks: deque[_Walk] = deque()
        self._handed: list[Onward] = []

    def begin(self, onward: Onward) -> None:
        """Begin a walk behind the others, if it has departures."""
        walk = _Walk()
        self._send(walk, onward)
        if walk:
            self._walks.append(walk)

    def advance(self) -> None:
        """Advance all walks until another may begin."""
        self._advance(self._limit - 1)

    def settle(self) -> None:
        """Take all walks to their ends."""
        self._advance(0)

    def take_handed(self) -> list[Onward]:
        """Return the departures to ordered steps, walk by walk."""
        handed, self._handed = self._handed, []
        return handed

    def _advance(self, remaining: int) -> None:
        while self._walks:
            for walk in list(self._walks):
                self._take(walk, is_oldest=walk is self._walks[0])
            oldest = self._walks[0]
            if not oldest:
                self._walks.popleft()
            elif self._is_local and not oldest.local:
                self._handed.append(list(oldest.handed))
                self._walks.popleft()
            elif len(self._walks) <= remaining:
                return
            else:
                wait(self._pending(), return_when=FIRST_COMPLETED)

    def _take(self, walk: _Walk, *, is_oldest: bool) -> None:
        """Continue a walk as far as is possible now."""
        while walk.local:
            if not self._can_take(walk.local[0], is_oldest=is_oldest):
                return
            token, wire = walk.local.popleft()
            self._send(walk, self._steps[wire.target].take(token, wire))
        while walk.handed and not self._is_local:
            if not self._can_take(walk.handed[0], is_oldest=is_oldest):
                return
            each = walk.handed.popleft()
            if isinstance(each, LostBranch):
                self._send(walk, self._lose(each))
            else:
                self._send(walk, self._steps[each.wire.target].take(each.token, each.wire))

    def _can_take(self, each: Departure | LostBranch, *, is_oldest: bool) -> bool:
        if isinstance(each, LostBranch):
            return is_oldest
        step = self._steps[each.wire.target]
        if not is_oldest and (step.is_ordered or each.token.branches):
            return False  # the result of a coalesce may depend on which row came first
        pending = step.pending(each.token)
        return pending is None or pending.done()

    def _send(self, walk: _Walk, onward: Onward) -> None:
        """Queue departures, and tell coalesces of lost branches."""
        for each in onward:
            if isinstance(each, LostBranch):
                if each.branches[-1].join in self._ordered:
                    walk.handed.append(each)
                else:
                    self._send(walk, self._lose(each))
                continue
            token, place = each.token, each.wire.target
            branches = token.branches
            if branches and branches[-1].join not in self._behind[place]:
                token.branches = ()  # from there the token can never reach the coalesce of its branch
            (walk.handed if place in self._ordered else walk.local).append(each)
            if place in self._steps:
                self._steps[place].expect(token)
            if branches and not token.branches:
                self._send(walk, lose_branch(branches))

    def _lose(self, lost: LostBranch) -> Onward:
        join = lost.branches[-1].join
        return [] if join is None else self._steps[join].lose(lost.branches)

    def _pending(self) -> Iterator[Future[Exchange]]:
        """Yield the calls that walks wait for.

        Calls that were answered and only wait for their turn are left out, because they would end the wait at once.
        """
        for walk in self._walks:
            queue = walk.local or walk.handed
            if queue and isinstance(first := queue[0], Departure) and first.wire.target in self._steps:
                pending = self._steps[first.wire.target].pending(first.token)
                if pending is not None and not pending.done():
                    yield pending
