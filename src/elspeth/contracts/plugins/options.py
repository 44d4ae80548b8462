"""The options of plugins, as models that validate settings."""

from __future__ import annotations

from typing import Annotated, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from elspeth.contracts.routing import DISCARD
from elspeth.contracts.schema_option import DYNAMIC, RowSchema

__all__ = ["FilePath", "PluginOptions", "SourceOptions", "TransformOptions"]

_MAX_PATH_LENGTH = 512  # characters that the audit trail has for an artifact's path
FilePath = Annotated[str, StringConstraints(min_length=1, max_length=_MAX_PATH_LENGTH)]
"""The path of an output, which the audit trail can hold."""


class PluginOptions(BaseModel):
    """Options of every plugin; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_config: RowSchema = Field(
        default=DYNAMIC,
        alias="schema",
        description="The fields of rows and their types. Values are coerced; rows that do not fit fail.",
        json_schema_extra={"default": cast("JsonDict", DYNAMIC.to_dict())},
    )


class SourceOptions(PluginOptions):
    """Options of every source.

    Rows that fail validation go to the sink `on_validation_failure`, or are recorded only.
    """

    on_validation_failure: str = Field(
        default=DISCARD, description="The sink for invalid rows, or `discard`: they are only recorded."
    )


class TransformOptions(PluginOptions):
    """Options of every transform and aggregation.

    The fields that the schema names are coerced. Rows that do not satisfy it, or that fail later, go to the sink
    `on_error`, or are recorded only.
    """

    on_error: str = Field(default=DISCARD, description="The sink for rows that fail, or `discard`.")
