"""The options of plugins that call a server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Self
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import AfterValidator, Field, FiniteFloat, IPvAnyNetwork, SecretStr, StringConstraints, model_validator

from elspeth.contracts.environment import missing_package
from elspeth.contracts.plugins import PluginOptions
from elspeth.contracts.secret_names import is_secret_key, is_secret_parameter

__all__ = ["ApiKey", "ServerOptions", "ServiceName", "Timeout", "check_parameter", "check_recordable", "split_url"]

_DAY = 86_400.0  # seconds; timeouts of sockets are limited
_VISIBLE = re.compile(r"[!-~]+")
_OWN_HEADERS = frozenset(
    {"accept-encoding", "connection", "content-length", "cookie", "host", "proxy-authorization", "transfer-encoding"}
)
_CREDENTIALS = re.compile(r"[^/]*//[^/?#]*@|[^/]*//[^/:]*:(?![0-9]*(?:/|$)).*@")  # also if it is not escaped well


def split_url(text: str, example: str) -> SplitResult:
    """Return the parts of a server's URL.

    Raises ValueError, which shows the `example`, for anything else, and for a URL with credentials.
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
"""The name of a service in the section `rate_limit`."""


def check_recordable(parts: SplitResult) -> None:
    """Raise ValueError for a fragment, or a secret parameter.

    A value in braces, which comes from a row, is not a secret.
    """
    if parts.fragment:
        raise ValueError("must not have a fragment, which is never sent")
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if "{" not in value:
            check_parameter(name)


def check_parameter(name: str) -> str:
    """Return the name of a parameter that is not secret.

    Raises ValueError for the name of a secret parameter.
    """
    if is_secret_parameter(name):
        raise ValueError(f"the parameter {name} would be recorded: use api_key, with api_key_parameter: {name}")
    return name


def _check_header(name: str) -> str:
    if name.lower() in _OWN_HEADERS:
        raise ValueError(f"{name} is set by the plugin")
    if is_secret_key(name):
        raise ValueError(f"{name} would be recorded: a secret is given as api_key, with api_key_header: {name}")
    return name


_HeaderName = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"), AfterValidator(_check_header)]
_HeaderValue = Annotated[str, StringConstraints(pattern=r"^[!-~]([ -~]*[!-~])?$")]


class ServerOptions(PluginOptions):
    """Options of plugins that ask a server of your choice."""

    url: str = Field(description="What is asked.")
    headers: Mapping[_HeaderName, _HeaderValue] = Field(
        default_factory=dict, description="Headers of each request. They are recorded: they hold no secrets."
    )
    api_key: ApiKey | None = Field(default=None, description="A secret; only its fingerprint is recorded.")
    api_key_header: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+$")] = Field(
        default="Authorization", description="The header for `api_key`; in `Authorization` it is a bearer token."
    )
    api_key_parameter: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        default=None, description="The parameter of the URL for `api_key`, in place of a header."
    )
    timeout_seconds: Timeout = Field(
        default=30.0, description="For one request, from connecting to the end of the answer."
    )
    allowed_networks: tuple[IPvAnyNetwork, ...] = Field(
        default=(),
        description="Networks that may be called although they are private, such as `10.0.0.0/8`. Without them a "
        "server whose name leads to such an address is not called.",
    )
    service: ServiceName | None = Field(
        default=None, description="The name of the server in `rate_limit`; without it, the name of the host."
    )

    @model_validator(mode="after")
    def _has_package(self) -> Self:
        if missing := missing_package("httpx", "http"):
            raise ValueError(f"plugin 'http' {missing}")
        return self
