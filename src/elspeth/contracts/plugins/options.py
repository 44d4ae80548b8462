"""The options of plugins, as models that validate settings."""

from __future__ import annotations

from typing import Annotated, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from elspeth.contracts.environment import missing_package
from elspeth.contracts.routing import DISCARD
from elspeth.contracts.schema_option import DYNAMIC, RowSchema
from elspeth.objects.address import ObjectPath, address_problem, is_address, place_of

__all__ = ["FilePath", "LocalPath", "PluginOptions", "SourceOptions", "TransformOptions", "check_address"]

_MAX_PATH_LENGTH = 512  # the most characters of an artifact's path in the audit trail


def check_address(text: str) -> str:
    """Return a path or address that can be used.

    Raises ValueError if it is an unusable address, or the library of its store is missing.
    """
    place = place_of(text)
    if isinstance(place, ObjectPath):
        problem = address_problem(text)
        if problem is None and (service := place.service) is not None:
            missing = missing_package(service.module, service.extra)
            problem = missing and f"{service.name} {missing}"
        if problem is not None:
            raise ValueError(problem)
    return text


FilePath = Annotated[str, StringConstraints(min_length=1, max_length=_MAX_PATH_LENGTH), AfterValidator(check_address)]
"""The path of a file or the address of an object, short enough for the audit trail."""


def _check_local(text: str) -> str:
    if is_address(text):
        raise ValueError("expected a local path, got the address of an object")
    return text


LocalPath = Annotated[str, StringConstraints(min_length=1, max_length=_MAX_PATH_LENGTH), AfterValidator(_check_local)]
"""The path of a local file or directory."""


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
