"""The audit database: connections, tables, states, claims on runs."""

from elspeth.core.landscape.database.landscape_db import LandscapeDB, LandscapeError, SchemaCompatibilityError

__all__ = ["LandscapeDB", "LandscapeError", "SchemaCompatibilityError"]
