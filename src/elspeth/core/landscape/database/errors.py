"""What can be wrong with an audit database.

LandscapeError                   the database cannot be used at all
└── SchemaCompatibilityError     it can be read, but does not hold the tables of this version
    ├── OlderDatabaseError       an earlier epoch: export works, recording needs a migration
    ├── NewerDatabaseError       a later epoch, or a later release of the predecessor
    ├── ForeignDatabaseError     no audit database
    └── DivergedDatabaseError    claims an epoch, but its tables are not those of that epoch
"""

from __future__ import annotations

from elspeth.contracts.failures import RecordableError

__all__ = [
    "DivergedDatabaseError",
    "ForeignDatabaseError",
    "LandscapeError",
    "NewerDatabaseError",
    "OlderDatabaseError",
    "SchemaCompatibilityError",
]


class LandscapeError(RecordableError):
    """The audit database cannot be used; the message says why and what to do."""


class SchemaCompatibilityError(LandscapeError):
    """The database holds other tables than this version works with."""


class OlderDatabaseError(SchemaCompatibilityError):
    """The database is of an earlier epoch."""


class NewerDatabaseError(SchemaCompatibilityError):
    """The database was written by a later version."""


class ForeignDatabaseError(SchemaCompatibilityError):
    """The database is no audit database."""


class DivergedDatabaseError(SchemaCompatibilityError):
    """The database claims an epoch, but differs from it."""
