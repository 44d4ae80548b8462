"""A power cut while runs are pruned loses nothing."""

from __future__ import annotations

import shutil
from itertools import chain
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.queries.runs import list_runs
from elspeth.evidence.format import bag
from elspeth.evidence.verifier.reader import open_bag
from tests.durability.disk import Disk, Survives, journal_entries, nothing
from tests.durability.pipeline import Job, elspeth
from tests.durability.shadow import Shadow
from tests.durability.test_kills import half
from tests.fixtures.effort import THOROUGH

ROWS = 40


def records_of(job: Job, archive: Path, run_id: str) -> bytes:
    """Return the lines of a run, wherever they are."""
    (run,) = list_runs(job.database_url)
    if run.bag is not None:
        with open_bag(archive / f"{run_id}.zip") as files:
            return b"".join(files.blocks(bag.RECORDS))
    with LandscapeDB(job.database_url, create_tables=False) as database:
        lines = b"".join(lines for _, lines in LandscapeExporter(database).export_chunks(run_id))
    return b"".join(lines.splitlines(keepends=True)[:-1])


@pytest.mark.parametrize(
    "survives", [pytest.param(nothing, id="nothing"), pytest.param(half(), id="half", marks=pytest.mark.thorough)]
)
def test_after_each_barrier_the_run_is_in_the_database_or_in_its_bag(
    library: Path, tmp_path: Path, survives: Survives
) -> None:
    job = Job(directory=tmp_path / "job", rows=ROWS)
    job.write()
    assert main(list(job.run_arguments)) == 0
    (run,) = list_runs(job.database_url)
    archive, before = job.directory / "archive", records_of(job, job.directory, run.run_id)
    prune = ("landscape", "prune", "-d", str(job.database), "--before", "2999-01-01", "--archive", str(archive), "-x")
    shutil.copytree(job.directory, tmp_path / "fresh")
    disk = Disk(job.directory)
    shadow = Shadow(preloaded=library, root=job.directory, journal=tmp_path / "journal")
    assert elspeth(*prune, shadow=shadow).returncode == 0
    seen = set()
    for number, entry in enumerate(chain(journal_entries(tmp_path / "journal"), [None])):
        if entry is None or (entry.is_barrier and (THOROUGH or number % 20 == 0)):
            shutil.rmtree(job.directory)
            disk.cut_power(job.directory, survives)
            (found,) = list_runs(job.database_url)
            seen.add(found.bag is not None)
            assert records_of(job, archive, run.run_id) == before
            assert main(list(prune)) == 0
            assert main(["landscape", "check", "-d", str(job.database)]) == 0
            assert main(["verify", str(archive / f"{run.run_id}.zip")]) == 1  # consistent, but not signed
            assert list_runs(job.database_url)[0].bag is not None
        if entry is not None:
            disk.take(entry)
    assert seen == {False, True}
