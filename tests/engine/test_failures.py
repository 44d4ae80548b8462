"""Runs that stop: a sound trail, and no output."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.exc import SQLAlchemyError

from elspeth.contracts.errors import AuditIntegrityError
from elspeth.contracts.events import event_of
from elspeth.contracts.plugins import PluginError, Source, SourceOptions, StagedOutput
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.engine.errors import AccountingError
from elspeth.engine.loading import RowLoader
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.reporting import RunResult
from elspeth.outputs.policy import OutputRefusedError
from elspeth.plugins.csv import CsvSink
from tests.engine.pipelines import Settings, assert_sound, build, csv_settings, execute, groups_of, trail

INPUT = "id,kind\n" + "".join(f"{number},{'x' if number % 2 else 'y'}\n" for number in range(6))
OLD = "what a run before left\n"


class FailingSource(Source):
    """A source that fails after three rows."""

    name = "failing"
    plugin_version = "1"
    options_model = SourceOptions

    def read(self) -> Iterator[RowData | InvalidRow]:
        """Yield three rows, then fail."""
        for number in range(3):
            yield {"id": number, "kind": "x"}
        raise PluginError("the source broke off after row 2")


class InterruptedSource(Source):
    """A source that is interrupted after three rows."""

    name = "interrupted"
    plugin_version = "1"
    options_model = SourceOptions

    def read(self) -> Iterator[RowData | InvalidRow]:
        """Yield three rows, then raise KeyboardInterrupt."""
        for number in range(3):
            yield {"id": number, "kind": "x"}
        raise KeyboardInterrupt


class FaultySink(CsvSink):
    """A sink that fails in one method, at one call."""

    name = "faulty"
    method = ""
    calls_before = 0

    def _fail(self, method: str) -> None:
        if method == FaultySink.method:
            if not FaultySink.calls_before:
                raise PluginError(f"injected failure in {method}")
            FaultySink.calls_before -= 1

    def open(self, staging_name: str) -> None:
        """Fail or open."""
        self._fail("open")
        super().open(staging_name)

    def write(self, row: RowData) -> None:
        """Fail or write."""
        self._fail("write")
        super().write(row)

    def sync(self) -> None:
        """Fail or sync."""
        self._fail("sync")
        super().sync()

    def finish(self) -> StagedOutput | None:
        """Fail or finish."""
        self._fail("finish")
        return super().finish()

    def publish(self) -> None:
        """Fail before the rename, or publish."""
        self._fail("publish")
        super().publish()
        self._fail("publish, but reported as failed")


@pytest.fixture(autouse=True)
def _groups_of_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups_of(monkeypatch, 2)
    (tmp_path / "in.csv").write_text(INPUT)
    (tmp_path / "out").mkdir()
    for name in ("x", "rest"):
        (tmp_path / "out" / f"{name}.csv").write_text(OLD)


def forced(pipeline: Pipeline) -> RunResult:
    """Run a pipeline with outputs that replace other files."""
    return execute(pipeline, force=True)


def faulty(tmp_path: Path) -> Settings:
    """Return settings whose second sink is faulty."""
    settings = csv_settings(tmp_path)
    settings["sinks"]["x"]["plugin"] = "faulty"
    return settings


def visible(tmp_path: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (tmp_path / "out").glob("[!.]*")}


def staged(tmp_path: Path) -> list[str]:
    return sorted(path.name.split(".")[1] for path in (tmp_path / "out").glob(".*.partial"))


@pytest.mark.parametrize(
    ("method", "calls_before", "rows", "rest_is_published", "kept"),
    [
        ("open", 0, 0, False, []),
        ("write", 0, 0, False, []),
        ("write", 2, 4, False, ["rest", "x"]),
        ("sync", 0, 0, False, []),
        ("sync", 1, 2, False, ["rest", "x"]),
        ("finish", 0, 6, False, ["rest", "x"]),
        ("publish", 0, 6, True, ["x"]),
    ],
)
def test_a_sink_that_fails_stops_the_run_with_a_sound_trail(  # noqa: PLR0917  a row of a fault table
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    calls_before: int,
    rows: int,
    rest_is_published: bool,
    kept: list[str],
) -> None:
    monkeypatch.setattr(FaultySink, "method", method)
    monkeypatch.setattr(FaultySink, "calls_before", calls_before)
    with pytest.raises(PluginError) as caught:
        forced(build(tmp_path, faulty(tmp_path), FaultySink))
    assert str(caught.value) == f"injected failure in {method}"
    records = trail(tmp_path)
    status = "interrupted" if rows else "failed"
    assert_sound(records, status=status)
    assert len(records.get("row", [])) == rows
    errors = {operation["error_message"] for operation in records["operation"] if operation["status"] == "failed"}
    assert errors == {f"PluginError: injected failure in {method}"}
    rest = "id,kind\n0,y\n2,y\n4,y\n" if rest_is_published else OLD
    assert visible(tmp_path) == {"rest.csv": rest, "x.csv": OLD}
    assert staged(tmp_path) == kept
    run_id = records["run"][0]["run_id"]
    places = [str(tmp_path / "out" / f".{name}.csv.{run_id}.partial") for name in ("rest", "x") if name in kept]
    assert caught.value.__notes__ == [
        *(f"Rows that were recorded as written are kept in {place}." for place in places),
        f"Run {run_id} is recorded as {status}.",
        *([f"To go on from row {rows}: elspeth resume {run_id} -s SETTINGS --execute"] if rows else []),
    ]


@pytest.mark.parametrize("method", ["open", "position", "finish"])
def test_an_exception_of_a_sink_is_named_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    def fail(*_: object) -> None:
        raise LookupError

    monkeypatch.setattr(CsvSink, method, fail)
    with pytest.raises(PluginError, match=r"^sink 'rest' failed: LookupError: raised at ") as caught:
        forced(build(tmp_path, csv_settings(tmp_path)))
    assert isinstance(caught.value.__cause__, LookupError)


def test_a_sink_that_published_but_failed_leaves_the_artifact_of_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FaultySink, "method", "publish, but reported as failed")
    with pytest.raises(PluginError, match="injected failure"):
        forced(build(tmp_path, faulty(tmp_path), FaultySink))
    records = trail(tmp_path)
    assert_sound(records, status="interrupted")
    assert visible(tmp_path)["x.csv"] == "id,kind\n1,x\n3,x\n5,x\n"
    assert str(tmp_path / "out" / "x.csv") in {artifact["path_or_uri"] for artifact in records["artifact"]}


def test_staged_rows_and_recorded_rows_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FaultySink, "method", "sync")
    monkeypatch.setattr(FaultySink, "calls_before", 1)
    with pytest.raises(PluginError):
        forced(build(tmp_path, faulty(tmp_path), FaultySink))
    (kept,) = (tmp_path / "out").glob(".x.csv.*.partial")
    recorded = [outcome for outcome in trail(tmp_path)["token_outcome"] if outcome["sink_name"] == "x"]
    assert len(recorded) == 1
    assert kept.read_text().splitlines()[:2] == ["id,kind", "1,x"]


@pytest.mark.parametrize(
    ("source", "error", "rows"), [(FailingSource, PluginError, 3), (InterruptedSource, KeyboardInterrupt, 2)]
)
def test_rows_before_a_failure_of_the_source_are_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, source: type[Source], error: type[BaseException], rows: int
) -> None:
    settings = csv_settings(tmp_path)
    settings["datasource"] = {"plugin": source.name}
    with pytest.raises(error) as caught:
        forced(build(tmp_path, settings, source))
    records = trail(tmp_path)
    assert_sound(records, status="interrupted")
    assert len(records["row"]) == rows
    (loading,) = [each for each in records["operation"] if each["operation_type"] == "source_load"]
    assert (loading["status"], loading["error_message"]) == ("failed", f"{error.__name__}: {caught.value}")
    assert visible(tmp_path) == {"rest.csv": OLD, "x.csv": OLD}
    assert staged(tmp_path) == ["x"]
    (stop,) = [each for each in caplog.records if " stopped: " in each.getMessage()]
    event = event_of(stop)
    assert event is not None
    assert (stop.levelname, event.facts["rows"]) == ("ERROR" if error is PluginError else "WARNING", rows)


def test_a_missing_source_leaves_a_failed_run_and_no_files(tmp_path: Path) -> None:
    (tmp_path / "in.csv").unlink()
    with pytest.raises(PluginError) as caught:
        forced(build(tmp_path, csv_settings(tmp_path)))
    assert str(caught.value) == f"{tmp_path / 'in.csv'} cannot be read: No such file or directory"
    assert_sound(trail(tmp_path), status="failed")
    assert visible(tmp_path) == {"rest.csv": OLD, "x.csv": OLD}
    assert staged(tmp_path) == []


def test_a_sink_path_that_is_a_directory_stops_the_run_before_the_first_row(tmp_path: Path) -> None:
    (tmp_path / "out" / "x.csv").unlink()
    (tmp_path / "out" / "x.csv").mkdir()
    with pytest.raises(OutputRefusedError) as caught:
        forced(build(tmp_path, csv_settings(tmp_path)))
    problem = "expected the path of a file, got that of a directory"
    assert str(caught.value) == f"{tmp_path / 'out' / 'x.csv'}: {problem}"
    with LandscapeDB.from_url(f"sqlite:///{tmp_path / 'audit.db'}", create_tables=False) as db:
        assert LandscapeRecorder(db).list_runs() == []
    assert staged(tmp_path) == []


def test_a_full_disk_stops_the_run_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync

    def fail(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(PluginError, match="cannot be written: No space left on device"):
        forced(build(tmp_path, csv_settings(tmp_path)))
    assert_sound(trail(tmp_path), status="failed")
    assert visible(tmp_path) == {"rest.csv": OLD, "x.csv": OLD}


@pytest.mark.parametrize(
    "failure",
    [
        OSError("database disk image is malformed"),
        LandscapeError("the disk is full"),
        SQLAlchemyError("the connection is lost"),
        AuditIntegrityError(table="runs", key={}, field="status", expected="running", got="failed"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_failure_of_the_audit_database_is_reported_beside_the_first_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    (tmp_path / "in.csv").unlink()
    monkeypatch.setattr(LandscapeRecorder, "finalize_run", fail)
    with pytest.raises(PluginError) as caught:
        forced(build(tmp_path, csv_settings(tmp_path)))
    (note,) = caught.value.__notes__
    run_id = trail(tmp_path)["run"][0]["run_id"]
    assert note == f"The audit database still calls run {run_id} running: {failure}."


def test_a_token_without_an_end_is_found_before_anything_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = LandscapeRecorder.record_token_outcome
    forgotten: list[str] = []

    def forget_the_first(self: LandscapeRecorder, run_id: str, token_id: str, outcome: str, **more: object) -> str:
        if not forgotten:
            forgotten.append(token_id)
            return ""
        return record(self, run_id, token_id, outcome, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(LandscapeRecorder, "record_token_outcome", forget_the_first)
    with pytest.raises(AccountingError) as caught:
        forced(build(tmp_path, csv_settings(tmp_path)))
    run_id = trail(tmp_path)["run"][0]["run_id"]
    assert str(caught.value) == (
        f"run {run_id}: expected a terminal outcome for every token, got none for {forgotten[0]}"
    )
    assert visible(tmp_path) == {"rest.csv": OLD, "x.csv": OLD}


def test_a_row_that_was_counted_but_not_recorded_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = RowLoader.load

    def miscount(self: RowLoader, *arguments: object) -> None:
        load(self, *arguments)  # type: ignore[arg-type]
        self._rows += 1

    monkeypatch.setattr(RowLoader, "load", miscount)
    with pytest.raises(AccountingError) as caught:
        forced(build(tmp_path, csv_settings(tmp_path)))
    run_id = trail(tmp_path)["run"][0]["run_id"]
    assert str(caught.value) == f"run {run_id}: expected 7 recorded rows, got 6"
