"""Public path of the predecessor: see `exporting.exporter`."""

from elspeth.core.landscape.exporting.exporter import LandscapeExporter, RunNotFoundError

__all__ = ["LandscapeExporter", "RunNotFoundError"]
