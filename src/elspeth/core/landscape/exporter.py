"""Public path of the predecessor: see `exporting.exporter`."""

from elspeth.core.landscape.database.errors import RunNotFoundError
from elspeth.core.landscape.exporting.exporter import LandscapeExporter

__all__ = ["LandscapeExporter", "RunNotFoundError"]
