"""The steps of a pipeline, with one module per kind."""

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
    """The work on tokens at one node."""

    is_ordered = False
    """Whether tokens must arrive in the order of the source."""

    @abstractmethod
    def take(self, token: LiveToken, along: Wire) -> Onward:
        """Process a token, and return the tokens that go on.

        `along` is the edge on which the token arrived.
        """

    def expect(self, token: LiveToken) -> None:  # noqa: B027  only calls begin early
        """Prepare for a token on its way to this step."""

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
        """Release the tokens whose timeout has passed."""
        return []

    @abstractmethod
    def release_all(self) -> Onward:
        """Release all tokens, as no more will arrive."""

    @abstractmethod
    def restore(self, items: Sequence[HeldItem]) -> None:
        """Restore the waiting items that another process kept."""
