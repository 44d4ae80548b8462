"""Published files survive a power cut after a command's end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.durability.disk import Disk, journal_entries
from tests.durability.pipeline import Job, elspeth
from tests.durability.shadow import Shadow

ROWS = 50


def files(directory: Path) -> dict[str, bytes]:
    """Return the published files below a directory.

    Hidden ones are left out: removing locks, spools and unfinished files is not synced, and the next writer does it
    again.
    """
    found = {path.relative_to(directory): path for path in sorted(directory.rglob("*")) if path.is_file()}
    return {
        str(name): path.read_bytes()
        for name, path in found.items()
        if not any(part.startswith(".") for part in name.parts)
    }


def after_power_cut(job: Job, library: Path, tmp_path: Path, *arguments: str) -> Path:
    """Run a command, cut the power, return the disk."""
    disk, journal = Disk(job.directory), tmp_path / "journal"
    done = elspeth(*arguments, shadow=Shadow(preloaded=library, root=job.directory, journal=journal))
    assert done.returncode == 0, done.stderr
    disk.follow(journal_entries(journal))
    disk.cut_power(tmp_path / "cut")
    return tmp_path / "cut"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Write a pipeline."""
    job = Job(directory=tmp_path / "job", rows=ROWS)
    job.write()
    return job


@pytest.fixture
def finished(job: Job) -> Job:
    """Run the pipeline."""
    assert job.run().returncode == 0
    return job


LONGER = pytest.mark.thorough


@pytest.mark.parametrize("form", ["csv", *(pytest.param(form, marks=LONGER) for form in ("jsonl", "json")), "parquet"])
def test_the_outputs_of_a_run_survive(job: Job, library: Path, tmp_path: Path, form: str) -> None:
    settings = yaml.safe_load(job.settings.read_text(encoding="utf-8"))
    for name, sink in settings["sinks"].items():
        schema = {"mode": "strict", "fields": ["id: str", "size: str", "note: str"]}
        options = {"path": str(job.directory / "out" / f"{name}.{form}"), "schema": schema}
        sink |= {"plugin": form, "options": options}
    job.settings.write_text(yaml.safe_dump(settings), encoding="utf-8")
    cut = after_power_cut(job, library, tmp_path, *job.run_arguments)
    published = files(job.directory / "out")
    assert set(published) == {f"rest.{form}", f"large.{form}"}
    assert files(cut / "out") == published


@pytest.mark.parametrize(
    "form", ["jsonl", "bag", *(pytest.param(form, marks=LONGER) for form in ("json", "csv", "parquet", "zip"))]
)
def test_an_export_survives(finished: Job, library: Path, tmp_path: Path, form: str) -> None:
    target = finished.directory / "new" / "trail"
    options = ("--format", "bag", "--zip") if form == "zip" else ("--format", form)
    arguments = ("export", "latest", "-d", str(finished.database), "-o", str(target), *options)
    cut = after_power_cut(finished, library, tmp_path, *arguments)
    published = files(finished.directory / "new")
    assert published
    assert files(cut / "new") == published


def test_a_proof_survives(finished: Job, library: Path, tmp_path: Path) -> None:
    bag, proof = finished.directory / "bag", finished.directory / "new" / "proof.json"
    arguments = ("export", "latest", "-d", str(finished.database), "-o", str(bag), "--format", "bag")
    assert elspeth(*arguments).returncode == 0
    lines = (bag / "data" / "records.jsonl").read_text(encoding="utf-8").splitlines()
    row = next(record for record in map(json.loads, lines) if record["record_type"] == "row")
    proof.parent.mkdir()
    cut = after_power_cut(finished, library, tmp_path, "prove", str(bag), "row", row["row_id"], "-o", str(proof))
    assert files(cut / "new") == files(finished.directory / "new") != {}


def test_an_import_survives(finished: Job, library: Path, tmp_path: Path) -> None:
    trail, new = finished.directory / "trail.jsonl", finished.directory / "new"
    assert elspeth("export", "latest", "-d", str(finished.database), "-o", str(trail)).returncode == 0
    new.mkdir()
    cut = after_power_cut(finished, library, tmp_path, "import", str(trail), "-d", str(new / "audit.db"))
    assert files(cut / "new") == files(new) != {}


def test_keys_survive(job: Job, library: Path, tmp_path: Path) -> None:
    keys = job.directory / "keys"
    cut = after_power_cut(job, library, tmp_path, "keys", "generate", "-o", str(keys))
    assert files(cut / "keys") == files(keys) != {}
