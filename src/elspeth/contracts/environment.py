"""The environment variables and optional packages of elspeth."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

__all__ = [
    "ALLOW_RAW_SECRETS",
    "DATABASE",
    "DEFAULT_SETTINGS",
    "FINGERPRINT_KEY",
    "KEY_PASSPHRASE",
    "LEAST_KEY",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "NO_PROGRESS",
    "PREFIX",
    "SETTINGS",
    "SIGNING_KEY",
    "VARIABLES",
    "install_command",
    "key_bytes",
    "key_problem",
    "missing_package",
]

PREFIX = "ELSPETH_"

SIGNING_KEY = "ELSPETH_SIGNING_KEY"
FINGERPRINT_KEY = "ELSPETH_FINGERPRINT_KEY"
ALLOW_RAW_SECRETS = "ELSPETH_ALLOW_RAW_SECRETS"
KEY_PASSPHRASE = "ELSPETH_KEY_PASSPHRASE"  # noqa: S105  a name
SETTINGS = "ELSPETH_SETTINGS"
DATABASE = "ELSPETH_DATABASE"

DEFAULT_SETTINGS = Path("elspeth.yaml")
"""The settings file if neither an option nor the environment names one."""
NO_PROGRESS = "ELSPETH_NO_PROGRESS"
LOG_LEVEL = "ELSPETH_LOG_LEVEL"
LOG_FORMAT = "ELSPETH_LOG_FORMAT"

VARIABLES: Mapping[str, str] = {
    SIGNING_KEY: "the key of HMAC signatures: `export --hmac`, `verify --hmac`, `landscape.export.sign`",
    FINGERPRINT_KEY: "the key of the fingerprints that are recorded in place of secrets",
    ALLOW_RAW_SECRETS: "`true`: record `[redacted]` in place of secrets, without a fingerprint",
    KEY_PASSPHRASE: "the pass phrase of an encrypted private key, unless `passphrase_env` names another variable; "
    "without it, the command asks on the terminal",
    SETTINGS: "the settings file, where a command is given none with `-s`; without either it is `elspeth.yaml`",
    DATABASE: "the audit database, where a command is given none with `-d`; without either it is that of the settings. "
    "`run` and `resume` always use that of the settings",
    NO_PROGRESS: "`1`: show no progress, as `--no-progress` does",
    LOG_LEVEL: "`debug`, `info`, `warning` or `error`: write a log, as `--log-level` does",
    LOG_FORMAT: "`text` or `json`: the form of the log, as `--log-format` says",
}
"""The purpose of each variable."""

LEAST_KEY = 16
"""The smallest size of an HMAC key in bytes. A shorter key could be guessed (NIST SP 800-131A demands 112 bits)."""


def key_bytes(key: str) -> bytes:
    """Return the bytes of a key from the environment."""
    return key.encode("utf-8", "surrogateescape")


def key_problem(variable: str, key: str) -> str | None:
    """Return why an HMAC key is refused, or None."""
    size = len(key_bytes(key))
    if size >= LEAST_KEY:
        return None
    return (
        f"{variable} is too short for a key: expected at least {LEAST_KEY} bytes, got {size}; make one with "
        "python -c 'import secrets; print(secrets.token_hex(32))'"
    )


def install_command(extra: str) -> str:
    """Return the command that installs an extra.

    It works only in a checkout: until a release is in a package index, anybody could publish another package under this
    name there.
    """
    return f"in a checkout of elspeth, pip install '.[{extra}]'"


def missing_package(module: str, extra: str) -> str | None:
    """Return how to install a missing module, or None.

    The module is not imported, because that could take long.
    """
    if find_spec(module) is not None:
        return None
    return f"needs {module}, which is not installed: {install_command(extra)}"
