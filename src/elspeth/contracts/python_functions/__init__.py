"""Python functions that settings name as `module:function`.

The annotations of a function say what it takes and returns. They are checked before a run, so that a function that does
not fit its step is reported as a problem of the settings.
"""

from elspeth.contracts.python_functions.loading import FunctionError, FunctionPath, LoadedFunction, load_function
from elspeth.contracts.python_functions.signatures import BatchFunction, RowFunction, batch_function, row_function

__all__ = [
    "BatchFunction",
    "FunctionError",
    "FunctionPath",
    "LoadedFunction",
    "RowFunction",
    "batch_function",
    "load_function",
    "row_function",
]
