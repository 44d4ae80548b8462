"""Files that no output replaces, not even by force."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from elspeth.objects.address import Place
from elspeth.objects.stores import open_place

__all__ = ["content_problem", "name_problem"]

_SQLITE = b"SQLite format 3\0"

_SQLITE_COMPANION = re.compile(r"(.+)-(?:wal|shm|journal)", re.DOTALL)
"""The names of the files that SQLite keeps beside a database."""

_UNFINISHED_SINK = re.compile(r"\..+\.[^.]+\.partial", re.DOTALL)
"""The names of the files that sinks write until a run ends; the run can be resumed as long as it has them."""

_PEM_KEY = rb"-----BEGIN [A-Z ]*KEY(?: BLOCK)?-----"

_CONTENT = {
    "a SQLite database": re.compile(re.escape(_SQLITE)),
    "the write-ahead log of a SQLite database": re.compile(rb"\x37\x7f\x06[\x82\x83]"),
    "the journal of a SQLite database": re.compile(rb"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"),
    "a bag": re.compile(rb"PK\x03\x04.{26}bag/", re.DOTALL),
    # Programs find a key after any other text.
    "a key": re.compile(rb".*?" + _PEM_KEY, re.DOTALL),
}
"""Kind of file -> how it begins. A zipped bag begins with the header of a member below `bag/`."""

_PKCS12 = re.compile(rb"\x30.{1,5}\x02\x01\x03\x30.{1,5}\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07[\x01\x02]", re.DOTALL)
"""How a PKCS #12 file begins (RFC 7292, section 4): version 3, and content of the type data or signedData."""

_START_BYTES = 16 * 1024
"""How much of a file is searched for a key in PEM; the largest file that is taken for a key in DER."""

_SINKS = "sinks"
_SOURCES = frozenset({"datasource", "source", "sources"})
"""Every settings file has sinks and one of these keys at its top; the others may come from the environment."""

_MAX_SETTINGS_BYTES = 1 << 20


def name_problem(path: Path, real: Path) -> str | None:
    """Return why a name is reserved for another writer.

    None if it is not. `real` is the path with its links followed. The file need not exist.
    """
    for each in (path, real):
        found = _SQLITE_COMPANION.fullmatch(each.name)
        if found is not None and _is_database(database := each.with_name(found[1])):
            return f"belongs to the SQLite database {database}, which alone writes it: name another path"
        if _UNFINISHED_SINK.fullmatch(each.name):
            return "is the unfinished output of a run, which no other output may touch: name another path"
    return None


def content_problem(real: Place) -> str | None:
    """Return why not even force replaces a file, None otherwise."""
    try:
        with open_place(real) as file:
            start = file.read(_MAX_SETTINGS_BYTES)
            is_whole = not file.read(1)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    what = next((what for what, pattern in _CONTENT.items() if pattern.match(start, 0, _START_BYTES)), None)
    if what is None and is_whole:
        if _is_settings(start):
            what = "a settings file"
        elif len(start) <= _START_BYTES and _is_der_key(start):
            what = "a key"
    return None if what is None else f"is {what}, which --force does not replace: move it away"


def _is_database(path: Path) -> bool:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except (OSError, ValueError):
        return False


def _is_der_key(content: bytes) -> bool:
    if not content.startswith(b"0"):  # the tag of a SEQUENCE
        return False
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  start time
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key  # noqa: PLC0415

    if _PKCS12.match(content):
        return True
    try:
        load_der_private_key(content, password=None)
    except ValueError:
        pass
    except (TypeError, UnsupportedAlgorithm):
        return True  # it is encrypted, or of a kind that the library does not know
    else:
        return True
    try:
        load_der_public_key(content)
    except ValueError:
        return False
    except UnsupportedAlgorithm:
        return True
    return True


def _is_settings(content: bytes) -> bool:
    """Return whether the content is that of a settings file."""
    if _SINKS.encode() not in content or not any(name.encode() in content for name in _SOURCES):
        return False
    import yaml  # noqa: PLC0415  start time, and few files come this far

    try:
        loaded = yaml.safe_load(content.decode())
    except (yaml.YAMLError, ValueError, RecursionError):
        return False
    return isinstance(loaded, dict) and _SINKS in loaded and not _SOURCES.isdisjoint(loaded)
