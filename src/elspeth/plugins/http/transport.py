"""Connects to checked addresses only.

Only this module and the endpoint import httpx, and httpcore, on which httpx builds (extras `http` and `llm`).
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from urllib.parse import quote

import httpcore
import httpx

from elspeth.plugins.http.addresses import AddressGuard

__all__ = ["GuardedTransport"]


class GuardedTransport(httpx.BaseTransport):
    """Sends requests to addresses that a guard allows.

    `timeout` limits the seconds from connecting to the last byte of an answer, however many pieces it comes in. Proxies
    of the environment are not used, because the addresses that they call cannot be checked. The `secret`, a name and a
    value, is added to the parameters of each URL here, so that httpx does not log it.

    Raises CallError for addresses that are not allowed, and the errors of httpcore.
    """

    def __init__(self, guard: AddressGuard, timeout: float, secret: tuple[str, str] | None = None) -> None:
        self._timeout = timeout
        self._secret = secret
        self._backend = _GuardedBackend(guard)
        self._lock = threading.Lock()
        self._pools: dict[str, httpcore.ConnectionPool] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return the answer before its body."""
        assert isinstance(request.stream, httpx.SyncByteStream)  # noqa: S101  as the client makes it
        url = request.url
        if self._secret is not None:
            added = "=".join(quote(part, safe="") for part in self._secret).encode()
            url = url.copy_with(query=b"&".join(filter(None, (url.query, added))))
        self._backend.deadline.begin(self._timeout)
        received = self._pool(url.scheme).handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            received.status, headers=received.headers, stream=_Body(received), extensions=received.extensions
        )

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            for pool in self._pools.values():
                pool.close()

    def _pool(self, scheme: str) -> httpcore.ConnectionPool:
        """Return the connections of a scheme."""
        with self._lock:
            if scheme not in self._pools:
                # The pool is kept, because reading the certificates of all authorities takes as long as a request.
                self._pools[scheme] = httpcore.ConnectionPool(
                    ssl_context=httpx.create_ssl_context() if scheme == "https" else None,
                    max_connections=None,
                    max_keepalive_connections=None,
                    network_backend=self._backend,
                )
            return self._pools[scheme]


class _Body(httpx.SyncByteStream):
    """The body of an answer, read as it arrives."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


class _Deadline(threading.local):
    """The time by which this thread's exchange must end."""

    _end = 0.0

    def begin(self, seconds: float) -> None:
        """Begin an exchange."""
        self._end = time.monotonic() + seconds

    def limit(self, timeout: float | None, error: type[Exception]) -> float:
        """Return the seconds that a wait may take.

        Raises the error if none are left.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise error
        return left if timeout is None else min(left, timeout)


class _GuardedBackend(httpcore.NetworkBackend):
    """Connects to the first address that accepts the connection."""

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard
        self._sockets = httpcore.SyncBackend()
        self.deadline = _Deadline()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._guard.resolve(host, port)
        for left in range(len(addresses), 0, -1):
            seconds = self.deadline.limit(timeout, httpcore.ConnectTimeout) / left
            try:
                stream = self._sockets.connect_tcp(addresses[-left], port, seconds, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if left == 1:
                    raise
            else:
                return _TimedStream(stream, self.deadline)
        raise AssertionError("a name has at least one address")


class _TimedStream(httpcore.NetworkStream):
    """A connection whose waits end at the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.limit(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.limit(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        limit = self._deadline.limit(timeout, httpcore.ConnectTimeout)
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, limit), self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
