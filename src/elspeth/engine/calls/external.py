"""What makes a pipeline's calls, chosen by the run mode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from elspeth.contracts.plugins import CallingPlugin
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.payload_places import open_payload_store
from elspeth.core.payload_store import PayloadStore
from elspeth.core.settings import Settings
from elspeth.engine.calls.exchange import Caller, Exchange
from elspeth.engine.pipeline import Pipeline
from elspeth.objects.address import place_of

if TYPE_CHECKING:
    from elspeth.engine.calls.recorded import ReplayCaller

__all__ = ["ExternalCalls", "open_external_calls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalCalls:
    """What makes calls, and where requests and answers are kept.

    `recorded` has the answers of an earlier run, if they are needed. `rate_file` counts calls if the settings name no
    file for that. `usage` adds up what answers say that they cost. Recorded answers cost nothing.
    """

    caller: Caller
    payloads: PayloadStore
    recorded: ReplayCaller | None = None
    rate_file: str | None = None
    is_live: bool = True
    usage: Counter[str] = field(default_factory=Counter)

    def restart(self) -> None:
        """Forget what was answered, and what it cost.

        Call it before a partition, whose rows may come to a worker again.
        """
        self.usage.clear()
        if self.recorded is not None:
            self.recorded.restart()

    def note_usage(self, plugin: CallingPlugin, exchange: Exchange) -> None:
        """Add what a call cost in all its attempts."""
        for attempt in exchange.attempts:
            if self.is_live and attempt.response is not None:
                self.usage.update(plugin.usage(attempt.response))


@contextmanager
def open_external_calls(
    pipeline: Pipeline,
    db: LandscapeDB | None,
    *,
    payloads: PayloadStore | None = None,
    rate_file: str | None = None,
) -> Iterator[ExternalCalls | None]:
    """Yield what makes a pipeline's calls, None without calls.

    Requests and answers are always kept: without them a run could not be replayed. They are kept in `payloads`, or
    else in a store that is opened where the settings say. The database `db` is needed for answers that are recorded in
    it, and `rate_file` counts calls if the settings name no file.
    """
    plugins = [each for each in pipeline.reading() if isinstance(each, CallingPlugin)]
    if not plugins:
        yield None
        return
    settings = pipeline.settings
    payloads = payloads or open_payload_store(place_of(settings.payload_store.base_path))
    recorded = None if db is None else _recorded_answers(settings, db, payloads)
    caller = _caller(settings, recorded, rate_file)
    try:
        yield ExternalCalls(
            caller=caller,
            payloads=payloads,
            recorded=recorded,
            rate_file=rate_file,
            is_live=settings.run_mode != "replay",
        )
    finally:
        caller.close()
        for plugin in plugins:
            plugin.close()


def _recorded_answers(settings: Settings, db: LandscapeDB, payloads: PayloadStore) -> ReplayCaller | None:
    if settings.run_mode == "live":
        return None
    from elspeth.engine.calls.recorded import ReplayCaller  # noqa: PLC0415  start time of workers

    return ReplayCaller(db, payloads, settings.replay_source_run_id or "")


def _caller(settings: Settings, recorded: ReplayCaller | None, rate_file: str | None) -> Caller:
    if recorded is not None and settings.run_mode == "replay":
        return recorded
    from elspeth.engine.calls.live import LiveCaller  # noqa: PLC0415  start time of workers

    rates = settings.rate_limit
    if rates.persistence_path is None:
        rates = rates.model_copy(update={"persistence_path": rate_file})
    live = LiveCaller(settings.retry, rates, settings.concurrency.max_workers)
    if recorded is None:
        return live
    from elspeth.engine.calls.recorded import VerifyCaller  # noqa: PLC0415  start time of workers

    return VerifyCaller(live, recorded)
