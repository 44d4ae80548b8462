"""Several rows on their way at a time, with the results of one at a time.

Each row walks through the graph by itself. Only the oldest may go where the order of rows matters (sinks, aggregations,
joins); those behind it go ahead up to there, so that what they must ask outside is asked early. What comes out is the
same for any number of rows on their way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

from elspeth.core.settings.wiring import Place, Wire
from elspeth.engine.calls.exchange import Exchange
from elspeth.engine.flow import Flow, Step
from elspeth.engine.tokens import Token

__all__ = ["Walks"]


@dataclass(frozen=True, slots=True)
class _Walk:
    """The tokens of one row that are on their way, each with the edge that it takes next."""

    queue: deque[tuple[Token, Wire]] = field(default_factory=deque)


class Walks:
    """The rows on their way, the oldest first: at most `limit`."""

    def __init__(self, flow: Flow, steps: Mapping[Place, Step], limit: int) -> None:
        self._flow = flow
        self._steps = steps
        self._limit = limit
        self._walks: deque[_Walk] = deque()

    def begin(self) -> None:
        """Let what is sent now be a row of its own, behind the others."""
        if not self._walks or self._walks[-1].queue:
            self._walks.append(_Walk())
        self._direct(self._walks[-1].queue)

    def go_on(self) -> None:
        """Take all rows as far as they can go, and wait until there is room for another one."""
        self._advance(self._limit - 1)

    def settle(self) -> None:
        """Take all rows to their end: each token has ended or waits for others."""
        self._advance(0)

    def _advance(self, remaining: int) -> None:
        while self._walks:
            for walk in list(self._walks):
                self._take(walk, is_oldest=walk is self._walks[0])
            if not self._walks[0].queue:
                self._walks.popleft()
            elif len(self._walks) <= remaining:
                return
            else:
                wait(self._pending(), return_when=FIRST_COMPLETED)

    def _take(self, walk: _Walk, *, is_oldest: bool) -> None:
        """Take the tokens of a row as far as they can go now."""
        queue, steps, asking = self._direct(walk.queue), self._steps, self._flow.asking
        while queue:
            token, wire = queue[0]
            step = steps[wire.target]
            if not is_oldest and (step.is_ordered or token.branches):
                return  # where branches meet again may depend on which row came first
            if wire.target in asking and (pending := asking[wire.target].pending(token)) and not pending.done():
                return
            queue.popleft()
            step.take(token, wire)

    def _pending(self) -> Iterator[Future[Exchange]]:
        """What the rows wait for. An answer that only its turn holds back must not end the wait."""
        for walk in self._walks:
            if walk.queue:
                token, wire = walk.queue[0]
                asking = self._flow.asking.get(wire.target)
                pending = asking.pending(token) if asking else None
                if pending is not None and not pending.done():
                    yield pending

    def _direct(self, queue: deque[tuple[Token, Wire]]) -> deque[tuple[Token, Wire]]:
        """Let the flow send tokens into a row's queue."""
        self._flow.queue = queue
        return queue
