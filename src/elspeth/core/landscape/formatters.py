"""Public path of the predecessor: see `exporting.formatters`."""

from elspeth.core.landscape.exporting.formatters import CSVFormatter, ExportFormatter, JSONFormatter

__all__ = ["CSVFormatter", "ExportFormatter", "JSONFormatter"]
