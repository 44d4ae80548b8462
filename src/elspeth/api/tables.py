"""Converts the contents of trails to tables of other libraries."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import islice
from types import ModuleType, NoneType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, get_args, get_type_hints

from elspeth.contracts.environment import missing_package
from elspeth.core.html_tables import html_table
from elspeth.core.landscape.database import LandscapeError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

__all__ = ["Table", "table_of"]

T = TypeVar("T")

_SHOWN = 20
"""The number of rows that a notebook shows."""


class Table(Generic[T]):
    """Rows of one kind, read when they are used.

    Iterate over the table to get its rows.
    """

    def __init__(
        self,
        title: str,
        columns: Sequence[str],
        read: Callable[[], Iterator[T]],
        to_mapping: Callable[[T], Mapping[str, object]],
        to_arrow: Callable[[], pa.Table],
    ) -> None:
        self._title = title
        self._columns = columns
        self._read = read
        self._to_mapping = to_mapping
        self._to_arrow = to_arrow

    def __iter__(self) -> Iterator[T]:
        """Yield the rows."""
        return self._read()

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table.

        Raises LandscapeError if pyarrow is not installed.
        """
        _require("pyarrow", "parquet")
        return self._to_arrow()

    def to_pandas(self) -> pd.DataFrame:
        """Return a pandas DataFrame with Arrow types.

        Raises LandscapeError if pandas or pyarrow is not installed.
        """
        pandas = _require("pandas", "pandas")
        frame: pd.DataFrame = self.to_arrow().to_pandas(types_mapper=pandas.ArrowDtype)
        return frame

    def to_polars(self) -> pl.DataFrame:
        """Return a Polars DataFrame.

        Raises LandscapeError if polars or pyarrow is not installed.
        """
        frame: pl.DataFrame = _require("polars", "polars").from_arrow(self.to_arrow())
        return frame

    def __repr__(self) -> str:
        """Name what the table holds."""
        return f"<{self._title}>"

    def _repr_html_(self) -> str:
        """Return the first rows, for notebooks."""
        rows = [self._to_mapping(each) for each in islice(self._read(), _SHOWN + 1)]
        more = f" (the first {_SHOWN})" if len(rows) > _SHOWN else ""
        cells = [[row.get(name) for name in self._columns] for row in rows[:_SHOWN]]
        return html_table(f"{self._title}{more}", self._columns, cells)


def table_of(title: str, row_type: type[T], read: Callable[[], Iterator[T]]) -> Table[T]:
    """Return a table whose rows are of a dataclass.

    Its fields are the columns.
    """
    columns = [field.name for field in dataclasses.fields(cast(Any, row_type))]
    hints = get_type_hints(row_type)

    def to_mapping(row: T) -> dict[str, object]:
        return {name: getattr(row, name) for name in columns}

    def to_arrow() -> pa.Table:
        import pyarrow as pa  # noqa: PLC0415  an extra

        types = {str: pa.string(), int: pa.int64(), bool: pa.bool_()}
        fields = []
        for name in columns:
            alternatives = get_args(hints[name]) or (hints[name],)
            [plain] = [each for each in alternatives if each is not NoneType]
            fields.append(pa.field(name, types[plain], nullable=NoneType in alternatives))
        return pa.Table.from_pylist([to_mapping(row) for row in read()], pa.schema(fields))

    return Table(title, columns, read, to_mapping, to_arrow)


def _require(module: str, extra: str) -> ModuleType:
    """Return an optional module.

    Raises LandscapeError if it is not installed.
    """
    missing = missing_package(module, extra)
    if missing is not None:
        raise LandscapeError(f"the table {missing}")
    return import_module(module)
