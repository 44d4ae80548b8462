"""The steps that call a Python function."""

from __future__ import annotations

from typing import cast

from pydantic import Field, model_validator

from elspeth.contracts.enums import Determinism
from elspeth.contracts.expressions import EvaluationError
from elspeth.contracts.plugins import (
    Aggregation,
    FieldOrigins,
    JsonObject,
    RowDrop,
    RowError,
    Transform,
    TransformOptions,
)
from elspeth.contracts.python_functions import FunctionPath, RowFunction, batch_function, row_function
from elspeth.contracts.rows import RowData
from elspeth.plugins.transforms.expressions import evaluation_error

__all__ = [
    "PythonAggregation",
    "PythonAggregationOptions",
    "PythonFunctionOptions",
    "PythonTransform",
    "PythonTransformOptions",
]


class PythonFunctionOptions(TransformOptions):
    """Options of steps that call a function."""

    function: FunctionPath = Field(description="The function, as `package.module:function`.")
    directory: str | None = Field(
        default=None,
        min_length=1,
        description="The directory of the module. If not given, the module must be installed, or on `PYTHONPATH`.",
    )
    deterministic: bool = Field(
        default=False,
        description="Whether the function returns the same for the same input, always. Recorded with the node.",
    )

    @property
    def determinism(self) -> Determinism:
        """Return the determinism to record for the function."""
        return Determinism.DETERMINISTIC if self.deterministic else Determinism.NON_DETERMINISTIC


class PythonTransformOptions(PythonFunctionOptions):
    """Options of the transform `python`."""

    result: str | None = Field(
        default=None,
        min_length=1,
        description="The field that takes what the function returns. If not given, the function returns rows.",
    )

    @model_validator(mode="after")
    def _function_fits(self) -> PythonTransformOptions:
        self.load()
        return self

    def load(self) -> RowFunction:
        """Return the function.

        Raises FunctionError if it cannot be used for the step.
        """
        found = row_function(self.function, self.directory)
        if self.result is None:
            found.require_rows()
        return found


class PythonTransform(Transform):
    """Calls a function of Python for each row.

    The annotations of the function say what it takes: a row, or fields by their names. The trail has the SHA-256 of its
    module's source, and the version of its package; a stopped run is resumed only with the same. A row fails if the
    function raises an exception, or if a field is missing or not of the annotated type.
    """

    name = "python"
    plugin_version = "1.0.0"
    determinism = Determinism.NON_DETERMINISTIC
    options_model = PythonTransformOptions

    def __init__(self, options: PythonTransformOptions) -> None:
        super().__init__(options)
        self._function = options.load()
        self._result = options.result
        self.determinism = options.determinism
        self.expands = options.result is None and self._function.returns_rows

    def prepare(self) -> JsonObject:
        """Describe the function."""
        return self._function.loaded.describe()

    def field_origins(self) -> FieldOrigins | None:
        """Return the parameters as the origins of the result.

        Returns None for a function that takes or returns rows, because it may do anything to their fields.
        """
        parameters = self._function.parameters
        if self._result is None or parameters is None:
            return None
        return FieldOrigins(derived={self._result: [each.name for each in parameters]})

    def process(self, row: RowData) -> RowData | list[RowData] | RowError | RowDrop:
        """Return the result of the function for the row."""
        try:
            found = self._function.evaluate(row)
        except EvaluationError as error:
            return evaluation_error(error)
        if isinstance(found, RowError | RowDrop):
            return found
        if self._result is not None:
            return {**row, self._result: found}
        if found is None and self._function.returns_none:
            return RowDrop(reason="the function returned None", details={"function": self._function.source})
        return cast(RowData, found)  # the engine refuses anything else


class PythonAggregationOptions(PythonFunctionOptions):
    """Options of the aggregation `python`."""

    @model_validator(mode="after")
    def _function_fits(self) -> PythonAggregationOptions:
        batch_function(self.function, self.directory)
        return self


class PythonAggregation(Aggregation):
    """Calls a function of Python for each batch.

    The function takes a list of rows and returns a list of rows, or one row. What is recorded of it is the same as for
    the transform `python`.
    """

    name = "python"
    plugin_version = "1.0.0"
    determinism = Determinism.NON_DETERMINISTIC
    options_model = PythonAggregationOptions

    def __init__(self, options: PythonAggregationOptions) -> None:
        super().__init__(options)
        self._function = batch_function(options.function, options.directory)
        self.determinism = options.determinism

    def prepare(self) -> JsonObject:
        """Describe the function."""
        return self._function.loaded.describe()

    def process(self, rows: list[RowData]) -> list[RowData] | RowError:
        """Return the result of the function for the batch."""
        return cast(list[RowData], self._function.evaluate(rows))  # the engine refuses anything else
