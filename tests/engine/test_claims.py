"""Two processes that record one run, one of which stops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from elspeth.contracts.errors import AuditIntegrityError
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.database.connections import read_only_connection
from elspeth.core.landscape.database.urls import parse_url
from elspeth.core.landscape.queries.runs import list_runs
from elspeth.core.landscape.sealing.check import check_seals
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.processor import RowProcessor
from elspeth.engine.reporting import Observer, Progress, RunResult
from elspeth.engine.resuming import abandon_run
from elspeth.outputs.policy import OutputRefusedError
from tests.core.landscape.database.test_claim import lose_claims
from tests.engine.pipelines import Settings, assert_sound, build, csv_settings, groups_of, trail

INPUT = "id,kind\n" + "".join(f"{number},{'x' if number % 3 else 'y'}\n" for number in range(9))
OUTPUTS = {
    "rest.csv": "id,kind\n0,y\n3,y\n6,y\n",
    "x.csv": "id,kind\n1,x\n2,x\n4,x\n5,x\n7,x\n8,x\n",
}


class OneProcess:
    """Runs one pipeline as a series of processes would."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.url = url
        self._settings: Settings = csv_settings(directory, landscape={"url": url})

    def work(self, do: Callable[[Orchestrator], RunResult], observer: Observer | None = None) -> RunResult:
        pipeline = self.pipeline()
        keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
        with LandscapeDB.from_url(self.url) as db:
            return do(Orchestrator(db, pipeline, keys, observer))

    def pipeline(self) -> Pipeline:
        return build(self.directory, self._settings)

    def resume(self) -> RunResult:
        return self.work(lambda each: each.resume(self.run_id))

    def abandon(self) -> None:
        settings = self.pipeline().settings
        keys = load_run_keys(settings, {}, source="settings.yaml")
        with LandscapeDB.from_url(self.url) as db:
            abandon_run(db, settings, keys, self.run_id)

    @property
    def run_id(self) -> str:
        (run,) = list_runs(self.url)
        return run.run_id

    @property
    def status(self) -> tuple[str, int]:
        (run,) = list_runs(self.url)
        return run.status, run.rows

    def outputs(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in (self.directory / "out").glob("*.csv")}

    def seals(self) -> str:
        with read_only_connection(parse_url(self.url)) as connection:
            return check_seals(connection).verdict


@pytest.fixture
def process(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> OneProcess:
    groups_of(monkeypatch, 2)
    (tmp_path / "in.csv").write_text(INPUT)
    return OneProcess(tmp_path, database_url)


def after(rows: int, do: Callable[[], object]) -> Observer:
    """Make an observer that acts at a number of rows."""

    def on_rows(progress: Progress) -> None:
        if progress.rows == rows:
            do()

    return Observer(on_rows=on_rows)


def test_a_run_whose_claim_is_lost_stops_and_can_be_resumed(process: OneProcess) -> None:
    with pytest.raises(LandscapeError) as caught:
        process.work(lambda each: each.run(), after(4, lambda: lose_claims(process.url)))
    assert process.status == ("interrupted", 4)
    run_id = process.run_id
    assert caught.value.__notes__[-2:] == [
        f"Run {run_id} is recorded as interrupted.",
        f"To go on from row 4: elspeth resume {run_id} -s SETTINGS --execute",
    ]
    process.resume()
    assert_sound(trail(process.directory, process.url), status="completed", resumed=True)
    assert process.outputs() == OUTPUTS


def test_two_processes_that_record_one_run_lose_nothing(process: OneProcess) -> None:
    """Resume a run whose owner has lost its claim."""
    second: list[BaseException] = []

    def take_up() -> None:
        lose_claims(process.url)
        with pytest.raises(OutputRefusedError, match="is being written by another process") as caught:
            process.resume()
        second.append(caught.value)

    with pytest.raises(LandscapeError):
        process.work(lambda each: each.run(), after(4, take_up))
    assert len(second) == 1
    assert process.status == ("interrupted", 4)
    process.resume()
    assert_sound(trail(process.directory, process.url), status="completed", resumed=True)
    assert process.outputs() == OUTPUTS
    assert process.seals() == "1 of 1 sealed runs unchanged"


def test_nothing_is_recorded_in_a_run_that_another_process_abandoned(process: OneProcess) -> None:
    def abandon() -> None:
        lose_claims(process.url)
        process.abandon()

    with pytest.raises(LandscapeError) as caught:
        process.work(lambda each: each.run(), after(4, abandon))
    assert process.status == ("failed", 4)
    assert process.seals() == "1 of 1 sealed runs unchanged"
    operations = trail(process.directory, process.url)["operation"]
    assert {(each["status"], each["error_message"]) for each in operations} == {("failed", "the run was given up")}
    assert caught.value.__notes__[-1] == (
        f"What stopped this process is not recorded: run {process.run_id} is failed already."
    )


def test_a_record_that_is_refused_while_a_run_is_resumed_does_not_end_it(
    process: OneProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LandscapeError):
        process.work(lambda each: each.run(), after(4, lambda: lose_claims(process.url)))

    def refused(*_: object) -> str:
        raise AuditIntegrityError(table="rows", key={}, field="row_index", expected="a new one", got=4)

    with monkeypatch.context() as patch:
        patch.setattr(RowProcessor, "process", refused)
        with pytest.raises(AuditIntegrityError):
            process.resume()
    assert process.status == ("interrupted", 4)
    process.resume()
    assert process.outputs() == OUTPUTS
