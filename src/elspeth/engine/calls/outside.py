"""The caller that a run needs, chosen by its mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.payload_store import FilesystemPayloadStore
from elspeth.core.settings import Settings
from elspeth.engine.calls.caller import Caller, Outside
from elspeth.engine.calls.live import LiveCaller
from elspeth.engine.calls.replay import ReplayCaller
from elspeth.engine.calls.verify import VerifyCaller
from elspeth.engine.pipeline import Pipeline
from elspeth.plugins.base import CallingTransform

__all__ = ["outside_of"]


@contextmanager
def outside_of(pipeline: Pipeline, db: LandscapeDB) -> Iterator[Outside | None]:
    """What the pipeline's calls are made with while the block lasts; None for a pipeline that makes none.

    Contents of calls are always kept: without them a run could not be replayed.
    """
    plugins = [each for each in pipeline.transforms.values() if isinstance(each, CallingTransform)]
    if not plugins:
        yield None
        return
    payloads = FilesystemPayloadStore(Path(pipeline.settings.payload_store.base_path))
    caller = _caller(pipeline.settings, db, payloads)
    try:
        yield Outside(caller=caller, payloads=payloads)
    finally:
        caller.close()
        for plugin in plugins:
            plugin.close()


def _caller(settings: Settings, db: LandscapeDB, payloads: FilesystemPayloadStore) -> Caller:
    recorded = settings.replay_source_run_id or ""
    if settings.run_mode == "replay":
        return ReplayCaller(db, payloads, recorded)
    live = LiveCaller(settings.retry, settings.rate_limit, settings.concurrency.max_workers)
    return VerifyCaller(live, ReplayCaller(db, payloads, recorded)) if settings.run_mode == "verify" else live
