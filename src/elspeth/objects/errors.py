"""The errors of object stores, reworded for users."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from elspeth.objects.address import ObjectPath

__all__ = [
    "ObjectChangedError",
    "ObjectExistsError",
    "ObjectMissingError",
    "ObjectStoreError",
    "named_errors",
    "response_code",
]

_TIMEOUTS = ("ReadTimeoutError", "ConnectTimeoutError", "FSTimeoutError", "ServerTimeoutError")
_UNREACHABLE = (
    *("EndpointConnectionError", "ConnectionClosedError", "HTTPClientError", "ProxyConnectionError"),
    *("ClientConnectorError", "ClientConnectionError", "ServiceRequestError", "SSLError", "ProxyError"),
)
_MISSING = "ResourceNotFoundError"
_EXISTS = ("ResourceExistsError", "ResourceModifiedError")
"""Errors of Azure's client; the last one is for conditions that are not met."""

_REPLACED = "FileExpired"
"""The error of s3fs for an object that was replaced since it was opened."""

_UNAUTHENTICATED = "ClientAuthenticationError"
_REQUEST_ID = "RequestId:"
"""The text after the message of an error of Azure."""

_UNAUTHORIZED, _FORBIDDEN = 401, 403
_ELSEWHERE = ("301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")
"""The error codes of S3 for a bucket in another region."""


class ObjectStoreError(OSError):
    """An object cannot be read or written.

    `filename` is its address; `strerror` says why, and what to do. It does not repeat credentials.
    """

    def __init__(self, path: ObjectPath, problem: str) -> None:
        super().__init__(errno.EIO, problem, str(path))

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


class ObjectMissingError(ObjectStoreError, FileNotFoundError):
    """There is no such object, or no such bucket."""


class ObjectExistsError(ObjectStoreError, FileExistsError):
    """An object exists already, and may not be replaced."""


class ObjectChangedError(ObjectStoreError):
    """An object was replaced since it was last seen."""


@contextmanager
def named_errors(path: ObjectPath) -> Iterator[None]:
    """Turn errors of a store's library into ObjectStoreError."""
    try:
        yield
    except ObjectStoreError:
        raise
    except Exception as error:
        name = type(error).__name__
        if isinstance(error, FileNotFoundError) or name == _MISSING:
            raise ObjectMissingError(path, "there is no such object, or no such bucket") from error
        if isinstance(error, FileExistsError) or name in _EXISTS:
            raise ObjectExistsError(path, "is there already") from error
        if name == _REPLACED:
            raise ObjectChangedError(path, "it was replaced while it was read") from error
        raise ObjectStoreError(path, _problem_of(error, path)) from error


def response_code(error: BaseException) -> str | None:
    """Return the error code of S3, or None."""
    for each in (error, error.__cause__):
        response = getattr(each, "response", None)
        if isinstance(response, dict) and isinstance(answer := response.get("Error"), dict):
            return str(answer.get("Code"))
    return None


def _problem_of(error: Exception, path: ObjectPath) -> str:
    name, service = type(error).__name__, path.service
    what = path.scheme if service is None else service.name
    if isinstance(error, ImportError):
        return f"{what} needs {_module(path)}, which is not installed"
    status, code = _status(error), response_code(error)
    if code in _ELSEWHERE:
        return f"{what} has this bucket in another region: name it in AWS_DEFAULT_REGION"
    if isinstance(error, PermissionError) or (status == _FORBIDDEN and name != _UNAUTHENTICATED):
        return f"{what} denies access: check the credentials, and what they are allowed to do"
    if "Credential" in name or name == _UNAUTHENTICATED or status == _UNAUTHORIZED or code == str(_UNAUTHORIZED):
        return f"{what} needs credentials, and none that are valid were found: see how {_module(path)} finds them"
    if isinstance(error, TimeoutError) or name in _TIMEOUTS:
        return f"{what} did not answer in time: try again"
    if isinstance(error, ConnectionError) or name in _UNREACHABLE:
        where = "" if service is None else f", and the address in {service.address_variable} if that is set"
        return f"{what} cannot be reached: check the network{where}"
    if isinstance(error, OSError) and (error.strerror or error.args):
        return f"{what} answers: {_one_line(error.strerror or str(error.args[0]))}"
    if status is not None:
        return f"{what} answers: {_one_line(str(getattr(error, 'message', '')).partition(_REQUEST_ID)[0]) or status}"
    return f"{what} cannot be used ({name})"


def _status(error: Exception) -> int | None:
    """Return the HTTP status of Google's or Azure's error."""
    status = getattr(error, "status_code", getattr(error, "code", None))
    return status if isinstance(status, int) else None


def _module(path: ObjectPath) -> str:
    return "its library" if path.service is None else path.service.module


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
