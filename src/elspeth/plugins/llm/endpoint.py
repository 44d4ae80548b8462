"""The HTTP endpoint of a language model.

Only this module imports httpx (extra `llm`).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx

from elspeth.contracts.known_secret import KnownSecret
from elspeth.contracts.plugins import CallError

__all__ = ["MAX_ANSWER", "Endpoint", "seconds_until_retry"]

MAX_ANSWER = 10_000_000  # bytes
_MAX_EXCERPT = 5_000  # characters kept of the body of an error

_KEPT_HEADERS = ("content-type", "x-request-id")

_RETRYABLE = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


class Endpoint:
    """An HTTP endpoint to which JSON is posted.

    `timeout` is in seconds, for each wait and for the whole body. It may be used from several threads. Nothing that
    repeats the key, as `KnownSecret` recognises it, leaves this object.
    """

    def __init__(self, *, api_key: str | None, timeout: float) -> None:
        self._api_key = api_key
        self._known = None if api_key is None else KnownSecret(api_key)
        self._timeout = timeout
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    def post(self, url: str, body: object) -> tuple[int, Mapping[str, str], bytes]:
        """Post JSON; return status, some headers and body.

        Redirects are not followed. Raises CallError if there is no successful response, or one that repeats the key.
        """
        content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        try:
            with self._connect().stream("POST", url, content=content) as response:
                received = self._read(response)
        except httpx.TimeoutException as error:
            raise self._timeout_error() from error
        except httpx.TransportError as error:
            # The text of protocol errors may repeat what the server sent.
            text = str(error) if isinstance(error, httpx.NetworkError) else ""
            problem = f"the connection failed: {text or type(error).__name__}"
            raise CallError(problem, is_retryable=True, details={"cause": type(error).__name__}) from error
        if not response.is_success:
            raise self._status_error(response, received)
        headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
        if self._repeats_key(received.decode(errors="replace"), *headers.values()):
            problem = "the answer repeats the api_key: it is neither used nor kept"
            raise CallError(problem, is_retryable=False, details={"status": response.status_code})
        return response.status_code, headers, received

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _connect(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                # The size of a compressed answer is known only after unpacking.
                headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
                if self._api_key is not None:
                    headers["Authorization"] = f"Bearer {self._api_key}"
                limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
                self._client = httpx.Client(
                    headers=headers, timeout=self._timeout, limits=limits, follow_redirects=False
                )
            return self._client

    def _read(self, response: httpx.Response) -> bytes:
        """Return the body of a response.

        Raises CallError if it is too large, or not complete in time although each single wait was short.
        """
        deadline = time.monotonic() + self._timeout
        received = bytearray()
        for piece in response.iter_raw():
            received += piece
            if len(received) > MAX_ANSWER:
                raise CallError(f"the answer is larger than {MAX_ANSWER} bytes", is_retryable=False)
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
        return CallError(
            f"the server answered {_status_text(status)}",
            is_retryable=status in _RETRYABLE or status >= HTTPStatus.INTERNAL_SERVER_ERROR,
            retry_after=seconds_until_retry(response.headers, datetime.now(UTC)),
            details={"status": status},
            answer={"status": status, "body": text[:_MAX_EXCERPT]},
        )


def seconds_until_retry(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return what Retry-After says, in seconds from now.

    RFC 9110, section 10.2.3. None if it says nothing usable.
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
