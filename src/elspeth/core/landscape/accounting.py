"""How a run accounts for its rows: how many were recorded, and which tokens have not ended.

That no token ended twice is the audit database's own constraint, a unique index over terminal outcomes.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import exists, func, select

from elspeth.core.landscape.database import LandscapeDB
from elspeth_schema.tables import rows_table, token_outcomes_table, tokens_table

__all__ = ["RunAccount", "account_for"]

_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAccount:
    """The rows of a run, and the first few of its tokens without a terminal outcome."""

    rows: int
    unfinished_tokens: tuple[str, ...]


def account_for(db: LandscapeDB, run_id: str) -> RunAccount:
    """Count a run's rows and look for tokens that have not ended, in one snapshot."""
    tokens, outcomes = tokens_table.c, token_outcomes_table.c
    ended = exists().where(
        outcomes.run_id == tokens.run_id, outcomes.token_id == tokens.token_id, outcomes.is_terminal == 1
    )
    count = select(func.count()).select_from(rows_table).where(rows_table.c.run_id == run_id)
    unfinished = select(tokens.token_id).where(tokens.run_id == run_id, ~ended).limit(_SHOWN)
    with db.snapshot() as connection:
        return RunAccount(
            rows=connection.execute(count).scalar_one(),
            unfinished_tokens=tuple(connection.execute(unfinished).scalars()),
        )
