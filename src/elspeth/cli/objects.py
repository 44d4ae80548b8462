"""Accepts objects such as `s3://bucket/key` as arguments of commands.

Commands read and write local files. Objects are downloaded before they are read, and uploaded after they were written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj, rmtree
from weakref import finalize

import typer

from elspeth.cli.failures import UsageError
from elspeth.objects.address import ObjectPath, Place, is_address, place_of

__all__ = ["fetch", "fetch_text", "local_path", "require_local", "require_place", "uploading"]

_BLOCK = 1 << 20


def fetch(ctx: typer.Context, given: Place | list[Place] | None) -> Path | list[Path] | None:
    """Replace objects by local copies, as a callback of typer.

    The copies are removed when the command ends. Their names end like the addresses. Raises UsageError for an unusable
    address, and ObjectStoreError if an object cannot be read.
    """
    if given is None:
        return None
    return [_copy(ctx, each) for each in given] if isinstance(given, list) else _copy(ctx, given)


def fetch_text(ctx: typer.Context, text: str) -> str:
    """Return the path of a copy, or the text."""
    return str(fetch(ctx, place_of(text))) if is_address(text) else text


def require_local(text: str) -> str:
    """Require a local path, as a callback of typer.

    Raises UsageError for an address.
    """
    local_path(text)
    return text


def local_path(text: str | Path) -> Path:
    """Return a local path, as a parser of typer.

    Read as a path, an address would lead to a directory such as `s3:`. Raises UsageError for an address.
    """
    if isinstance(text, str) and is_address(text):
        raise UsageError(f"expected a local path, got the address of an object: {text}")
    return Path(text)


def require_place(text: str | None) -> str | None:
    """Check a path or address, as a callback of typer.

    Raises UsageError for an unusable address.
    """
    if text is not None and isinstance(place := place_of(text), ObjectPath):
        _check(place)
    return text


def _copy(ctx: typer.Context, place: Place) -> Path:
    if not isinstance(place, ObjectPath):
        return place
    _check(place)
    from elspeth.objects.stores import store_of  # noqa: PLC0415  start time

    with store_of(place).open(place) as reader:
        directory = tempfile.mkdtemp(prefix="elspeth-")
        # A context is closed with its command, but only garbage-collected if another option of the command is wrong.
        ctx.call_on_close(finalize(ctx, rmtree, directory, ignore_errors=True))
        copy = Path(directory, place.bucket, place.key)
        copy.parent.mkdir(parents=True)
        with copy.open("wb") as file:
            copyfileobj(reader, file, _BLOCK)
        reader.require_unchanged()
    return copy


@contextmanager
def uploading(path: ObjectPath, *, force: bool) -> Iterator[Path]:
    """Yield a path whose file is uploaded at the end.

    It is uploaded if the block succeeds. An object is replaced only with `force`, and never if it must be kept. Raises
    UsageError for an unusable address, OutputRefusedError if an object exists, and ObjectStoreError.
    """
    _check(path)
    from elspeth.outputs.uploads import begin_upload, is_there_already  # noqa: PLC0415  start time

    with begin_upload(path, is_there_already(force=force)).file() as file:
        yield file


def _check(path: ObjectPath) -> None:
    from elspeth.contracts.plugins import check_address  # noqa: PLC0415  start time

    try:
        check_address(str(path))
    except ValueError as error:
        raise UsageError(str(error)) from error
