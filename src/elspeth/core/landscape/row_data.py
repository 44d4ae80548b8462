"""Public path of the predecessor: see `recording.row_data`."""

from elspeth.core.landscape.recording.row_data import RowDataResult, RowDataState

__all__ = ["RowDataResult", "RowDataState"]
