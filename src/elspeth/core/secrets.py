"""Finds secrets in settings by their keys, and replaces them.

They are replaced before anything is stored. A fingerprint (HMAC-SHA256 with the operator's key) lets an auditor see
that two runs used the same secret, and which of several known secrets it was, without learning it. A plain hash would
not be enough, because passwords are short enough to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import unquote

from elspeth.contracts.database_urls import mask_database_url, without_credentials
from elspeth.contracts.environment import ALLOW_RAW_SECRETS, FINGERPRINT_KEY, key_bytes
from elspeth.contracts.secret_names import is_secret_key, is_secret_parameter

__all__ = [
    "Mask",
    "find_secrets",
    "fingerprint_of",
    "mask_secrets",
    "mask_text",
    "redact",
    "secret_mask",
    "secrets_in",
    "without_secrets",
]

_FINGERPRINT = "hmac-sha256:"
"""The prefix of a fingerprint that replaces a secret."""

_WEB = "(?:https?|wss?|s3|gs|file)"
"""The schemes of addresses that are not databases. A URL of any other scheme may name a database."""

_ANY = r"[A-Za-z][\w+.-]{0,40}"
_URL = re.compile(rf"\s*{_ANY}://[^\n]*")
_DATABASE_URL = re.compile(rf"\s*(?!{_WEB}://){_ANY}://", re.IGNORECASE)


def _password(schemes: str, end: str, host: str) -> re.Pattern[str]:
    """Return the pattern of a password in a URL.

    The password contains no character of `end`. It may contain an '@', unless the characters of `host` follow it.
    """
    password = rf"[^@{end}]{{1,4096}}+(?:@[^@\s?{host}]{{1,4096}}){{0,9}}"
    return re.compile(rf"(?<![\w+.-])({schemes}://[^/\s:@]*:)({password})(?=@)", re.IGNORECASE)


_PASSWORD_OF_URL = (_password(_ANY, r"\n", "/"),)
_PASSWORD_IN_TEXT = (_password(_WEB, r"\s", "/"), _password(rf"(?!{_WEB}://){_ANY}", r"\n", ""))
_PARAMETER_OF_URL = re.compile(r"([?&]([^=&\s]+)=)([^&#]+)")
_PARAMETER_IN_TEXT = re.compile(r"([?&]([^=&\s]+)=)([^&#\s]+)")
Location = tuple[str | int, ...]
Mask = Callable[[str], str]
"""A function that returns the replacement of a secret."""


def secret_mask(environ: Mapping[str, str]) -> Mask | None:
    """Return the replacement of secrets that the environment selects.

    It replaces them by fingerprints or by a marker. Returns None if the environment does not select either.
    """
    key = environ.get(FINGERPRINT_KEY)
    if key:
        known = key_bytes(key)
        return lambda secret: f"{_FINGERPRINT}{hmac.new(known, secret.encode(), hashlib.sha256).hexdigest()}"
    if environ.get(ALLOW_RAW_SECRETS, "").lower() in {"1", "true", "yes"}:
        return redact
    return None


def fingerprint_of(masked: str) -> str | None:
    """Return the fingerprint in a mask, if any.

    It has 64 hex digits.
    """
    return masked.removeprefix(_FINGERPRINT) if masked.startswith(_FINGERPRINT) else None


def secrets_in(tree: Mapping[str, object]) -> frozenset[str]:
    """Return the secrets in settings and in their URLs."""
    found: set[str] = set()

    def collect(secret: str) -> str:
        found.add(secret)
        return ""

    mask_secrets(tree, collect)
    return frozenset(found)


def redact(secret: str) -> str:  # noqa: ARG001  a mask that does not depend on the secret
    """Return the mask for texts that people see."""
    return "[redacted]"


def find_secrets(tree: object, location: Location = ()) -> Iterator[Location]:
    """Yield the places of secrets, and of passwords in URLs."""
    match tree:
        case dict():
            for key, value in tree.items():
                yield from find_secrets(value, (*location, key))
        case list():
            for index, value in enumerate(tree):
                yield from find_secrets(value, (*location, index))
        case str() if tree and (_under_secret_key(location) or mask_text(tree, redact) != tree):
            yield location
        case int() | float() if _under_secret_key(location) and not isinstance(tree, bool):
            yield location


def mask_secrets(tree: Mapping[str, object], mask: Mask) -> dict[str, object]:
    """Return a copy of the settings with all secrets replaced."""
    return {key: _masked(value, mask, secret=is_secret_key(key)) for key, value in tree.items()}


def mask_text(text: str, mask: Mask) -> str:
    """Return a text with the secrets in its URLs replaced.

    If the whole text is a database URL, its password may contain white space. Within other texts, a URL ends at white
    space.
    """
    if _DATABASE_URL.match(text):
        return mask_database_url(text, mask)
    is_url = _URL.fullmatch(text) is not None
    for password in _PASSWORD_OF_URL if is_url else _PASSWORD_IN_TEXT:
        text = password.sub(lambda match: match[1] + mask(unquote(match[2])), text)
    parameter = _PARAMETER_OF_URL if is_url else _PARAMETER_IN_TEXT
    return parameter.sub(
        lambda match: match[1] + (mask(unquote(match[3])) if is_secret_parameter(match[2]) else match[3]), text
    )


def without_secrets(tree: Mapping[str, object]) -> dict[str, object]:
    """Return a copy of the settings independent of their secrets.

    It is the same for all secrets, masked or not. Credentials in database URLs are left out entirely, because a
    database stays the same whoever uses it.
    """
    masked = mask_secrets(tree, redact)
    return {key: _without_credentials(value) for key, value in masked.items()}


def _without_credentials(tree: object) -> object:
    match tree:
        case dict():
            return {key: _without_credentials(value) for key, value in tree.items()}
        case list():
            return [_without_credentials(value) for value in tree]
        case str() if _DATABASE_URL.match(tree):
            return without_credentials(tree)
        case _:
            return tree


def _under_secret_key(location: Location) -> bool:
    return any(isinstance(part, str) and is_secret_key(part) for part in location)


def _masked(tree: object, mask: Mask, *, secret: bool) -> object:
    match tree:
        case dict():
            return {key: _masked(value, mask, secret=secret or is_secret_key(key)) for key, value in tree.items()}
        case list():
            return [_masked(value, mask, secret=secret) for value in tree]
        case str() if tree:
            return mask(tree) if secret else mask_text(tree, mask)
        case int() | float() if secret and not isinstance(tree, bool):
            return mask(str(tree))
        case _:
            return tree
