"""Time and memory of jobs by size of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import Cost, in_process
from benchmarks.pipeline import run_here, write_pipeline
from benchmarks.recording import RECORDS_PER_ROUTED_ROW, RUN, record_rows

__all__ = ["Growth", "growth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The cost of a job for a number of records."""

    work: str
    records: int
    cost: Cost

    @property
    def microseconds(self) -> float:
        """Time per record."""
        return self.cost.seconds / self.records * 1e6


def growth(sizes: list[int], directory: Path) -> Iterator[Growth]:
    """Measure recording, exporting, verifying and running at each size.

    Sizes count records.
    """
    for size in sizes:
        url, bag = f"sqlite:///{directory}/{size}.db", directory / f"{size}.bag"
        lines, pipeline = directory / f"{size}.jsonl", directory / f"{size}.run"
        write_pipeline(pipeline, size // RECORDS_PER_ROUTED_ROW)
        jobs: list[tuple[str, Callable[..., None], tuple[object, ...]]] = [
            ("record", record_rows, (url, size)),
            ("export to jsonl", _export, (url, lines, "jsonl")),
            ("export to bag", _export, (url, bag, "bag")),
            ("verify a bag", _verify, (bag,)),
            ("elspeth run", run_here, (pipeline,)),
        ]
        for work, job, arguments in jobs:
            yield Growth(work=work, records=size, cost=in_process(job, *arguments))


def _export(url: str, path: Path, form: str) -> None:
    from elspeth.core.landscape.database import LandscapeDB  # noqa: PLC0415  the job pays for its imports
    from elspeth.core.landscape.exporting.files import ExportFormat, write_export  # noqa: PLC0415

    with LandscapeDB.from_url(url, create_tables=False) as db:
        write_export(db, RUN, path, format=ExportFormat(form))


def _verify(bag: Path) -> None:
    from elspeth.evidence.verifier.verify import verify_bag  # noqa: PLC0415

    verify_bag(bag)
