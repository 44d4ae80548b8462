"""The same work by one process and by two."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from benchmarks.measuring import Timing, best
from benchmarks.recording import RUN
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.connections import read_only_connection
from elspeth.core.landscape.database.urls import parse_url
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.lines.ranges import Readers
from elspeth.core.landscape.sealing.check import check_seals
from elspeth.evidence.verifier.verify import verify_bag

__all__ = ["Shared", "shared_work"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """The same work by one worker and by two.

    Their start is left out. On two idle cores, 1.5 times the speed is the goal.
    """

    work: str
    records: int
    one: Timing
    two: Timing


def shared_work(source: str, records: int, directory: Path) -> list[Shared]:
    """Measure exports, and checks of a bag and a seal."""

    def export(form: ExportFormat, signing_key: bytes | None = None) -> Callable[[int, Executor | None], object]:
        def job(attempt: int, executor: Executor | None) -> None:
            path = directory / f"{form}{attempt}{'-shared' if executor else ''}"
            with LandscapeDB.from_url(source, create_tables=False) as db:
                write_export(db, RUN, path, format=form, signing_key=signing_key, executor=executor)

        return job

    def verify(_: int, executor: Executor | None) -> None:
        verify_bag(directory / "bag0", executor=executor)

    def check(_: int, executor: Executor | None) -> None:
        url = parse_url(source)
        with read_only_connection(url) as connection:
            readers = None if executor is None else Readers.of(executor, url)
            if check_seals(connection, readers=readers).faults:
                message = "the seal of the run does not hold"
                raise RuntimeError(message)

    jobs: dict[str, Callable[[int, Executor | None], object]] = {
        "export to jsonl": export(ExportFormat.JSONL),
        "export with HMAC": export(ExportFormat.JSONL, b"k" * 32),
        "export to bag": export(ExportFormat.BAG),
        "verify a bag": verify,
        "check a seal": check,
    }
    found = []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        for work, job in jobs.items():
            one = best(lambda attempt, job=job: job(attempt, None))  # type: ignore[misc]
            two = best(lambda attempt, job=job: job(attempt, executor))  # type: ignore[misc]
            found.append(Shared(work=work, records=records, one=one, two=two))
    return found
