"""Finds out which fields of a row a condition reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["NotedRow"]


class NotedRow(Mapping[str, object]):
    """A row that notes which fields are read.

    `asked` holds their names in the order of the first access, whether the row has them or not.
    """

    __slots__ = ("_row", "asked")

    def __init__(self, row: Mapping[str, object]) -> None:
        self._row = row
        self.asked: dict[str, None] = {}

    def __getitem__(self, name: str) -> object:
        """Return a field's value, or raise KeyError."""
        self.asked[name] = None
        return self._row[name]

    def __contains__(self, name: object) -> bool:
        """Return whether there is such a field."""
        if isinstance(name, str):
            self.asked[name] = None
        return name in self._row

    def __iter__(self) -> Iterator[str]:
        """Iterate over all names, which are all noted."""
        self.asked.update(dict.fromkeys(self._row))
        return iter(self._row)

    def __len__(self) -> int:
        """Return the number of fields."""
        return len(self._row)
