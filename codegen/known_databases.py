"""The table of the predecessor's databases, for docs/upgrading.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from elspeth.schema.predecessor import Shape
from elspeth.schema.snapshots import Snapshot, TableSnapshot

__all__ = ["with_known_databases"]

_BEGIN = "<!-- Written by codegen from src/elspeth/schema/predecessor.json: do not edit. -->\n"
_END = "<!-- The end of what codegen writes. -->\n"


def with_known_databases(page: str, shapes: Sequence[Shape], epochs: Iterable[Snapshot]) -> str:
    """Return the page with today's table between its marks.

    Raises ValueError if the page has no marks.
    """
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        message = f"expected a line {_BEGIN.strip()} and after it a line {_END.strip()}"
        raise ValueError(message)
    table = "".join(f"{line}\n" for line in _lines(shapes, {_columns(each.tables): each.epoch for each in epochs}))
    return f"{before}{begin}\n{table}\n{end}{after}"


def _lines(shapes: Iterable[Shape], epochs: Mapping[frozenset[tuple[str, str]], int]) -> Iterator[str]:
    yield "| from | tables | columns | releases | `landscape` |"
    yield "|---|---|---|---|---|"
    for shape in shapes:
        epoch = epochs.get(_columns(shape.tables))
        way = "`adopt`" if epoch is None else f"`migrate`, as epoch {epoch}, or `adopt`"
        yield f"| {shape.date} | {len(shape.tables)} | {shape.columns} | {', '.join(shape.releases)} | {way} |"


def _columns(tables: Iterable[TableSnapshot]) -> frozenset[tuple[str, str]]:
    return frozenset((table.name, column.name) for table in tables for column in table.columns)
