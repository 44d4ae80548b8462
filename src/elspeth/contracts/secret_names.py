"""Recognises secrets by their names."""

from __future__ import annotations

import re

__all__ = ["is_secret_key", "is_secret_parameter"]

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[-.]")
"""The boundaries of words in a key: `clientSecret`, `X-Api-Key` and `sasl.password` count as with underscores."""

_NAMES = frozenset({"api_key", "authorization", "credential", "password", "secret", "token"})
_ENDINGS = ("_secret", "_key", "_token", "_credential", "apikey", "passphrase", "passwd", "password")

_PARAMETERS = frozenset({"auth", "key", "pass", "passwd", "pwd", "sig", "signature"})
"""Names of secrets in web addresses, in addition to those of keys in settings."""


def is_secret_key(name: str) -> bool:
    """Return whether values under this key are secrets."""
    words = _words(name)
    return words in _NAMES or words.endswith(_ENDINGS)


def is_secret_parameter(name: str) -> bool:
    """Return whether a parameter of a URL is a secret."""
    return is_secret_key(name) or name.lower() in _PARAMETERS or _words(name).endswith("_signature")


def _words(name: str) -> str:
    """Return a name in lower case, with underscores."""
    return _WORDS.sub("_", name).lower()
