"""Chooses the caller of a pipeline by its run mode."""

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
    """The caller of a run, and its store of answers.

    `recorded` holds the answers of an earlier run, if they are needed. `rate_file` counts calls if the settings do not
    name a file for that. `usage` is the sum of the costs that answers state. Recorded answers cost nothing.
    """

    caller: Caller
    payloads: PayloadStore
    recorded: ReplayCaller | None = None
    rate_file: str | None = None
    is_live: bool = True
    usage: Counter[str] = field(default_factory=Counter)

    def restart(self) -> None:
        """Reset the given answers and the costs.

        Call it before a partition, because a worker may get the same rows again.
        """
        self.usage.clear()
        if self.recorded is not None:
            self.recorded.restart()

    def note_usage(self, plugin: CallingPlugin, exchange: Exchange) -> None:
        """Add the costs of all attempts of a call."""
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
    """Yield the means for a pipeline's calls, None without calls.

    Requests and answers are always kept, because otherwise a run could not be replayed. They are kept in `payloads`, or
    else in the store that the settings name. The database `db` is needed for recorded answers. `rate_file` counts calls
    if the settings do not name a file.
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
