"""The transforms `field_mapper` and `passthrough`."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

from pydantic import Field, model_validator

from elspeth.contracts.expressions import EvaluationError, compile_expression
from elspeth.contracts.plugins import FieldOrigins, RowError, Transform, TransformOptions
from elspeth.contracts.rows import RowData
from elspeth.plugins.transforms.choice import NewNames, choose_fields, rename_fields
from elspeth.plugins.transforms.expressions import Expressions, evaluation_error

__all__ = ["FieldMapperOptions", "FieldMapperTransform", "PassthroughTransform"]


class FieldMapperOptions(TransformOptions):
    """Options of the transform `field_mapper`."""

    mappings: NewNames = Field(
        default={},
        description="The new names of fields by their old names, which may lead into objects and lists: `line.amount`.",
    )
    mapping: NewNames = Field(default={}, description="Another name of `mappings`.")
    computed: Expressions = Field(default={}, description="Fields to compute: the name of each with its expression.")
    select_only: bool = Field(default=False, description="Whether only the renamed and computed fields are kept.")

    @model_validator(mode="after")
    def _one_name_is_used(self) -> Self:
        if self.mapping and self.mappings:
            raise ValueError("mapping is another name of mappings: give one of them")
        return self


class FieldMapperTransform(Transform):
    """Renames fields, then computes fields from the renamed row.

    A row fails if it lacks a field that is renamed, if it already has another field of the new name, or if an
    expression has no value for it. All expressions see the same row: none sees what another computes. With
    `select_only` the row has the renamed fields in the order of the settings, then the computed ones; expressions see
    the other fields, too.
    """

    name = "field_mapper"
    plugin_version = "1.1.0"
    options_model = FieldMapperOptions

    def __init__(self, options: FieldMapperOptions) -> None:
        super().__init__(options)
        self._names = options.mappings or options.mapping
        self._selects_only = options.select_only
        self._computed = {name: compile_expression(source) for name, source in options.computed.items()}

    def field_origins(self) -> FieldOrigins:
        """Return the old names, and the fields that expressions read."""
        same = {new: old for old, new in self._names.items()}
        derived = {
            name: sorted({same.get(each, each) for each in expression.fields})
            for name, expression in self._computed.items()
        }
        return replace(FieldOrigins.renamed(self._names), derived=derived, keeps_others=not self._selects_only)

    def process(self, row: RowData) -> RowData | RowError:
        """Return the row with its renamed and computed fields."""
        renamed = choose_fields(row, self._names) if self._selects_only else rename_fields(row, self._names)
        if isinstance(renamed, RowError):
            return renamed
        seen = row | renamed if self._selects_only else renamed
        try:
            return renamed | {name: expression.evaluate(seen) for name, expression in self._computed.items()}
        except EvaluationError as error:
            return evaluation_error(error)


class PassthroughTransform(Transform):
    """Hands on each row unchanged; a schema coerces its fields."""

    name = "passthrough"
    plugin_version = "1.0.0"

    def field_origins(self) -> FieldOrigins:
        """Return that all fields are unchanged."""
        return FieldOrigins()

    def process(self, row: RowData) -> RowData:
        """Return the row."""
        return row
