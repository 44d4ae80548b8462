"""The audit schema as a resolved, frozen model without LinkML.

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
    """One permitted value; a `final` one ends a record's lifecycle."""

    text: str
    description: str
    final: bool
    predecessor: tuple[str, ...]
    """Other words for the value in databases of the predecessor."""

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
    """One column of a table.

    It is a field of the record unless `withheld` gives a reason.
    """

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
    hash_column: str | None
    """Name of the column with the hash of this one's content; None unless this one is withheld."""
    since: int
    until: int | None
    backfill: tuple[tuple[int, str], ...]
    renamed_from: str | None
    predecessor: tuple[str, ...]
    """Names of the column in databases of the predecessor, if it is not always its own."""
    uri: str
    """Type of the values in RDF, as prefix:name."""
    iri: str | None
    """Property in RDF, as prefix:name; None for one of the schema's own."""
    inverse: str | None
    """Property that leads from the other record to this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A reference to the primary key of `table`.

    `columns` stand in the order of that key.
    """

    name: str
    columns: tuple[str, ...]
    table: str
    record_type: str
    target_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unique:
    """Columns whose combination occurs once; nulls never collide."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """A secondary index, partial if it has a `where` clause.

    `where` is SQL that is valid on both databases.
    """

    name: str
    columns: tuple[str, ...]
    unique: bool
    where: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConstraint:
    """A condition that the database enforces on each row.

    `condition` is SQL that is valid on both databases.
    """

    name: str
    condition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactlyOne:
    """A rule that exactly one of several columns is present."""

    title: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One shape of a record, identified by its discriminator's value."""

    class_name: str
    description: str
    value: EnumValue
    required: tuple[str, ...]
    absent: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """The columns that may change after the insert.

    `while_open` may change while `status` is not final, `afterwards` always. Without both, the record is immutable. If
    the table `is_transient`, its rows come and go.
    """

    status: str | None
    while_open: tuple[str, ...]
    afterwards: tuple[str, ...]
    is_transient: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table, and the record type of its rows.

    A bookkeeping table belongs to no export.
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
    releases: tuple[str, ...]
    """Bookkeeping tables from which, beside all records, rows of the runs in this table may be deleted."""
    prov: tuple[str, ...]

    def column(self, name: str) -> Column:
        """Return the column of that name.

        Raises KeyError if there is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The whole schema at one epoch.

    Tables stand in the order in which they are created and exported.
    """

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
        """The bookkeeping tables."""
        return tuple(table for table in self.tables if table.is_bookkeeping)
