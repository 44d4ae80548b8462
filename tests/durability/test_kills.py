"""The loops of kills.py, in short."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from sqlalchemy import make_url

from elspeth.core.landscape.database.state import StateKind, read_state
from tests.durability.checks import Count
from tests.durability.disk import Disk, Survives, everything, journal_entries, nothing
from tests.durability.kills import MODES, NORMAL, Harness, Stop
from tests.durability.pipeline import SINKS, Job, elspeth
from tests.durability.shadow import Shadow

ROWS = 1100  # three groups


@pytest.fixture(scope="module")
def harness(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Harness:
    """Make a harness whose undisturbed run is known."""
    return Harness(tmp_path_factory.mktemp("kills"), library, rows=ROWS)


def half() -> Survives:
    """Decide for each change at random, but reproducibly."""
    chance = random.Random(0)  # noqa: S311  reproducible, not secret
    return lambda: chance.random() < 0.5


@pytest.mark.parametrize(
    "survives",
    [
        pytest.param(nothing, id="nothing"),
        pytest.param(half(), id="half"),
        pytest.param(everything, id="everything", marks=pytest.mark.thorough),
    ],
)
def test_at_each_barrier_the_trail_covers_what_is_published(
    harness: Harness, survives: Survives, record_property: Callable[[str, object], None]
) -> None:
    harness.count = Count()
    cuts = len(list(harness.after_each_barrier(survives)))
    record_property("durability", str(harness.count))
    assert cuts == len(harness.barriers) + 1
    assert harness.count.bad == []
    assert harness.count.published > ROWS
    assert harness.count.recorded > 10 * ROWS


@pytest.mark.thorough
@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_is_killed_twice_ends_as_an_undisturbed_one(
    harness: Harness, mode: str, record_property: Callable[[str, object], None]
) -> None:
    harness.count = Count()
    harness.random.seed(MODES.index(mode))
    harness.disturb(two_stops(harness), mode)
    record_property("durability", str(harness.count))
    assert harness.count.bad == []
    assert harness.count.kills == 2


def two_stops(harness: Harness) -> Iterator[Stop]:
    """Yield a stop amid the run, and a later one."""
    yield Stop(event=harness.random.randint(harness.changes // 2, harness.changes * 3 // 4))
    yield Stop(barrier=12)


def test_a_rename_that_a_killed_process_did_not_sync_is_synced_by_the_resumed_run(harness: Harness) -> None:
    renamed = next(number for number, entry in enumerate(harness.barriers, start=1) if entry.kind == "r")
    harness.count = Count()
    harness.disturb(iter([Stop(barrier=renamed + 1)]), "kill")
    assert harness.count.bad == []
    assert harness.count.kills == 1


def test_a_directory_that_a_sink_makes_survives(library: Path, tmp_path: Path) -> None:
    job = Job(directory=tmp_path / "job", rows=100)
    job.write()
    job.output("rest").parent.rmdir()
    disk = Disk(job.directory)
    assert job.run(Shadow(preloaded=library, root=job.directory, journal=tmp_path / "journal")).returncode == 0
    disk.follow(journal_entries(tmp_path / "journal"))
    disk.cut_power(tmp_path / "cut")
    # Removing a lock is not synced: it is empty, and locks nothing without its process.
    found = {name: content for name, content in files(tmp_path / "cut" / "out").items() if not name.endswith(".lock")}
    assert found == {f"{sink}.csv": job.expected(sink) for sink in SINKS}


def test_a_directory_that_a_bag_is_written_into_survives(library: Path, tmp_path: Path) -> None:
    job = Job(directory=tmp_path / "job", rows=100)
    job.write()
    assert job.run().returncode == 0
    disk, journal = Disk(job.directory), tmp_path / "journal"
    bag = job.directory / "new" / "place" / "bag"
    shadow = Shadow(preloaded=library, root=job.directory, journal=journal)
    arguments = ("export", "latest", "-d", str(job.database), "-o", str(bag), "--format", "bag")
    assert elspeth(*arguments, shadow=shadow).returncode == 0
    disk.follow(journal_entries(journal))
    disk.cut_power(tmp_path / "cut")
    kept = tmp_path / "cut" / "new" / "place" / "bag"
    assert files(kept / "data") == files(bag / "data")


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("*")}


def test_a_database_whose_creation_was_cut_short_is_opened(harness: Harness) -> None:
    chance = half()
    disk = harness.new_disk()
    for entry in islice(harness.entries(), 40):
        disk.take(entry)
        harness.cut_power(disk, chance)
        if harness.job.database.exists():
            assert read_state(make_url(harness.job.database_url)).kind is StateKind.EMPTY


def test_the_harness_detects_less_than_full_synchronisation(
    library: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    harness = Harness(tmp_path, library, rows=ROWS, before=NORMAL)
    harness.count = Count()
    found = [findings.without_audit for _, findings in harness.after_each_barrier(nothing)]
    record_property("durability", f"synchronous=NORMAL: {harness.count}")
    assert max(found) > 0
