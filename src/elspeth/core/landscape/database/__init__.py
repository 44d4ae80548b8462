"""The audit database: connections, states, tables, claims."""

from elspeth.core.landscape.database.landscape_db import LandscapeDB, LandscapeError, SchemaCompatibilityError

__all__ = ["LandscapeDB", "LandscapeError", "SchemaCompatibilityError"]
