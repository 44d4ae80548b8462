"""Errors about an audit database as a whole.

LandscapeError                   the database cannot be used
├── RunNotFoundError             the database does not hold the run
└── SchemaCompatibilityError     the database can be read, but does not have the tables of this version
    ├── OlderDatabaseError       an earlier epoch: export works, recording needs a migration
    ├── PredecessorDatabaseError another version of the predecessor: its runs can be adopted
    ├── NewerDatabaseError       a later epoch, or a later version of the predecessor than any known
    ├── ForeignDatabaseError     not an audit database
    └── DivergedDatabaseError    claims an epoch, but its tables are not those of that epoch
"""

from __future__ import annotations

from elspeth.contracts.errors import RecordableError

__all__ = [
    "DivergedDatabaseError",
    "ForeignDatabaseError",
    "LandscapeError",
    "NewerDatabaseError",
    "OlderDatabaseError",
    "PredecessorDatabaseError",
    "RunNotFoundError",
    "SchemaCompatibilityError",
]


class LandscapeError(RecordableError):
    """The audit database cannot be used."""


class RunNotFoundError(LandscapeError):
    """The database does not hold the run."""


class SchemaCompatibilityError(LandscapeError):
    """The tables are not those that this version works with."""


class OlderDatabaseError(SchemaCompatibilityError):
    """The database is of an earlier epoch."""


class PredecessorDatabaseError(SchemaCompatibilityError):
    """The database has tables of the predecessor without an epoch."""


class NewerDatabaseError(SchemaCompatibilityError):
    """The database was written by a later version."""


class ForeignDatabaseError(SchemaCompatibilityError):
    """The database is not an audit database."""


class DivergedDatabaseError(SchemaCompatibilityError):
    """The database claims an epoch, but differs from it."""
