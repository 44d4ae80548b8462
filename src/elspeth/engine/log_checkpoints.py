"""Leaves checkpoints of the log when a run ends."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from elspeth.contracts.events import log_event
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.placeholders import fill_placeholders
from elspeth.core.settings import Settings
from elspeth.core.settings.parts import Parts
from elspeth.core.settings.paths import checkpoint_file, protected_files
from elspeth.engine.keys import RunKeys
from elspeth.objects.address import place_of

if TYPE_CHECKING:
    from elspeth.core.landscape.sealing.log_delivery import CheckpointPlan

__all__ = ["LogCheckpoints"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCheckpoints:
    """The places where a run leaves checkpoints, if any."""

    plan: CheckpointPlan | None = None

    @classmethod
    def of(cls, settings: Settings, keys: RunKeys, values: Mapping[str, str]) -> Self:
        """Plan the checkpoints that the settings require.

        `values` fill the placeholders of files.
        """
        log = settings.landscape.log
        if not log.after_run or keys.log_signer is None or not settings.landscape.enabled:
            return cls()
        from elspeth.core.landscape.sealing.log_delivery import (  # noqa: PLC0415  start time
            CheckpointPlan,
            FilePlace,
            WitnessPlace,
        )

        files = [
            FilePlace(name=each.file, path=place_of(fill_placeholders(checkpoint_file(each.file), values)))
            for each in log.after_run
            if each.file is not None
        ]
        witnesses = [
            WitnessPlace(name=each.witness, key=keys.witness_keys[each.witness])
            for each in log.after_run
            if each.witness is not None
        ]
        plan = CheckpointPlan(
            signer=keys.log_signer,
            files=files,
            witnesses=witnesses,
            authority=log.timestamp,
            protected=protected_files(Parts.from_settings(settings), None),
        )
        return cls(plan=plan)

    def name(self, db: LandscapeDB, run_id: str) -> None:
        """Record the places at which the run will leave checkpoints."""
        if self.plan is not None:
            from elspeth.core.landscape.sealing.log_places import name_places  # noqa: PLC0415  start time

            name_places(db, self.plan.names, run_id)

    def leave(self, db: LandscapeDB) -> list[str]:
        """Leave a checkpoint everywhere, and return the failures."""
        if self.plan is None:
            return []
        from elspeth.core.landscape.sealing.log_delivery import leave_checkpoint  # noqa: PLC0415  start time

        problems = []
        for each in leave_checkpoint(db, self.plan):
            problems.append(str(each))
            log_event(logging.ERROR, "checkpoint_failed", str(each), place=each.place)
        return problems
