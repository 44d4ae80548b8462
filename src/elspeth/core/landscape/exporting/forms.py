"""What the forms of an export share: the error, and a record as it stands in a form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from elspeth.core.canonical import canonical_bytes
from elspeth.core.landscape.database import LandscapeError
from elspeth.evidence.format.errors import EvidenceError

__all__ = ["MANIFEST_FILE", "ExportError", "ExportGroups", "StoredRecord", "manifest_file"]

MANIFEST_FILE = "manifest.json"
"""Where an export of several files has its manifest."""


ExportGroups = Iterable[tuple[str, Iterator[Mapping[str, object]]]]
"""An export as record types, each with its records; the manifest is the last."""


class ExportError(LandscapeError):
    """An export that cannot be written where it should go, or that is not as it was written.

    The message names the path, the place in it if there is one, the problem, what was expected and what was found.
    """

    def __init__(self, path: Path, where: str | None, problem: str) -> None:
        place = f"{path}, {where}" if where else str(path)
        super().__init__(f"{place}: {problem}")
        self.path = path
        self.where = where
        self.problem = problem

    @classmethod
    def of(cls, path: Path, error: EvidenceError) -> ExportError:
        """Return what the reader of evidence found as an error of the export."""
        return cls(path, None if error.place == str(path) else error.place, error.problem)


class StoredRecord(NamedTuple):
    """A record as a form holds it: where, its values, and its canonical JSON; its row if it is beyond doubt sound.

    `position` is the byte at which its line begins, where the form has lines.
    """

    where: str
    record: dict[str, object]
    line: bytes
    row: dict[str, object] | None = None
    position: int | None = None


def manifest_file(manifest: Mapping[str, object]) -> bytes:
    """The content of the manifest's own file: the line that it is in other forms."""
    return canonical_bytes(manifest) + b"\n"
