"""Secrets in settings: found by the names of their keys, and replaced before anything is stored.

A fingerprint (HMAC-SHA256 with the operator's key) lets an auditor see that two runs used the same secret, and which
of several known secrets it was, without learning it. A plain hash would not do: passwords are short enough to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping

__all__ = [
    "ALLOW_RAW_VARIABLE",
    "FINGERPRINT_VARIABLE",
    "Mask",
    "find_secrets",
    "is_secret_key",
    "mask_secrets",
    "mask_text",
    "redact",
    "secret_mask",
]

FINGERPRINT_VARIABLE = "ELSPETH_FINGERPRINT_KEY"
ALLOW_RAW_VARIABLE = "ELSPETH_ALLOW_RAW_SECRETS"

_NAMES = frozenset({"api_key", "token", "password", "secret", "credential"})
_ENDINGS = ("_secret", "_key", "_token", "_password", "_credential")

_URL_PASSWORD = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^/\s:@]*:)([^\s@]+)(?=@)")
_URL_PARAMETER = re.compile(r"([?&]([^=&\s]+)=)([^&#\s]+)")

Location = tuple[str | int, ...]
Mask = Callable[[str], str]
"""What a secret is replaced by."""


def is_secret_key(name: str) -> bool:
    """Whether values under a key of this name are secrets."""
    lowered = name.lower()
    return lowered in _NAMES or lowered.endswith(_ENDINGS)


def secret_mask(environ: Mapping[str, str]) -> Mask | None:
    """How the environment wants secrets replaced: by fingerprints, by a marker, or None when it does not say."""
    key = environ.get(FINGERPRINT_VARIABLE)
    if key:
        return lambda secret: f"hmac-sha256:{hmac.new(key.encode(), secret.encode(), hashlib.sha256).hexdigest()}"
    if environ.get(ALLOW_RAW_VARIABLE, "").lower() in {"1", "true", "yes"}:
        return redact
    return None


def redact(secret: str) -> str:  # noqa: ARG001  a mask that needs nothing of what it hides
    """The mask for what is shown to people, and for names derived from settings."""
    return "[redacted]"


def find_secrets(tree: object, location: Location = ()) -> Iterator[Location]:
    """Where a tree of settings holds secrets, passwords in URLs included."""
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
    """A copy of a tree of settings in which every secret that `find_secrets` names is replaced."""
    return {key: _masked(value, mask, secret=is_secret_key(key)) for key, value in tree.items()}


def mask_text(text: str, mask: Mask) -> str:
    """A text with the secrets in its URLs replaced: ``user:password@`` and ``?password=``."""
    text = _URL_PASSWORD.sub(lambda match: match[1] + mask(match[2]), text)
    return _URL_PARAMETER.sub(lambda match: match[1] + (mask(match[3]) if is_secret_key(match[2]) else match[3]), text)


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
