"""The transform `lookup`, which adds fields from a table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from elspeth.contracts.enums import Determinism
from elspeth.contracts.input_paths import STANDARD_INPUT, path_texts
from elspeth.contracts.plugins import (
    FieldOrigins,
    JsonObject,
    PluginError,
    PluginKind,
    RowDrop,
    RowError,
    Source,
    Transform,
    TransformOptions,
)
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.contracts.values import plain, plain_row
from elspeth.plugins.field_paths import FieldPath, read_fields, taken_field_error
from elspeth.plugins.manager import BUILTIN, PluginManager

__all__ = ["LookupOptions", "LookupTable", "LookupTransform"]

_SOURCES = PluginManager((), {PluginKind.SOURCE: BUILTIN[PluginKind.SOURCE]})
_MAX_ROWS = 1_000_000


class LookupTable(BaseModel):
    """The table of a lookup, as a built-in source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plugin: str = Field(description="A source plugin, such as `csv` or `sql`.")
    options: dict[str, JsonValue] = Field(default={}, description="Its options.")

    @model_validator(mode="after")
    def _options_are_valid(self) -> LookupTable:
        known = _SOURCES.names(PluginKind.SOURCE)
        if self.plugin not in known:
            raise ValueError(f"unknown source plugin {self.plugin!r}: expected one of {', '.join(known)}")
        try:
            _SOURCES.options_model(PluginKind.SOURCE, self.plugin).model_validate(self.options)
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise ValueError(f"options of {self.plugin!r}: {problems}") from error
        if STANDARD_INPUT in path_texts(self.options.get("path")):
            raise ValueError("a table is read again when a run is resumed: expected a file, got standard input")
        return self

    def source(self) -> Source:
        """Return the source of the table."""
        return _SOURCES.source(self.plugin, self.options)


class LookupOptions(TransformOptions):
    """Options of the transform `lookup`."""

    table: LookupTable = Field(description="The table, as a source: `{plugin: csv, options: {path: rates.csv}}`.")
    match: Annotated[dict[str, str], Field(min_length=1)] = Field(
        description="The key columns of the table, by the fields of the row that must equal them."
    )
    add: Annotated[dict[str, str], Field(min_length=1)] = Field(
        description="The columns of the table to add, by the names of the fields that they become."
    )
    on_missing: Literal["error", "keep", "drop"] = Field(
        default="error",
        description="What becomes of a row that the table has no row for: it fails, goes on with null in each "
        "field, or is dropped.",
    )


class LookupTransform(Transform):
    """Adds fields from the matching row of a table.

    The table is read once, before the first row, and its content is recorded with the node: the number of rows, and the
    SHA-256 over them as canonical JSON, one per line. A resumed run must find the same content. Values of the key are
    compared by their canonical JSON: give both sides schemas so that their types agree. A table has at most a million
    rows, in memory, and no key twice. A row fails if it lacks a field of the key, or already has a field to be added.
    """

    name = "lookup"
    plugin_version = "1.0.0"
    determinism = Determinism.IO_READ
    options_model = LookupOptions

    def __init__(self, options: LookupOptions) -> None:
        super().__init__(options)
        self._source = options.table.source()
        self._paths = [FieldPath(name) for name in options.match]
        self._columns = list(options.match.values())
        self._add = options.add
        self._on_missing = options.on_missing
        self._rows: dict[bytes, RowData] | None = None

    def check(self) -> None:
        """Raise PluginError if the table cannot be opened."""
        self._source.check()

    def prepare(self) -> JsonObject:
        """Read the table, and describe its content."""
        rows: dict[bytes, RowData] = {}
        digest = hashlib.sha256()
        for number, row in enumerate(self._read()):
            if number == _MAX_ROWS:
                raise PluginError(f"the table of the lookup has more than {_MAX_ROWS:,} rows")
            try:
                digest.update(rfc8785.dumps(plain_row(row)) + b"\n")  # type: ignore[arg-type]  # in JSON's types
                key = _key(row[column] for column in self._columns)
            except ValueError as error:
                raise PluginError(f"the table of the lookup: row {number} has no canonical JSON") from error
            if key in rows:
                raise PluginError(f"the table of the lookup has a key twice: row {number}, counted from 0")
            rows[key] = {name: row[column] for name, column in self._add.items()}
        self._rows = rows
        return {"rows": len(rows), "sha256": digest.hexdigest()}

    def _read(self) -> Iterator[RowData]:
        wanted = {*self._columns, *self._add.values()}
        for row in self._source.read():
            if isinstance(row, InvalidRow):
                raise PluginError(f"the table of the lookup has an invalid row: {row.error}")
            missing = sorted(wanted - row.keys())
            if missing:
                raise PluginError(f"the table of the lookup has no column {missing[0]!r}")
            yield row

    def field_origins(self) -> FieldOrigins:
        """Return that the added fields come from outside the row."""
        return FieldOrigins(derived=dict.fromkeys(self._add, ()))

    def process(self, row: RowData) -> RowData | RowError | RowDrop:
        """Return the row with the fields of the table."""
        if self._rows is None:
            self.prepare()
        values = read_fields(self._paths, row)
        if isinstance(values, RowError):
            return values
        if (error := taken_field_error(self._add, row)) is not None:
            return error
        found = (self._rows or {}).get(_key(values))
        return self._without(row) if found is None else row | found

    def _without(self, row: RowData) -> RowData | RowError | RowDrop:
        """Return the result for a row without a match."""
        fields: Mapping[str, object] = {"fields": [path.text for path in self._paths]}
        match self._on_missing:
            case "keep":
                return row | dict.fromkeys(self._add)
            case "drop":
                return RowDrop(reason="the table has no row for it", details=fields)
            case "error":
                return RowError(message="the table has no row for it", details=fields)


def _key(values: Iterable[object]) -> bytes:
    return rfc8785.dumps([plain(value) for value in values])  # type: ignore[misc]  # in JSON's types
