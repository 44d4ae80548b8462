"""Options of plugins that ask a server."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, FiniteFloat, SecretStr, StringConstraints

__all__ = ["ApiKey", "ServiceName", "Timeout", "split_url"]

_DAY = 86_400.0  # seconds; timeouts of sockets are limited
_VISIBLE = re.compile(r"[!-~]+")
_CREDENTIALS = re.compile(r"[^/]*//[^/?#]*@|[^/]*//[^/:]*:(?![0-9]*(?:/|$)).*@")  # also if it is not escaped well


def split_url(text: str, example: str) -> SplitResult:
    """Return the parts of a server's URL.

    Raises ValueError, which names an `example`, for anything else, and for a URL with credentials.
    """
    if _CREDENTIALS.match(text):
        raise ValueError("must not hold credentials, which would be recorded: use api_key")
    if not _VISIBLE.fullmatch(text):
        raise ValueError(f"expected the URL of an endpoint, such as {example}, got {text!r}")
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError(f"expected the URL of an endpoint, such as {example}, got {text!r}")
    return parts


def _check_key(secret: SecretStr) -> SecretStr:
    if not _VISIBLE.fullmatch(secret.get_secret_value()):
        raise ValueError("must be ASCII characters without spaces, which is all that a header can hold")
    return secret


ApiKey = Annotated[SecretStr, AfterValidator(_check_key)]
"""A key that is sent in a header."""

Timeout = Annotated[FiniteFloat, Field(gt=0, le=_DAY)]
"""Seconds, at most a day."""

ServiceName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
"""The name of a service, as `rate_limit` names it."""
