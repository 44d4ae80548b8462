"""What happens at nodes, one module per kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future

from elspeth.core.landscape.recording.batches import HeldItem
from elspeth.core.settings.wiring import Wire
from elspeth.engine.calls.exchange import Exchange
from elspeth.engine.tokens import Branch, LiveToken, Onward

__all__ = ["CollectingStep", "Step"]


class Step(ABC):
    """What happens to tokens at one node."""

    is_ordered = False
    """Whether tokens must arrive in the order of the source."""

    @abstractmethod
    def take(self, token: LiveToken, along: Wire) -> Onward:
        """Process a token, and return what goes on.

        `along` is the edge on which it came.
        """

    def expect(self, token: LiveToken) -> None:  # noqa: B027  only calls begin early
        """Prepare for a token that is on its way here."""

    def pending(self, token: LiveToken) -> Future[Exchange] | None:  # noqa: ARG002  only calls take time
        """Return the call that the token waits for."""
        return None

    def lose(self, branches: tuple[Branch, ...]) -> Onward:  # noqa: ARG002  only a coalesce waits for branches
        """Give up waiting for the innermost branch."""
        return []


class CollectingStep(Step):
    """A step at which tokens wait for others."""

    is_ordered = True

    def release_due(self, now: float) -> Onward:  # noqa: ARG002  for steps that have timeouts
        """Release what has waited until its timeout."""
        return []

    @abstractmethod
    def release_all(self) -> Onward:
        """Release everything: no more tokens will come."""

    @abstractmethod
    def restore(self, items: Sequence[HeldItem]) -> None:
        """Wait with the items that another process kept."""
