"""The audit schema as codegen sees it: resolved, frozen, free of LinkML.

Templates, documents and the schema differ see only these values.
"""

from __future__ import annotations

from dataclasses import dataclass

from elspeth.schema.snapshots import Kind

__all__ = [
    "CheckConstraint",
    "Column",
    "EnumType",
    "EnumValue",
    "ExactlyOne",
    "ForeignKey",
    "Index",
    "Kind",
    "Lifecycle",
    "Model",
    "Table",
    "Unique",
    "Variant",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnumValue:
    """One permitted value; `final` values end the lifecycle of the record that holds them."""

    text: str
    description: str
    final: bool

    @property
    def member(self) -> str:
        """Name of the Python enum member."""
        return self.text.upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class EnumType:
    """A closed list of values."""

    name: str
    description: str
    values: tuple[EnumValue, ...]

    @property
    def has_final_values(self) -> bool:
        """Whether the enum describes a lifecycle."""
        return any(value.final for value in self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table, and one field of its record unless `withheld` says why not."""

    name: str
    description: str
    kind: Kind
    nullable: bool
    enum: EnumType | None
    type_name: str
    max_length: int | None
    pattern: str | None
    minimum: int | None
    maximum: int | None
    withheld: str | None
    since: int
    until: int | None
    backfill: tuple[tuple[int, str], ...]
    renamed_from: str | None
    uri: str
    """Type of the values in RDF, as prefix:name."""
    iri: str | None
    """Property that the column is in RDF, as prefix:name; one of the schema's own, if None."""
    inverse: str | None
    """Property that leads from the record that the column refers to, to this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A reference to the primary key of `table`; `columns` in the order of that key."""

    name: str
    columns: tuple[str, ...]
    table: str
    record_type: str
    target_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unique:
    """A combination of columns that occurs once; rows with a null in it never collide."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A secondary index, partial where `where` (SQL valid on both databases) is given."""

    name: str
    columns: tuple[str, ...]
    unique: bool
    where: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConstraint:
    """A condition that the database enforces on each row (SQL valid on both databases)."""

    name: str
    condition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactlyOne:
    """Of these nullable columns exactly one is present."""

    title: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One shape of a record, told from the others by the discriminator's value."""

    class_name: str
    description: str
    value: EnumValue
    required: tuple[str, ...]
    absent: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """Which columns may change after insert: while `status` is not final, and afterwards.

    Without a status column only `afterwards` may ever change; with neither, the record is immutable. Rows of a table
    that `is_transient` come and go.
    """

    status: str | None
    while_open: tuple[str, ...]
    afterwards: tuple[str, ...]
    is_transient: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table, and what one of its rows is called: the record type that it exports.

    A bookkeeping table stands beside the records, and is not exported.
    """

    name: str
    class_name: str
    record_type: str
    is_bookkeeping: bool
    title: str
    description: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    foreign_keys: tuple[ForeignKey, ...]
    uniques: tuple[Unique, ...]
    indexes: tuple[Index, ...]
    checks: tuple[CheckConstraint, ...]
    exactly_one: tuple[ExactlyOne, ...]
    discriminator: str | None
    variants: tuple[Variant, ...]
    lifecycle: Lifecycle
    export_order: tuple[str, ...]
    since: int
    renamed_from: str | None
    prov: tuple[str, ...]

    def column(self, name: str) -> Column:
        """The column of that name; KeyError if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The whole schema at one epoch; tables in creation order, which is also export order."""

    name: str
    epoch: int
    description: str
    prefix: str
    """Prefix of the schema's own names."""
    prefixes: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]
    enums: tuple[EnumType, ...]

    @property
    def records(self) -> tuple[Table, ...]:
        """The tables that hold records, in export order."""
        return tuple(table for table in self.tables if not table.is_bookkeeping)

    @property
    def bookkeeping(self) -> tuple[Table, ...]:
        """The tables beside them."""
        return tuple(table for table in self.tables if table.is_bookkeeping)
