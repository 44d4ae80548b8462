"""A plugin with scripted answers, and callers without delays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from elspeth.contracts.plugins import CallError, CallingTransform, JsonObject, RowError, TransformOptions
from elspeth.contracts.rows import RowData
from elspeth.core.settings.model import RateLimitSettings, RetrySettings
from elspeth.engine.calls.live import LiveCaller

__all__ = ["FakeTime", "Oracle", "caller", "unavailable"]

Send = Callable[[JsonObject], JsonObject]


class FakeTime:
    """A clock that runs only during waits.

    `waits` holds the seconds of each wait.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return False

    def pause(self, seconds: float) -> None:
        self.wait(seconds)


class Oracle(CallingTransform):
    """A plugin whose answers come from a function."""

    name = "oracle"
    plugin_version = "1.0.0"

    def __init__(self, send: Send, *, service: str = "delphi") -> None:
        super().__init__(TransformOptions())
        self._send = send
        self._service = service

    @classmethod
    def of(cls, answers: Sequence[JsonObject | Exception]) -> Oracle:
        """Make a plugin that gives these answers in order."""
        remaining = iter(answers)

        def send(_: JsonObject) -> JsonObject:
            answer = next(remaining)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return cls(send)

    @property
    def service(self) -> str:
        return self._service

    def request(self, row: RowData) -> JsonObject | RowError:
        return row

    def send(self, request: JsonObject) -> JsonObject:
        return self._send(request)

    def result(self, row: RowData, response: JsonObject) -> RowData | RowError:
        return {**row, **response}

    def comparable(self, response: JsonObject) -> JsonObject:
        return {"said": response["said"]}


def unavailable(*, retry_after: float | None = None) -> CallError:
    """Return an error that a retry may overcome."""
    return CallError("answered 503", is_retryable=True, retry_after=retry_after, details={"status": 503})


def caller(
    time: FakeTime,
    *,
    retry: RetrySettings | None = None,
    rate_limit: RateLimitSettings | None = None,
    max_workers: int = 1,
) -> LiveCaller:
    """Make a caller that runs on fake time."""
    return LiveCaller(
        retry or RetrySettings(),
        rate_limit or RateLimitSettings(),
        max_workers,
        wait=time.wait,
        clock=time.clock,
    )
