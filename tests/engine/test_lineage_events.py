"""Runs send lineage events with the client of OpenLineage."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.run_log import Happening, append_entry, read_log
from elspeth.core.landscape.sealing.log_check import check_log
from elspeth.core.settings import SettingsError
from elspeth.engine.errors import RunInterruptedError, TooManyFailuresError
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.reporting import Observer, RunResult
from elspeth.engine.resuming import abandon_run
from tests.engine.pipelines import build, csv_settings, execute, trail
from tests.openlineage.receiver import receiving
from tests.openlineage.specification import assert_valid
from tests.openlineage.test_events import events_in

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def _settings(directory: Path, transport: Json, **sections: object) -> Json:
    (directory / "in.csv").write_text("id,kind\n1,x\n2,y\n3,y\n")
    section = {"transport": transport, "namespace": "shop", "deadline_seconds": 5}
    return {**csv_settings(directory), "openlineage": section, **sections}


def _url(directory: Path) -> str:
    return f"sqlite:///{directory / 'audit.db'}"


def _logged(directory: Path) -> list[Json]:
    """Return the events that the log records as not sent."""
    with LandscapeDB.from_url(_url(directory), create_tables=False) as db, db.connection() as connection:
        assert check_log(connection).faults == ()
        entries = [json.loads(text) for _, text in read_log(connection)]
    return [entry for entry in entries if entry["entry"] == "not_sent"]


def _assert_unsent(directory: Path, result: RunResult, problem: str) -> None:
    """Require a complete run with one problem, told and recorded."""
    assert list(result.unsent_events) == [problem]
    assert trail(directory)["run"][0]["status"] == "completed"
    [entry] = _logged(directory)
    assert (entry["problem"], entry["what"], entry["run_id"]) == (problem, "openlineage", result.run_id)


def test_the_sent_events_are_those_that_are_exported(tmp_path: Path) -> None:
    with receiving() as catalogue:
        result = execute(build(tmp_path, _settings(tmp_path, catalogue.transport())))
    assert [each["eventType"] for each in catalogue.events] == ["START", "COMPLETE"]
    assert catalogue.events == events_in(_url(tmp_path))
    assert result.unsent_events == []
    assert _logged(tmp_path) == []
    for event in catalogue.events:
        assert_valid(event)
        assert event["job"]["namespace"] == "shop"
        assert event["job"]["name"] == f"{tmp_path.name}.settings"


def test_a_stopped_and_resumed_run_sends_an_event_for_each_process(tmp_path: Path) -> None:
    with receiving() as catalogue:
        settings = _settings(tmp_path, catalogue.transport(), checkpoint={"frequency": "every_row"})
        stops = iter([False, False])
        with pytest.raises(RunInterruptedError):
            execute(build(tmp_path, settings), Observer(is_stopped=lambda: next(stops, True)))
        settings["openlineage"]["parent"] = "airflow/orders/0193c8f2-0f1e-7e6a-9a53-1d7f0d1b2c3d"
        pipeline = build(tmp_path, settings)
        with LandscapeDB.from_url(_url(tmp_path)) as db:
            keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
            Orchestrator(db, pipeline, keys).resume(trail(tmp_path)["run"][0]["run_id"])
    assert [each["eventType"] for each in catalogue.events] == ["START", "ABORT", "RUNNING", "COMPLETE"]
    assert catalogue.events == events_in(_url(tmp_path))
    times = [each["eventTime"] for each in catalogue.events]
    assert times == sorted(times)
    problems = [each["run"]["facets"].get("errorMessage", {}).get("message", "") for each in catalogue.events]
    assert [bool(each) for each in problems] == [False, True, False, False]
    assert problems[1].startswith("RunInterruptedError: ")
    for event in catalogue.events:
        assert_valid(event)


def test_failed_and_abandoned_runs_send_fail_events(tmp_path: Path) -> None:
    with receiving() as catalogue:
        settings = _settings(tmp_path, catalogue.transport(), fail_if={"quarantined": 0})
        (tmp_path / "in.csv").write_text("id,kind\n1,x,\n")
        with pytest.raises(TooManyFailuresError):
            execute(build(tmp_path, settings))
        assert catalogue.events == events_in(_url(tmp_path))
        assert_valid(catalogue.events[-1])
        message = catalogue.events[-1]["run"]["facets"]["errorMessage"]["message"]
        assert message.startswith("TooManyFailuresError: ")
        assert all(each["outputFacets"] == {} for each in catalogue.events[-1]["outputs"]), "nothing was published"
        catalogue.events.clear()
        settings = _settings(tmp_path, catalogue.transport(), checkpoint={"frequency": "every_row"})
        stops = iter([False, False])
        with pytest.raises(RunInterruptedError) as caught:
            execute(build(tmp_path, settings), Observer(is_stopped=lambda: next(stops, True)))
        run_id = next(note.split()[1] for note in caught.value.__notes__ if note.startswith("Run "))
        pipeline = build(tmp_path, settings)
        with LandscapeDB.from_url(_url(tmp_path)) as db:
            keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
            assert abandon_run(db, pipeline.settings, keys, run_id) == []
    assert [each["eventType"] for each in catalogue.events] == ["START", "ABORT", "FAIL"]
    assert catalogue.events[-1] == events_in(_url(tmp_path), run_id)[-1]


def test_a_run_without_a_kept_database_sends_its_end_too(tmp_path: Path) -> None:
    with receiving() as catalogue:
        settings = _settings(tmp_path, catalogue.transport(), landscape={"enabled": False, "url": _url(tmp_path)})
        execute(build(tmp_path, settings))
        (tmp_path / "in.csv").write_text("id,kind\n1,x,\n")
        with pytest.raises(TooManyFailuresError):
            execute(build(tmp_path, {**settings, "fail_if": {"quarantined": 0}}), force=True)
    assert [each["eventType"] for each in catalogue.events] == ["START", "COMPLETE", "START", "FAIL"]


def test_a_server_that_never_answers_delays_a_run_at_most_until_the_deadline(tmp_path: Path) -> None:
    with receiving(None) as catalogue:
        settings = _settings(tmp_path, catalogue.transport(timeout=60))
        settings["openlineage"]["deadline_seconds"] = 0.2
        result = execute(build(tmp_path, settings))
    _assert_unsent(tmp_path, result, "2 of 2 lineage events were not sent: there was no answer within 0.2 s")


def test_an_unreachable_server_is_one_problem(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://me:hidden@127.0.0.1:{unused.getsockname()[1]}"
        settings = _settings(tmp_path, {"type": "http", "url": url, "retry": {"total": 0}})
        environ = {"ELSPETH_ALLOW_RAW_SECRETS": "true"}
        result = execute(build(tmp_path, settings), environ=environ)
    _assert_unsent(tmp_path, result, "2 of 2 lineage events were not sent: ConnectionError: Connection refused")


def test_entries_about_a_run_that_never_began_are_faults(tmp_path: Path) -> None:
    with LandscapeDB.from_url(_url(tmp_path)) as db:
        with db.write_transaction() as connection:
            append_entry(connection, Happening.NOT_SENT, problem="late", run_id="ghost", what="openlineage")
            append_entry(connection, Happening.SENT, run_id="ghost", what="openlineage")
        with db.connection() as connection:
            faults = check_log(connection).faults
    assert list(map(str, faults)) == [
        "log of runs: entry 1: something of run 'ghost' was not sent, but it had not begun",
        "log of runs: entry 2: something of run 'ghost' was sent, but it had not begun",
    ]


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_failed_run_records_unsent_events(tmp_path: Path, *, is_kept: bool) -> None:
    with receiving(500) as catalogue:
        landscape = {"enabled": is_kept, "url": _url(tmp_path)}
        settings = _settings(tmp_path, catalogue.transport(), fail_if={"quarantined": 0}, landscape=landscape)
        (tmp_path / "in.csv").write_text("id,kind\n1,x,\n")
        with pytest.raises(TooManyFailuresError) as caught:
            execute(build(tmp_path, settings))
    assert "2 of 2 lineage events were not sent: the server answered 500." in caught.value.__notes__


@pytest.mark.parametrize("what", ["made", "logged"])
def test_errors_while_making_or_logging_events_fail_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("the disk is full")

    place = "openlineage.files.database_records" if what == "made" else "engine.lineage_events.append_entry"
    monkeypatch.setattr(f"elspeth.{place}", fail)
    with receiving(500) as catalogue:
        result = execute(build(tmp_path, _settings(tmp_path, catalogue.transport())))
    if what == "made":
        _assert_unsent(tmp_path, result, "a lineage event was not made: OSError")
    else:
        problem = "2 of 2 lineage events were not sent: the server answered 500; this could not be recorded: OSError"
        assert (list(result.unsent_events), _logged(tmp_path)) == ([problem], [])


def test_secrets_of_a_transport_are_sent_and_never_recorded(tmp_path: Path) -> None:
    with receiving() as catalogue:
        transport = catalogue.transport(
            auth={"type": "api_key", "apiKey": "hush-1"}, custom_headers={"X-Api-Key": "hush-2"}
        )
        settings = _settings(tmp_path, transport)
        execute(build(tmp_path, settings), environ={"ELSPETH_FINGERPRINT_KEY": "k" * 32})
    assert catalogue.headers["authorization"] == "Bearer hush-1"
    assert catalogue.headers["x-api-key"] == "hush-2"
    assert b"hush" not in (tmp_path / "audit.db").read_bytes()
    assert "hush" not in json.dumps(catalogue.events)
    recorded = json.loads(trail(tmp_path)["run"][0]["settings_json"])["openlineage"]["transport"]
    assert recorded["auth"]["apiKey"].startswith("hmac-sha256:")
    assert recorded["custom_headers"]["X-Api-Key"].startswith("hmac-sha256:")


def test_other_transports_of_the_client_work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "events.ndjson"
    transports = [{"type": "file", "log_file_path": str(file), "append": True}, {"type": "console"}]
    execute(build(tmp_path, _settings(tmp_path, {"type": "composite", "transports": transports})))
    events = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert events == events_in(_url(tmp_path))
    console = [each for each in caplog.messages if each.startswith("{")]
    assert [json.loads(each) for each in console] == events


@pytest.mark.parametrize(
    ("transport", "problem"),
    [
        ({"type": "http"}, "openlineage.transport: cannot be used: RuntimeError: `url` key not passed to HttpConfig"),
        ({"type": "http", "url": "nowhere"}, "openlineage.transport: cannot be used: ValueError: Need valid url"),
        ({"type": "pigeon"}, "openlineage.transport: cannot be used: "),
    ],
)
def test_a_transport_that_cannot_be_made_stops_the_run_before_it_begins(
    tmp_path: Path, transport: Json, problem: str
) -> None:
    pipeline = build(tmp_path, _settings(tmp_path, transport))
    with pytest.raises(SettingsError) as caught:
        execute(pipeline)
    assert problem in str(caught.value)
    with LandscapeDB.from_url(_url(tmp_path)) as db, db.connection() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM runs").scalar() == 0
