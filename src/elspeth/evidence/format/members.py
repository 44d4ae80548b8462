"""Strict reading of the small JSON documents of a bag: every member is asked for by type, and none is left over."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import cast

from elspeth.evidence.format.canonical import Json
from elspeth.evidence.format.errors import EvidenceError, shown

__all__ = ["Members"]

_SHA256 = re.compile("[0-9a-f]{64}")


class Members:
    """The members of an object, each taken once and of the type that is asked for; EvidenceError otherwise."""

    def __init__(self, members: Mapping[str, Json], place: str) -> None:
        self._rest = dict(members)
        self._place = place

    def close(self) -> None:
        """No member may be left: what nobody reads, nobody checks."""
        for name in self._rest:
            raise EvidenceError(self._place, f"expected no further member, got {shown(name)}")

    def expect(self, name: str, value: Json) -> None:
        """Take a member that must have this value."""
        found = self._take(name)
        if found != value or isinstance(found, bool):
            raise self._unexpected(name, shown(value), found)

    def skip(self, name: str) -> None:
        """Take a member that may be there and means nothing any more."""
        self._rest.pop(name, None)

    def text(self, name: str) -> str:
        """Take a text."""
        value = self._take(name)
        if not isinstance(value, str):
            raise self._unexpected(name, "text", value)
        return value

    def sha256(self, name: str) -> str:
        """Take a SHA-256, 64 hex digits."""
        value = self.text(name)
        if not _SHA256.fullmatch(value):
            raise self._unexpected(name, "a SHA-256 in hexadecimal", value)
        return value

    def sha256s(self, name: str) -> tuple[str, ...]:
        """Take an array of SHA-256, 64 hex digits each."""
        values = self.texts(name)
        if not all(map(_SHA256.fullmatch, values)):
            raise self._unexpected(name, "an array of SHA-256 in hexadecimal", values)
        return values

    def number(self, name: str) -> int:
        """Take an integer."""
        value = self._take(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._unexpected(name, "a whole number", value)
        return value

    def truth(self, name: str) -> bool:
        """Take a boolean."""
        value = self._take(name)
        if not isinstance(value, bool):
            raise self._unexpected(name, "true or false", value)
        return value

    def sequence(self, name: str) -> Sequence[Json]:
        """Take an array."""
        value = self._take(name)
        if not isinstance(value, list):
            raise self._unexpected(name, "an array", value)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Take an array of texts."""
        values = self.sequence(name)
        texts = tuple(value for value in values if isinstance(value, str))
        if len(texts) != len(values):
            raise self._unexpected(name, "an array of texts", values)
        return texts

    def objects(self, name: str) -> list[Members]:
        """Take an array of objects, each to be read strictly, too."""
        values = self.sequence(name)
        if not all(isinstance(value, dict) for value in values):
            raise self._unexpected(name, "an array of objects", values)
        places = (f"{self._place}: {name}[{number}]" for number in range(len(values)))
        return [Members(cast("Mapping[str, Json]", value), place) for value, place in zip(values, places, strict=True)]

    def optional_text(self, name: str) -> str | None:
        """Take a text or null."""
        value = self._take(name)
        if value is not None and not isinstance(value, str):
            raise self._unexpected(name, "text or null", value)
        return value

    def optional_number(self, name: str) -> int | None:
        """Take an integer or null."""
        value = self._take(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise self._unexpected(name, "a whole number or null", value)
        return value

    def optional_object(self, name: str) -> Mapping[str, Json] | None:
        """Take an object or null, as it is."""
        value = self._take(name)
        if value is not None and not isinstance(value, dict):
            raise self._unexpected(name, "an object or null", value)
        return value

    def members(self, name: str) -> Members:
        """Take an object, to be read strictly, too."""
        value = self._take(name)
        if not isinstance(value, dict):
            raise self._unexpected(name, "an object", value)
        return Members(value, f"{self._place}: {name}")

    def optional_members(self, name: str) -> Members | None:
        """Take an object, to be read strictly, too, or null."""
        value = self.optional_object(name)
        return None if value is None else Members(value, f"{self._place}: {name}")

    def counts(self, name: str) -> dict[str, int]:
        """Take an object of integers of at least one."""
        value = self._take(name)
        counts = {each: count for each, count in value.items() if type(count) is int} if isinstance(value, dict) else {}
        if counts != value or any(count < 1 for count in counts.values()):
            raise self._unexpected(name, "an object of counts of at least one", value)
        return counts

    def _take(self, name: str) -> Json:
        if name not in self._rest:
            raise EvidenceError(self._place, f"expected a member {name!r}, got none")
        return self._rest.pop(name)

    def _unexpected(self, name: str, expected: str, found: object) -> EvidenceError:
        return EvidenceError(f"{self._place}: {name}", f"expected {expected}, got {shown(found)}")
