"""Public path of the predecessor: see `recording.predecessor_reads`."""

from elspeth.core.landscape.recording.predecessor_reads import RowDataResult, RowDataState

__all__ = ["RowDataResult", "RowDataState"]
