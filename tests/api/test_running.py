"""Pipelines run from Python as from the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import current_process
from pathlib import Path

import pytest
import yaml

import elspeth
from elspeth.api import running
from elspeth.contracts.plugins import PluginError
from elspeth.core.landscape.database import LandscapeError
from elspeth.core.settings import SettingsError
from elspeth.engine.errors import ResumeError, RunInterruptedError
from elspeth.outputs.policy import OutputRefusedError
from tests.engine.pipelines import csv_settings
from tests.fixtures.workers import InlineWorkers


def read_output(directory: Path, name: str) -> bytes:
    """Return the bytes of an output."""
    return (directory / "out" / f"{name}.csv").read_bytes()


@pytest.fixture(autouse=True)
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("id,kind\n1,x\n2,y\n3,<b>\n")


def test_settings_in_a_mapping_run_like_those_in_a_file(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    settings["datasource"]["options"]["path"] = tmp_path / "in.csv"  # a path is text to settings
    of_mapping = elspeth.run(settings)
    assert (of_mapping.rows, dict(of_mapping.rows_by_sink)) == (3, {"rest": 2, "x": 1})
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(csv_settings(tmp_path)))
    of_file = elspeth.run("settings.yaml", overrides={"sinks.rest.options.path": "small.csv"}, limit=1)
    assert (of_file.rows, (tmp_path / "small.csv").exists()) == (1, True)
    with elspeth.open("audit.db") as trail:
        assert [run.run_id for run in trail.runs()] == [of_mapping.run_id, of_file.run_id]
        assert [run.settings["limit"] for run in trail.runs()] == [None, 1]


def test_settings_that_are_wrong_are_refused_with_all_problems(tmp_path: Path) -> None:
    settings = {**csv_settings(tmp_path), "output_sink": "nowhere", "concurrency": {"max_workers": {1, 2}}}
    with pytest.raises(SettingsError) as caught:
        elspeth.run(settings)
    assert str(caught.value).splitlines()[0] == "settings: 1 problem"
    settings["concurrency"] = {"max_workers": 0}
    with pytest.raises(SettingsError) as caught:
        elspeth.run(settings)
    assert [problem.path for problem in caught.value.problems] == ["concurrency.max_workers", "output_sink"]
    with pytest.raises(TypeError, match=r"os\.PathLike"):
        elspeth.run(csv_settings(tmp_path), overrides={"limit": {1}})
    with pytest.raises(SettingsError, match="limit: expected greater than 0, got 0"):
        elspeth.run(csv_settings(tmp_path), limit=0)


def test_replacing_foreign_files_needs_force(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x.csv").write_text("mine")
    with pytest.raises(SettingsError, match=r"sinks\.x\.options\.path"):
        elspeth.run(csv_settings(tmp_path))
    assert elspeth.run(csv_settings(tmp_path), force=True).rows == 3


def test_a_missing_source_file_prevents_the_run(tmp_path: Path) -> None:
    (tmp_path / "in.csv").unlink()
    with pytest.raises(PluginError, match="No such file"):
        elspeth.run(csv_settings(tmp_path))
    assert not (tmp_path / "audit.db").exists()


def test_a_stopped_run_can_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(RunInterruptedError):
        elspeth.run(csv_settings(tmp_path), is_stopped=lambda: True)
    with elspeth.open(tmp_path / "audit.db") as trail:
        assert trail.run().record.status == "interrupted"


def test_a_stopped_run_is_resumed_to_the_same_result(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path, checkpoint={"frequency": "every_row"})
    elspeth.run(settings)
    expected = {name: read_output(tmp_path, name) for name in ("rest", "x")}
    with pytest.raises(RunInterruptedError):
        elspeth.run(settings, is_stopped=lambda: True)
    with elspeth.open(tmp_path / "audit.db") as trail:
        stopped = trail.run().run_id
    result = elspeth.resume(settings)
    assert (result.run_id, result.rows, result.rows_before) == (stopped, 3, 1)
    assert {name: read_output(tmp_path, name) for name in expected} == expected
    with pytest.raises(ResumeError, match="is completed: only a run that has not ended"):
        elspeth.resume(settings, stopped[:8])


def test_a_stopped_run_is_resumed_as_it_was_begun(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path, checkpoint={"frequency": "every_row"})
    with pytest.raises(RunInterruptedError):
        elspeth.run(settings, limit=2, is_stopped=lambda: True)
    with pytest.raises(LandscapeError, match="nowhere"):
        elspeth.resume(settings, "nowhere", limit=2)
    with pytest.raises(RunInterruptedError):
        elspeth.resume(settings, limit=2, is_stopped=lambda: True)
    (tmp_path / "out" / "x.csv").write_text("mine")
    with pytest.raises(OutputRefusedError, match=r"x\.csv"):
        elspeth.resume(settings, limit=2)
    assert elspeth.resume(settings, limit=2, force=True).rows == 2


def test_only_a_recorded_run_is_resumed(tmp_path: Path) -> None:
    with pytest.raises(LandscapeError, match=r"audit\.db"):
        elspeth.resume(csv_settings(tmp_path))
    assert not (tmp_path / "audit.db").exists()
    with pytest.raises(ResumeError, match=r"landscape\.enabled: false"):
        elspeth.resume(csv_settings(tmp_path), overrides={"landscape.enabled": False})


def test_a_run_uses_the_workers_of_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[InlineWorkers] = []

    @contextmanager
    def inline(count: int) -> Iterator[InlineWorkers]:
        opened.append(InlineWorkers(count=count))
        yield opened[-1]

    monkeypatch.setattr(running, "run_workers", inline)
    (tmp_path / "in.csv").write_text("id,kind\n" + "1,x\n" * 25)
    settings = csv_settings(tmp_path, concurrency={"workers": 2})
    with pytest.raises(RunInterruptedError):
        elspeth.run(settings, is_stopped=lambda: True)
    assert elspeth.resume(settings, overrides={"concurrency.workers": 3}).rows == 25
    assert [each.count for each in opened] == [2, 3]
    assert all(each.jobs for each in opened)


def test_a_worker_that_imports_the_program_does_not_start_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current_process(), "_inheriting", True, raising=False)
    for begin in (elspeth.run, elspeth.resume):
        with pytest.raises(RuntimeError, match='put what runs it under `if __name__ == "__main__":`'):
            begin(csv_settings(tmp_path))
    assert not (tmp_path / "audit.db").exists()


def test_a_report_is_written_if_the_settings_ask_for_it(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    settings["landscape"]["report"] = {"path": "report.html"}
    result = elspeth.run(settings)
    assert result.run_id in (tmp_path / "report.html").read_text(encoding="utf-8")
    (tmp_path / "report.html").write_text("mine")
    with pytest.warns(RuntimeWarning, match=r"report\.html: is not a report"):
        elspeth.run(settings)
    result = elspeth.run(settings, force=True)
    assert result.run_id in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_notebook_shows_the_summary_escaped(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    settings["sinks"]["<b>"] = settings["sinks"].pop("rest")
    html = elspeth.run({**settings, "output_sink": "<b>"})._repr_html_()
    assert "<td>to &lt;b&gt;</td><td>2</td>" in html
    assert "<b>" not in html
