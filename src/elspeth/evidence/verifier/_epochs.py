"""Compares the epochs that a statement names with the bag."""

from __future__ import annotations

import re

from elspeth.evidence.format.bag import SCHEMA, SEALED_SINCE, Statement
from elspeth.evidence.format.errors import shown
from elspeth.evidence.verifier._examination import Documents, document_parser
from elspeth.evidence.verifier.procedure import Step, StepError

__all__ = ["check_epochs"]

_TITLE = re.compile(r".*\bepoch ([1-9][0-9]{0,8})")
"""The title of the records' schema, which ends with its epoch."""


def check_epochs(statement: Statement, documents: Documents, place: str) -> None:
    """Compare the epochs of a statement with the bag.

    `place` names the statement. A run whose records have salts was sealed when it ended. Raises StepError if the epoch
    is not that of the bag's schema, or if the run cannot have been sealed in its recorded epoch: because that is None,
    from before seals existed, or later than the schema's.
    """
    run = statement.run
    title = document_parser(statement.version)(documents.schema, SCHEMA).get("title")
    found = _TITLE.fullmatch(title) if isinstance(title, str) else None
    if found is None:
        raise _error(f"{SCHEMA}: title", f"expected one that ends with the epoch, got {shown(title)}")
    epoch = int(found[1])
    if run.epoch != epoch:
        raise _error(f"{place}: epoch", f"expected {epoch}, as {SCHEMA} says, got {shown(run.epoch)}")
    if statement.version == 1 or (run.recorded_epoch is None and documents.salts is None):
        return
    if run.recorded_epoch is None or not SEALED_SINCE <= run.recorded_epoch <= epoch:
        reason = ", as the records have salts" if run.recorded_epoch is None else ""
        problem = f"expected an epoch from {SEALED_SINCE} to {epoch}{reason}, got {shown(run.recorded_epoch)}"
        raise _error(f"{place}: recorded_epoch", problem)


def _error(place: str, problem: str) -> StepError:
    return StepError(Step.STATEMENT, place, problem)
