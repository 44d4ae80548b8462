"""The snapshots of past and present epochs, as they are installed with the generated schema."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.schema.snapshots import Snapshot, parse
from elspeth.schema.steps import Step, step_between
from elspeth_schema import EPOCH

__all__ = ["snapshot", "step_into"]


@cache
def snapshot(epoch: int) -> Snapshot:
    """Return the tables of an epoch.

    Raises LandscapeError for an epoch that this version does not know.
    """
    if not 1 <= epoch <= EPOCH:
        raise LandscapeError(f"epoch {epoch} is not known: expected one from 1 to {EPOCH}")
    return parse(files("elspeth_schema").joinpath("epochs", f"{epoch:04}.json").read_text(encoding="utf-8"))


@cache
def step_into(epoch: int) -> Step:
    """Return the step from the epoch before; for the first one, from an empty database.

    Raises LandscapeError for an epoch that this version does not know.
    """
    return step_between(snapshot(epoch - 1) if epoch > 1 else None, snapshot(epoch))
