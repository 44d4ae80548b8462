"""Opens databases and loads keys for commands."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from elspeth.cli.failures import UsageError
from elspeth.cli.progress import migration_display, record_display
from elspeth.cli.terminal import ask_secret
from elspeth.contracts.database_urls import database_url
from elspeth.contracts.environment import DATABASE, DEFAULT_SETTINGS, SETTINGS

if TYPE_CHECKING:
    from elspeth.core.landscape.database import LandscapeDB
    from elspeth.core.landscape.queries.runs import RecordedRun
    from elspeth.evidence.format.signatures import Signer
    from elspeth.outputs.policy import Protected
    from elspeth_schema.contracts import AuditRecord
    from elspeth_schema.records import RecordType

__all__ = [
    "checking_key",
    "database_url",
    "default_database",
    "key_passphrase",
    "load_signer",
    "open_landscape",
    "open_run",
    "protected_files",
    "require_key",
    "signing_key",
]


@contextmanager
def open_run(
    run: str,
    *,
    database: str | None,
    export: Path | None,
    record_types: Collection[RecordType[AuditRecord]],
) -> Iterator[RecordedRun]:
    """Open a run in a database or export for reading.

    Without either, the database is that of the environment or the settings. `record_types` are the types that are read
    from an export.

    Raises UsageError if both are given, or there is no database, and RunNotFoundError if it does not hold the run.
    """
    if database is not None and export is not None:
        raise UsageError("give -d or --from: either the audit database or an export")
    from elspeth.core.landscape.database.errors import RunNotFoundError  # noqa: PLC0415  start time
    from elspeth.core.landscape.queries.runs import RecordedRun, matches_run, resolve_run  # noqa: PLC0415

    if export is None:
        with open_landscape(database or default_database()) as db:
            run_id = resolve_run(db, run)
            with db.snapshot() as connection:
                yield RecordedRun(connection, run_id)
        return
    from elspeth.core.landscape.queries.exported import open_exported  # noqa: PLC0415

    with ExitStack() as stack:
        with record_display("read") as progress:
            found = stack.enter_context(open_exported(export, record_types, progress))
        if not matches_run(run, found.run_id):
            raise RunNotFoundError(f"export {export} holds run {found.run_id!r}, not {run!r}")
        yield found


def default_database() -> str:
    """Return the database of the environment, or of the settings.

    Raises UsageError if neither names one, SettingsError for invalid settings.
    """
    if url := os.environ.get(DATABASE):
        return url
    from elspeth.core.settings.loading import load_landscape, read_dotenv  # noqa: PLC0415  start time

    environ = {**read_dotenv(Path(".env")), **os.environ}
    if url := environ.get(DATABASE):
        return url
    named = os.environ.get(SETTINGS)  # like the option for settings, which does not read .env
    path = DEFAULT_SETTINGS if named is None else Path(named)
    if named is None and not path.exists():
        raise UsageError(
            f"no audit database: name it with -d or {DATABASE}, or its settings with {SETTINGS};"
            f" there is no {path} here"
        )
    landscape = load_landscape(path, environ)
    if not landscape.enabled:
        raise UsageError(f"{path} keeps no audit database (landscape.enabled: false): give one with -d")
    return landscape.url


@contextmanager
def open_landscape(database: str) -> Iterator[LandscapeDB]:
    """Open an existing audit database for reading.

    A database of an older epoch is not changed: a private copy of it is migrated and read.

    Raises LandscapeError if it cannot be read.
    """
    from elspeth.core.landscape.migration.private_copy import open_for_reading  # noqa: PLC0415  start time

    with ExitStack() as stack:
        with migration_display() as report:
            db = stack.enter_context(open_for_reading(database_url(database), report))
        yield db


def protected_files(
    *, database: str | None = None, keys: Iterable[str | Path | None] = (), bag: Path | None = None
) -> list[Protected]:
    """Return the paths that the command's outputs may not touch.

    Raises LandscapeError for an unusable database URL.
    """
    from elspeth.core.landscape.database.urls import database_files, parse_url  # noqa: PLC0415  start time
    from elspeth.outputs.policy import Extent, Protected  # noqa: PLC0415

    protected = [Protected(path=Path(".env"), what="the file .env of secrets")]
    if database is not None:
        protected += database_files(parse_url(database_url(database)))
    # A signer URI is treated as the name of a missing file, which does no harm.
    protected += [Protected(path=Path(key), what="a key") for key in keys if key is not None]
    if bag is not None:
        protected.append(Protected(path=bag, what="the bag that is read", extent=Extent.TREE))
    return protected


def key_passphrase(key: str) -> str:
    """Return the pass phrase of an encrypted private key.

    It comes from the environment, or is entered on the terminal. Raises UsageError without either.
    """
    from elspeth.contracts.environment import KEY_PASSPHRASE  # noqa: PLC0415  start time

    found = os.environ.get(KEY_PASSPHRASE) or ask_secret(f"pass phrase of {key}")
    if not found:
        raise UsageError(f"{key}: is encrypted: set {KEY_PASSPHRASE} to its pass phrase")
    return found


def require_key(*, has_key: bool, has_public: bool, has_certificate: bool = False) -> None:
    """Raise UsageError for options that need a missing key."""
    if has_public and not has_key:
        raise UsageError("--public: only with --key: it is the other half of that key")
    if has_certificate and not has_key:
        raise UsageError("--certificate: only with --key: it says whose that key is")


def load_signer(key: str | None, public: Path | None, certificate: Path | None = None) -> Signer | None:
    """Load the signer, if a private key was named.

    A certificate also serves as the public key. Raises KeyFileError if one of them cannot be used, and UsageError if
    the key is encrypted and there is no pass phrase.
    """
    if key is None:
        return None
    from elspeth.evidence.format import signatures  # noqa: PLC0415  start time

    signer = signatures.load_signer(key, public_key=public or certificate, passphrase=key_passphrase)
    if certificate is None:
        return signer
    from elspeth.evidence.format.certificates import certify  # noqa: PLC0415  start time

    return certify(signer, certificate)


def signing_key() -> bytes:
    """Return the HMAC key of the environment, to sign with.

    Raises UsageError if there is none or it is too short.
    """
    from elspeth.contracts.environment import SIGNING_KEY, key_bytes, key_problem  # noqa: PLC0415  start time

    key = _key_of_environment()
    if problem := key_problem(SIGNING_KEY, key):
        raise UsageError(problem)
    return key_bytes(key)


def checking_key() -> bytes:
    """Return the HMAC key of the environment, to check signatures.

    Signatures by a short key can still be checked, with a warning. Raises UsageError if there is no key.
    """
    from elspeth.contracts.environment import LEAST_KEY, SIGNING_KEY, key_bytes, key_problem  # noqa: PLC0415  start time

    key = _key_of_environment()
    if key_problem(SIGNING_KEY, key):
        weakness = f"has less than {LEAST_KEY} bytes: anyone who guesses it can forge signatures"
        typer.echo(f"warning: {SIGNING_KEY} {weakness}", err=True)
    return key_bytes(key)


def _key_of_environment() -> str:
    from elspeth.contracts.environment import SIGNING_KEY  # noqa: PLC0415  start time

    key = os.environ.get(SIGNING_KEY)
    if not key:
        raise UsageError(f"--hmac needs a key: set {SIGNING_KEY}")
    return key
