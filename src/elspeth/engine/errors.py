"""Why a run could not be completed."""

from __future__ import annotations

__all__ = ["AccountingError", "ExportFailedError"]


class AccountingError(Exception):
    """Some tokens of a run did not end in exactly one terminal outcome: a defect of the engine, not of the data."""


class ExportFailedError(Exception):
    """The run is complete and recorded, and its export could not be written."""
