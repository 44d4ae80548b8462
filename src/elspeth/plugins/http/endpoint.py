"""The HTTP endpoint of a service.

Only this module and the transport import httpx (extras `http` and `llm`).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from types import MappingProxyType
from typing import NamedTuple, Self

import httpcore
import httpx

from elspeth.contracts.known_secret import KnownSecret
from elspeth.contracts.plugins import CallError
from elspeth.plugins.http.addresses import AddressGuard
from elspeth.plugins.http.options import ServerOptions
from elspeth.plugins.http.transport import GuardedTransport

__all__ = ["MAX_ANSWER", "Endpoint", "seconds_until_retry"]

MAX_ANSWER = 10_000_000  # bytes
_MAX_EXCERPT = 5_000  # characters kept of the body of an error

_KEPT_HEADERS = ("content-type", "x-request-id")

_RETRYABLE = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


class _Request(NamedTuple):
    """A request, and the limit of its answer.

    At most `limit` bytes of the answer are read.
    """

    method: str
    url: httpx.URL
    content: bytes | None
    headers: Mapping[str, str]
    limit: int


class Endpoint:
    """An HTTP endpoint, asked with JSON or no body.

    `timeout` is in seconds, and applies to each wait and to the whole body; with a `guard`, to the whole exchange. The
    key is sent in `key_header` (in `Authorization` as a bearer token), or with a `key_parameter` and a guard in the
    URL. `accepted` lists further statuses, other than 2xx, that are answers. With a guard, only the addresses that it
    allows are called, without proxies. `kept` names headers of answers that are returned in addition to the usual ones.
    Several threads may use the object. It returns nothing that repeats the key, as `KnownSecret` recognises it.
    """

    def __init__(
        self,
        *,
        api_key: str | None,
        timeout: float,
        key_header: str = "Authorization",
        key_parameter: str | None = None,
        accepted: Collection[int] = (),
        guard: AddressGuard | None = None,
        kept: Collection[str] = (),
    ) -> None:
        self._api_key = api_key
        self._key_header = key_header
        self._key_parameter = key_parameter
        self._accepted = accepted
        self._guard = guard
        self._kept = (*_KEPT_HEADERS, *kept)
        self._known = None if api_key is None else KnownSecret(api_key)
        self._timeout = timeout
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    @classmethod
    def of(cls, options: ServerOptions, *, accepted: Collection[int] = (), kept: Collection[str] = ()) -> Self:
        """Return the endpoint of a plugin's options."""
        return cls(
            api_key=None if options.api_key is None else options.api_key.get_secret_value(),
            timeout=options.timeout_seconds,
            key_header=options.api_key_header,
            key_parameter=options.api_key_parameter,
            accepted=accepted,
            guard=AddressGuard(options.allowed_networks),
            kept=kept,
        )

    def exchange(
        self,
        method: str,
        url: str,
        *,
        body: object = None,
        headers: Mapping[str, str] = MappingProxyType({}),
        limit: int = MAX_ANSWER,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request, and return status, some headers and body.

        The `body` is sent as JSON, unless it is None. Redirects are not followed. Raises CallError without a successful
        response, or if the response repeats the key or has more bytes than the `limit`.
        """
        content = None if body is None else json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        own = {} if content is None else {"Content-Type": "application/json"}
        try:
            request = _Request(method, httpx.URL(url), content, {**own, **headers}, limit)
            response, received = self._ask(request)
        except httpx.InvalidURL as error:
            raise CallError(f"the URL cannot be called: {error}", is_retryable=False) from error
        except (httpx.TimeoutException, httpcore.TimeoutException) as error:
            raise self._timeout_error() from error
        except (httpx.TransportError, httpcore.NetworkError, httpcore.ProtocolError) as error:
            # The text of protocol errors may repeat data of the server, so only that of network errors is kept.
            text = str(error) if isinstance(error, httpx.NetworkError | httpcore.NetworkError) else ""
            problem = f"the connection failed: {text or type(error).__name__}"
            raise CallError(problem, is_retryable=True, details={"cause": type(error).__name__}) from error
        if not response.is_success and response.status_code not in self._accepted:
            raise self._status_error(response, received)
        kept = {name: response.headers[name] for name in self._kept if name in response.headers}
        if self._repeats_key(received.decode(errors="replace"), *kept.values()):
            problem = "the answer repeats the api_key: it is neither used nor kept"
            raise CallError(problem, is_retryable=False, details={"status": response.status_code})
        return response.status_code, kept, received

    def _ask(self, request: _Request) -> tuple[httpx.Response, bytes]:
        asking = self._connect().stream(request.method, request.url, content=request.content, headers=request.headers)
        with asking as response:
            return response, self._read(response, request.limit)

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _connect(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                # The size of a compressed answer would only be known after unpacking.
                headers = {"Accept-Encoding": "identity"}
                if self._api_key is not None and self._key_parameter is None:
                    is_bearer = self._key_header.lower() == "authorization"
                    headers[self._key_header] = f"Bearer {self._api_key}" if is_bearer else self._api_key
                self._client = httpx.Client(
                    headers=headers,
                    timeout=self._timeout,
                    limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
                    follow_redirects=False,
                    transport=self._transport(),
                )
                # Cookies of the answer for one row must not be sent with the next.
                self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            return self._client

    def _transport(self) -> GuardedTransport | None:
        if self._guard is None:
            return None
        is_parameter = self._api_key is not None and self._key_parameter is not None
        secret = (str(self._key_parameter), str(self._api_key)) if is_parameter else None
        return GuardedTransport(self._guard, self._timeout, secret)

    def _read(self, response: httpx.Response, limit: int) -> bytes:
        """Return the body of a response.

        Raises CallError if the body is too large, or is not complete in time although each single wait was short.
        """
        deadline = time.monotonic() + self._timeout
        received = bytearray()
        for piece in response.iter_raw():
            received += piece
            if len(received) > limit:
                raise CallError(f"the answer is larger than {limit} bytes", is_retryable=False)
            if time.monotonic() > deadline:
                raise self._timeout_error()
        return bytes(received)

    def _repeats_key(self, *texts: str) -> bool:
        return self._known is not None and any(map(self._known.is_in, texts))

    def _timeout_error(self) -> CallError:
        return CallError(f"no complete answer within {self._timeout:g} seconds", is_retryable=True)

    def _status_error(self, response: httpx.Response, received: bytes) -> CallError:
        """Return the error of an unsuccessful response.

        A body that repeats the key is not kept.
        """
        status = response.status_code
        text = received.decode(errors="replace")
        if self._repeats_key(text):
            text = "[not kept: it repeats the api_key]"
        hint = ": redirects are not followed, so name the URL that it leads to" if response.is_redirect else ""
        return CallError(
            f"the server answered {_status_text(status)}{hint}",
            is_retryable=status in _RETRYABLE or status >= HTTPStatus.INTERNAL_SERVER_ERROR,
            retry_after=seconds_until_retry(response.headers, datetime.now(UTC)),
            details={"status": status},
            answer={"status": status, "body": text[:_MAX_EXCERPT]},
        )


def seconds_until_retry(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the value of Retry-After, in seconds from now.

    See RFC 9110, section 10.2.3. Returns None without a usable value.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return max((aware - now).total_seconds(), 0.0)


def _status_text(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
