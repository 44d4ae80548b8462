"""Whether a row's content can still be had, and the content."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["RowDataResult", "RowDataState"]


class RowDataState(StrEnum):
    """What became of a row's content."""

    AVAILABLE = "available"
    PURGED = "purged"
    NEVER_STORED = "never_stored"
    STORE_NOT_CONFIGURED = "store_not_configured"
    ROW_NOT_FOUND = "row_not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowDataResult:
    """The state, and the content if and only if it is available."""

    state: RowDataState
    data: dict[str, object] | None

    def __post_init__(self) -> None:
        """Refuse content that is not available, and availability without content."""
        if (self.state is RowDataState.AVAILABLE) != (self.data is not None):
            message = (
                f"row data: expected content exactly when available, got {self.state} and {type(self.data).__name__}"
            )
            raise ValueError(message)
