"""The waits and connections of one exchange."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from types import SimpleNamespace

import httpcore
import pytest

from elspeth.plugins.http import transport
from elspeth.plugins.http.addresses import AddressGuard
from elspeth.plugins.http.transport import GuardedTransport, _Deadline, _GuardedBackend, _TimedStream


class Clock:
    """A clock that stands still until a test turns it."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(transport, "time", made)
    return made


class Stream(httpcore.NetworkStream):
    """A connection that notes how long each wait may take."""

    def __init__(self) -> None:
        self.waits: list[float | None] = []
        self.is_closed = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.waits.append(timeout)
        return b"x" * max_bytes

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002  not sent
        self.waits.append(timeout)

    def close(self) -> None:
        self.is_closed = True

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,  # noqa: ARG002  nothing is encrypted
        server_hostname: str | None = None,  # noqa: ARG002
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        self.waits.append(timeout)
        return self

    def get_extra_info(self, info: str) -> object:
        return f"the {info}"


@pytest.mark.parametrize(
    ("wait", "error"),
    [
        (lambda stream, timeout: stream.read(1, timeout), httpcore.ReadTimeout),
        (lambda stream, timeout: stream.write(b"x", timeout), httpcore.WriteTimeout),
        (lambda stream, timeout: stream.start_tls(ssl.create_default_context(), "x", timeout), httpcore.ConnectTimeout),
    ],
    ids=["read", "write", "start_tls"],
)
def test_every_wait_ends_at_the_deadline(
    clock: Clock, wait: Callable[[httpcore.NetworkStream, float | None], object], error: type[Exception]
) -> None:
    inner, deadline = Stream(), _Deadline()
    outer = _TimedStream(inner, deadline)
    deadline.begin(10)
    for clock.now, timeout in ((104.0, 30.0), (104.0, 2.0), (107.0, None)):
        wait(outer, timeout)
    assert inner.waits == [6.0, 2.0, 3.0]
    clock.now = 110.0
    with pytest.raises(error):
        wait(outer, 30.0)
    assert len(inner.waits) == 3
    deadline.begin(5)
    wait(outer, 30.0)
    assert inner.waits[3:] == [5.0]


def test_a_connection_with_tls_has_the_same_deadline(clock: Clock) -> None:
    inner, deadline = Stream(), _Deadline()
    deadline.begin(10)
    secured = _TimedStream(inner, deadline).start_tls(ssl.create_default_context())
    clock.now = 109.0
    assert (secured.read(2, 30.0), inner.waits) == (b"xx", [10.0, 1.0])
    assert secured.get_extra_info("socket") == "the socket"
    secured.close()
    assert inner.is_closed


@pytest.mark.parametrize("problem", [httpcore.ConnectTimeout, httpcore.ConnectError])
def test_the_addresses_of_a_name_share_the_time_that_is_left(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, problem: type[Exception]
) -> None:
    monkeypatch.setattr(AddressGuard, "resolve", lambda *_: ["192.0.2.1", "192.0.2.2", "192.0.2.3"])
    backend, tried = _GuardedBackend(AddressGuard(())), list[tuple[str, int, float]]()

    def connect(host: str, port: int, timeout: float, *_: object) -> httpcore.NetworkStream:
        tried.append((host, port, timeout))
        clock.now += timeout if problem is httpcore.ConnectTimeout else 0
        raise problem

    backend._sockets = SimpleNamespace(connect_tcp=connect)  # type: ignore[assignment]
    backend.deadline.begin(30)
    with pytest.raises(problem):
        backend.connect_tcp("api.example.com", 443, 60.0)
    seconds = [10.0, 10.0, 10.0] if problem is httpcore.ConnectTimeout else [10.0, 15.0, 30.0]
    assert tried == [(f"192.0.2.{number}", 443, each) for number, each in enumerate(seconds, start=1)]


def test_closing_closes_the_connections_of_every_scheme() -> None:
    made = GuardedTransport(AddressGuard(()), 1.0)
    closed: list[str] = []
    for scheme in ("http", "https"):
        pool = made._pool(scheme)
        assert made._pool(scheme) is pool
        pool.close = lambda scheme=scheme: closed.append(scheme)  # type: ignore[method-assign,misc]
    made.close()
    assert closed == ["http", "https"]
