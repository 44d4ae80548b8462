"""Outputs replace earlier outputs only, one run at a time."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import make_url

from elspeth.contracts.plugins import PluginError, Source, SourceOptions
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.queries.recorded import output_summary
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.engine import orchestrator as orchestrator_module
from elspeth.engine.errors import ResumeError, RunInterruptedError
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.reporting import Observer, Phase, RunResult
from elspeth.outputs.policy import OutputRefusedError
from elspeth.plugins.staging import StagedFile
from tests.engine.pipelines import Settings, build, csv_settings, execute, run, trail

ROWS = "id,kind\n1,x\n2,y\n"
UNKNOWN = "is not an output that the audit database names: move it away, or use --force"


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text(ROWS)


def resumed(tmp_path: Path, settings: Settings, run_id: str, observer: Observer | None = None) -> RunResult:
    pipeline = build(tmp_path, settings)
    keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
    with LandscapeDB.from_url(settings["landscape"]["url"]) as db:
        return Orchestrator(db, pipeline, keys, observer).resume(run_id)


def runs(tmp_path: Path) -> list[tuple[str, str]]:
    """Return ids and statuses of the runs, newest first."""
    with LandscapeDB.from_url(f"sqlite:///{tmp_path / 'audit.db'}", create_tables=False) as db:
        return [(run.run_id, run.status.value) for run in LandscapeRecorder(db).list_runs()]


def test_a_pipeline_replaces_its_outputs_day_by_day(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    for kind in "xyz":
        (tmp_path / "in.csv").write_text(f"id,kind\n1,{kind}\n2,x\n")
        run(tmp_path, settings)
        assert (tmp_path / "out" / "x.csv").read_text().count("\n") == (3 if kind == "x" else 2)


@pytest.mark.parametrize("plugin", ["csv", "json", "jsonl", "parquet"])
def test_an_output_without_rows_is_replaced_like_others(tmp_path: Path, plugin: str) -> None:
    settings = csv_settings(tmp_path)
    options = {"path": str(tmp_path / "out" / "x"), "schema": {"mode": "free", "fields": ["id: str"]}}
    settings["sinks"]["x"] = {"plugin": plugin, "options": options}
    for rows in ("1,y\n", "2,y\n", "3,x\n", "4,y\n"):
        (tmp_path / "in.csv").write_text("id,kind\n" + rows)
        run(tmp_path, settings)
    (tmp_path / "out" / "x").write_text("changed")
    with pytest.raises(OutputRefusedError):
        run(tmp_path, settings)


def test_a_file_that_no_run_wrote_is_refused_before_anything_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x.csv").write_text("mine")
    with pytest.raises(OutputRefusedError) as refused:
        execute(build(tmp_path, csv_settings(tmp_path)))
    assert str(refused.value) == f"{tmp_path / 'out' / 'x.csv'}: {UNKNOWN}"
    assert runs(tmp_path) == []
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x.csv"]
    assert (tmp_path / "out" / "x.csv").read_text() == "mine"
    execute(build(tmp_path, csv_settings(tmp_path)), force=True)
    execute(build(tmp_path, csv_settings(tmp_path)))
    assert (tmp_path / "out" / "x.csv").read_text() == "id,kind\n1,x\n"


def test_an_output_that_somebody_changed_is_not_replaced(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    result, _ = run(tmp_path, settings)
    with (tmp_path / "out" / "x.csv").open("a") as file:
        file.write("3,corrected by hand\n")
    with pytest.raises(OutputRefusedError) as refused:
        execute(build(tmp_path, settings))
    problem = f"is not as run {result.run_id} wrote it: move it away, or use --force"
    assert str(refused.value) == f"{tmp_path / 'out' / 'x.csv'}: {problem}"
    assert "corrected" in (tmp_path / "out" / "x.csv").read_text()


def test_an_output_is_known_under_another_name_of_its_path(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    run(tmp_path, settings)
    settings["sinks"]["x"]["options"]["path"] = "out/../out/x.csv"
    execute(build(tmp_path, settings))
    (tmp_path / "copy.csv").write_bytes((tmp_path / "out" / "x.csv").read_bytes())
    settings["sinks"]["x"]["options"]["path"] = "copy.csv"
    with pytest.raises(OutputRefusedError, match=r"copy\.csv: is not an output"):
        execute(build(tmp_path, settings))


def test_without_an_audit_database_only_force_replaces(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    settings["landscape"]["enabled"] = False
    pipeline = build(tmp_path, settings)
    keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
    with LandscapeDB.in_memory() as db:
        Orchestrator(db, pipeline, keys).run()
    with LandscapeDB.in_memory() as db, pytest.raises(OutputRefusedError, match="no audit database says that it is"):
        Orchestrator(db, pipeline, keys).run()
    with LandscapeDB.in_memory() as db:
        Orchestrator(db, pipeline, keys, force=True).run()


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("what", ["FIFO", "device"])
def test_a_sink_only_replaces_regular_files(tmp_path: Path, what: str, *, force: bool) -> None:
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "x.csv"
    if what == "FIFO":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/null")
    before = path.lstat().st_ino
    with pytest.raises(OutputRefusedError) as refused:
        execute(build(tmp_path, csv_settings(tmp_path)), force=force)
    assert str(refused.value) == f"{path}: expected the path of a file, got that of a {what}"
    assert path.lstat().st_ino == before
    with pytest.raises(PluginError, match="expected the path of a file"):
        StagedFile(path).open("run")


def test_force_does_not_replace_the_audit_database(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    pipeline = build(tmp_path, settings)
    pipeline.settings.sinks["x"].options["path"] = str(tmp_path / "audit.db")
    with pytest.raises(OutputRefusedError, match="is the audit database, which no output may touch"):
        execute(pipeline, force=True)
    assert runs(tmp_path) == []


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "x").touch()
    (tmp_path / "out" / "x.csv").symlink_to(tmp_path / "there" / "x")
    for _ in range(2):
        run(tmp_path, csv_settings(tmp_path))
    assert (tmp_path / "out" / "x.csv").is_symlink()
    assert (tmp_path / "there" / "x").read_text() == "id,kind\n1,x\n"
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["x"]


def test_the_mode_of_an_output_is_kept(tmp_path: Path) -> None:
    run(tmp_path, csv_settings(tmp_path))
    (tmp_path / "out" / "x.csv").chmod(0o600)
    modes: list[int] = []

    def look(_: object) -> None:
        modes.extend(stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "out").glob(".x.csv.*.partial"))

    execute(build(tmp_path, csv_settings(tmp_path)), Observer(on_rows=look))
    assert modes == [0o600]
    assert stat.S_IMODE((tmp_path / "out" / "x.csv").stat().st_mode) == 0o600


def writing(path: Path, content: str) -> Callable[[object], None]:
    """Make an observer that writes a file."""

    def write(_: object) -> None:
        path.write_text(content)

    return write


def test_a_file_that_appears_during_the_run_is_kept(tmp_path: Path) -> None:
    path, settings = tmp_path / "out" / "x.csv", csv_settings(tmp_path)
    with pytest.raises(PluginError) as caught:
        execute(build(tmp_path, settings), Observer(on_rows=writing(path, "mine")))
    assert str(caught.value) == (
        f"{path} was made or changed by another program during the run, and is left unchanged: move it away, then "
        "resume the run"
    )
    ((run_id, status),) = runs(tmp_path)
    assert (path.read_text(), status) == ("mine", "interrupted")
    with pytest.raises(OutputRefusedError, match=f"is not as run {run_id} wrote it"):
        resumed(tmp_path, settings, run_id)
    assert runs(tmp_path) == [(run_id, "interrupted")]
    path.unlink()
    resumed(tmp_path, settings, run_id)
    assert path.read_text() == "id,kind\n1,x\n"


def test_a_file_that_changes_during_the_run_is_kept(tmp_path: Path) -> None:
    path, settings = tmp_path / "out" / "x.csv", csv_settings(tmp_path)
    run(tmp_path, settings)
    with pytest.raises(PluginError, match="was made or changed by another program during the run"):
        execute(build(tmp_path, settings), Observer(on_rows=writing(path, "corrected")))
    assert path.read_text() == "corrected"


class Nested(Source):
    """A source that runs its pipeline again."""

    name = "nested"
    plugin_version = "1"
    options_model = SourceOptions
    inner: object = None

    def read(self) -> Iterator[RowData | InvalidRow]:
        """Yield two rows, with another run between them."""
        yield {"id": "1", "kind": "x"}
        try:
            execute(build(Path.cwd(), csv_settings(Path.cwd())))
        except OutputRefusedError as error:
            type(self).inner = str(error)
        yield {"id": "2", "kind": "y"}


def test_a_second_run_with_the_same_outputs_is_refused(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    settings["datasource"] = {"plugin": "nested"}
    result = execute(build(tmp_path, settings, Nested))
    problem = "is being written by another process: wait for it to end, or name another path"
    assert Nested.inner == f"{tmp_path / 'out' / 'rest.csv'}: {problem}"
    assert runs(tmp_path) == [(result.run_id, "completed")]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["rest.csv", "x.csv"]
    execute(build(tmp_path, csv_settings(tmp_path)))


def templated(tmp_path: Path) -> Settings:
    settings = csv_settings(tmp_path)
    settings["sinks"]["x"]["options"]["path"] = str(tmp_path / "out" / "{date}" / "x-{run_id}-{{1}}.csv")
    settings["landscape"]["export"] = {"enabled": True, "path": str(tmp_path / "out" / "{date}" / "{run_id}.json")}
    return settings


def test_paths_can_name_the_run_and_its_day(tmp_path: Path) -> None:
    result, records = run(tmp_path, templated(tmp_path))
    day = str(records["run"][0]["started_at"])[:10]
    path = tmp_path / "out" / day / f"x-{result.run_id}-{{1}}.csv"
    assert path.read_text() == "id,kind\n1,x\n"
    assert str(path) in {artifact["path_or_uri"] for artifact in records["artifact"]}
    assert result.export_path == str(tmp_path / "out" / day / f"{result.run_id}.json")
    assert Path(result.export_path).exists()
    second, again = run(tmp_path, templated(tmp_path))
    assert len(list((tmp_path / "out" / day).iterdir())) == 4
    assert {node["node_id"] for node in again["node"]} == {node["node_id"] for node in records["node"]}
    assert again["run"][0]["config_hash"] == records["run"][0]["config_hash"]
    assert second.run_id != result.run_id


def test_a_resumed_run_keeps_the_day_on_which_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = templated(tmp_path)

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(orchestrator_module, "now", lambda: datetime(2020, 2, 29, 23, 59, 59, tzinfo=UTC))
    with pytest.raises(KeyboardInterrupt):
        execute(build(tmp_path, settings), Observer(on_rows=stop))
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    ((run_id, _),) = runs(tmp_path)
    result = resumed(tmp_path, settings, run_id)
    assert (tmp_path / "out" / "2020-02-29" / f"x-{run_id}-{{1}}.csv").read_text() == "id,kind\n1,x\n"
    assert result.export_path == str(tmp_path / "out" / "2020-02-29" / f"{run_id}.json")
    with pytest.raises(ResumeError, match="is completed: only a run that has not ended can be resumed"):
        resumed(tmp_path, settings, run_id)


class Killed(BaseException):
    """The process ends."""


def killed_while_publishing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings, is_time: Callable[[], bool] = lambda: True
) -> str:
    """Return the id of a run killed while it published.

    That is after the first file for which it `is_time`.
    """
    publish = StagedFile.publish

    def kill(file: StagedFile) -> None:
        publish(file)
        if is_time():
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(StagedFile, "publish", kill)
        patch.setattr(Orchestrator, "_record_stop", lambda *_: None)
        with pytest.raises(Killed):
            execute(build(tmp_path, settings))
    ((run_id, _),) = runs(tmp_path)
    return run_id


@pytest.mark.parametrize("content", [None, "mine"])
def test_a_run_killed_while_publishing_an_empty_output_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    settings = csv_settings(tmp_path)
    settings["sinks"]["x"] = {"plugin": "json", "options": {"path": str(tmp_path / "out" / "x.json")}}
    (tmp_path / "in.csv").write_text("id,kind\n1,y\n")
    output = tmp_path / "out" / "x.json"
    run_id = killed_while_publishing(tmp_path, monkeypatch, settings, is_time=output.exists)
    if content is None:
        resumed(tmp_path, settings, run_id)
        assert output.read_text() == "[]\n"
    else:
        output.write_text(content)
        with pytest.raises(OutputRefusedError, match=r"x\.json: is not an output that the audit database names"):
            resumed(tmp_path, settings, run_id)
        assert output.read_text() == content
        assert runs(tmp_path) == [(run_id, "interrupted")]


def test_an_output_that_was_in_place_is_recorded_by_a_process_that_stops_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = csv_settings(tmp_path)
    run_id = killed_while_publishing(tmp_path, monkeypatch, settings)
    begun: list[Phase] = []
    with pytest.raises(RunInterruptedError):
        resumed(tmp_path, settings, run_id, Observer(on_phase=begun.append, is_stopped=lambda: Phase.PROOF in begun))
    records = trail(tmp_path)
    (artifact,) = [each for each in records["artifact"] if each["path_or_uri"].endswith("rest.csv")]
    (written,) = [
        each
        for each in records["operation"]
        if (each["node_id"], each["status"]) == (artifact["sink_node_id"], "completed")
    ]
    facts = {name: artifact[name] for name in ("content_hash", "size_bytes")}
    assert written["output_data_hash"] == stable_hash(output_summary(rows=1, path=artifact["path_or_uri"], **facts))
    assert resumed(tmp_path, settings, run_id).rows == 2


def test_a_run_whose_end_cannot_be_recorded_keeps_an_output_to_confirm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = csv_settings(tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise LandscapeError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(LandscapeRecorder, "finalize_run", fail)
        with pytest.raises(LandscapeError, match="the disk is full"):
            execute(build(tmp_path, settings))
    ended = [each["status"] for each in trail(tmp_path)["operation"] if each["operation_type"] == "sink_write"]
    assert sorted(ended) == ["completed", "failed"]
    ((run_id, _),) = runs(tmp_path)
    assert resumed(tmp_path, settings, run_id).rows == 2


def test_a_resumed_run_reports_a_foreign_file_before_its_next_row(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path, checkpoint={"frequency": "every_row"})
    (tmp_path / "in.csv").write_text("id,kind\n1,y\n2,y\n3,x\n")

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(build(tmp_path, settings), Observer(on_rows=stop))
    ((run_id, _),) = runs(tmp_path)
    before = trail(tmp_path)
    (tmp_path / "out" / "x.csv").write_text("mine")
    with pytest.raises(OutputRefusedError, match=r"x\.csv: is not an output that the audit database names"):
        resumed(tmp_path, settings, run_id)
    assert [len(before[name]) for name in ("row", "token")] == [1, 1]
    after = trail(tmp_path)
    assert (after["row"], after["token"]) == (before["row"], before["token"])


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("bags/evidence", "exists already, and evidence is never overwritten: name another path"),
        ("in.csv/trail", "its directory cannot be made: "),
    ],
)
def test_an_export_that_may_not_be_written_is_reported_before_the_first_row(
    tmp_path: Path, path: str, problem: str
) -> None:
    (tmp_path / "bags" / "evidence").mkdir(parents=True)
    settings = csv_settings(tmp_path)
    pipeline = build(tmp_path, settings)
    export = pipeline.settings.landscape.export.model_copy(update={"enabled": True, "path": path, "format": "bag"})
    landscape = pipeline.settings.landscape.model_copy(update={"export": export})
    object.__setattr__(pipeline, "settings", pipeline.settings.model_copy(update={"landscape": landscape}))
    with pytest.raises(OutputRefusedError, match=f"{path}: {problem}"):
        execute(pipeline)
    assert runs(tmp_path) == []


def test_a_database_sink_does_not_write_into_an_audit_database(tmp_path: Path, database_url: str) -> None:
    LandscapeDB.from_url(database_url).close()
    url = make_url(database_url)
    other = url.set(host="localhost") if url.host == "127.0.0.1" else url
    settings = csv_settings(tmp_path)
    options = {"url": other.render_as_string(hide_password=False), "table": "mine"}
    settings["sinks"]["x"] = {"plugin": "database", "options": options}
    settings["landscape"]["url"] = f"sqlite:///{tmp_path / 'audit.db'}"
    with pytest.raises(PluginError, match="is an audit database, which no sink may write to: name another one"):
        execute(build(tmp_path, settings), environ={"ELSPETH_ALLOW_RAW_SECRETS": "true"})
    with LandscapeDB.from_url(database_url) as db, db.connection() as connection:
        assert not connection.dialect.has_table(connection, "elspeth_publications")


def test_an_output_is_recorded_with_its_kind(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    settings["sinks"]["x"]["plugin"] = "jsonl"
    url = f"sqlite:///{tmp_path / 'rows.db'}"
    settings["sinks"]["rest"] = {"plugin": "database", "options": {"url": url, "table": "rest"}}
    _, records = run(tmp_path, settings)
    kinds = {Path(str(each["path_or_uri"])).name: each["artifact_type"] for each in records["artifact"]}
    assert kinds == {"x.csv": "jsonl", "rows.db#rest": "database"}


def test_an_output_is_recorded_with_the_hash_that_identifies_it_later(tmp_path: Path) -> None:
    run(tmp_path, csv_settings(tmp_path))
    recorded = {each["path_or_uri"]: each["content_hash"] for each in trail(tmp_path)["artifact"]}
    for name in ("x", "rest"):
        path = tmp_path / "out" / f"{name}.csv"
        assert recorded[str(path)] == hashlib.sha256(path.read_bytes()).hexdigest()
    with suppress(FileNotFoundError):
        (tmp_path / "audit.db").unlink()
    with pytest.raises(OutputRefusedError, match="is not an output that the audit database names"):
        execute(build(tmp_path, csv_settings(tmp_path)))
