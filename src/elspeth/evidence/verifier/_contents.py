"""Contents in a bag, and the records that name them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from elspeth.evidence.format import bag
from elspeth.evidence.format.errors import EvidenceError, shown

__all__ = ["ContentNames", "check_names"]

_REFERENCE = re.compile(rb'"[a-z_]+_ref":"([0-9a-f]{64})"')
"""A reference to a content. It cannot match inside a JSON text, where the quotes would be escaped."""

_LONGEST = 200
"""An upper bound of the bytes of a reference."""


def check_names(digests: Mapping[str, str]) -> None:
    """Check that each content has the hash in its name.

    Raises EvidenceError for the first that has another.
    """
    for name, digest in digests.items():
        if name.startswith(bag.CONTENTS) and name != bag.CONTENTS + digest:
            expected = f"expected the content whose SHA-256 is its name, got one with {digest}"
            raise EvidenceError(shown(name), expected)


class ContentNames:
    """The contents of a bag, compared with its records."""

    def __init__(self, names: frozenset[str]) -> None:
        self._contents = {name.removeprefix(bag.CONTENTS) for name in names if name.startswith(bag.CONTENTS)}
        self._named: set[str] = set()
        self._rest = b""

    def read(self, block: bytes) -> None:
        """Note the references in a block of lines."""
        if self._contents:
            text = self._rest + block
            self._named.update(digest.decode() for digest in _REFERENCE.findall(text))
            self._rest = text[-_LONGEST:]

    def describe(self) -> str:
        """Return the number of contents, for the verdict.

        Call it after reading all blocks. Raises EvidenceError for a content that no record names.
        """
        if not self._contents:
            return ""
        if unnamed := sorted(self._contents - self._named):
            raise EvidenceError(bag.CONTENTS + unnamed[0], "expected a record that names this content, got none")
        missing = len(self._named - self._contents)
        others = f", {missing:,} more that records name are not in the bag" if missing else ""
        return f"; {len(self._contents):,} contents, each named by a record{others}"
