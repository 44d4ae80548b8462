"""The run whose answers a run replays or verifies, named by its whole id."""

from __future__ import annotations

import json
from dataclasses import replace

from elspeth.contracts.audit import Run
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.select_run import is_meant, resolve_run
from elspeth.engine.pipeline import Pipeline

__all__ = ["with_replayed_run"]


def with_replayed_run(db: LandscapeDB, pipeline: Pipeline, resumed: Run | None = None) -> Pipeline:
    """Return the pipeline with the whole id of the run that its settings name, if they name one.

    A run that is resumed keeps to the one that it began with, which need not be the latest any more. Raises
    RunNotFoundError, AmbiguousRunError.
    """
    name = pipeline.settings.replay_source_run_id
    if name is None:
        return pipeline
    before = None if resumed is None else json.loads(resumed.settings_json).get("replay_source_run_id")
    run_id = before if isinstance(before, str) and is_meant(name, before) else resolve_run(db, name)
    return replace(pipeline, settings=pipeline.settings.model_copy(update={"replay_source_run_id": run_id}))
