"""What makes a pipeline's calls, chosen by the run mode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from elspeth.contracts.plugins import CallingTransform
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.payload_store import FilesystemPayloadStore, PayloadStore
from elspeth.core.settings import Settings
from elspeth.engine.calls.exchange import Caller, Exchange
from elspeth.engine.calls.live import LiveCaller
from elspeth.engine.calls.recorded import ReplayCaller, VerifyCaller
from elspeth.engine.pipeline import Pipeline

__all__ = ["ExternalCalls", "open_external_calls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalCalls:
    """What makes calls, and where requests and answers are kept.

    `usage` adds up what answers say that they cost. Recorded answers cost nothing.
    """

    caller: Caller
    payloads: PayloadStore
    is_live: bool = True
    usage: Counter[str] = field(default_factory=Counter)

    def note_usage(self, plugin: CallingTransform, exchange: Exchange) -> None:
        """Add what a call cost in all its attempts."""
        for attempt in exchange.attempts:
            if self.is_live and attempt.response is not None:
                self.usage.update(plugin.usage(attempt.response))


@contextmanager
def open_external_calls(pipeline: Pipeline, db: LandscapeDB) -> Iterator[ExternalCalls | None]:
    """Yield what makes a pipeline's calls, None without calls.

    Requests and answers are always kept: without them a run could not be replayed.
    """
    plugins = [each for each in pipeline.transforms.values() if isinstance(each, CallingTransform)]
    if not plugins:
        yield None
        return
    payloads = FilesystemPayloadStore(Path(pipeline.settings.payload_store.base_path))
    caller = _caller(pipeline.settings, db, payloads)
    try:
        yield ExternalCalls(caller=caller, payloads=payloads, is_live=pipeline.settings.run_mode != "replay")
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
