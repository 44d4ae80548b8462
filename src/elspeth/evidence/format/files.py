"""Reads small files whole: keys, certificates, policies and proofs."""

from __future__ import annotations

from pathlib import Path

from elspeth.evidence.format.errors import EvidenceError

__all__ = ["read_small_file"]


def read_small_file(path: Path, what: str, most: int, error: type[EvidenceError] = EvidenceError) -> bytes:
    """Return the content of a file of limited size.

    `most` is the limit in bytes, and `what` names the expected content in messages. Raises `error` if the file is
    larger or cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError) as problem:  # a ValueError for a path with a null character
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise error(str(path), f"cannot be read: {reason}") from problem
    if len(data) > most:
        raise error(str(path), f"expected {what} of at most {most:,} bytes, got a larger file")
    return data
