"""Public path of the predecessor: see `queries.lineage`."""

from elspeth.core.landscape.queries.lineage import LineageResult, explain

__all__ = ["LineageResult", "explain"]
