"""Lineage events that were not sent can be sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from sqlalchemy import insert

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.run_log import read_log
from elspeth.core.landscape.queries.unsent import read_unsent_events
from elspeth.core.landscape.sealing.log_check import check_log
from elspeth_schema.tables import run_log_table
from tests.fixtures.landscapes import NewLandscape
from tests.openlineage.receiver import Receiver, receiving
from tests.openlineage.test_events import events_in

Captured = pytest.CaptureFixture[str]

DATABASE = "sqlite:///audit.db"
SEND = ("landscape", "send-events", "-s", "settings.yaml")


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("id\n1\n")


def run(catalogue: Receiver) -> int:
    """Run a pipeline that sends to a catalogue."""
    settings = {
        "datasource": {"plugin": "csv", "options": {"path": "in.csv"}},
        "sinks": {"out": {"plugin": "csv", "options": {"path": "out-{run_id}.csv"}}},
        "output_sink": "out",
        "landscape": {"url": DATABASE},
        "openlineage": {"transport": catalogue.transport()},
    }
    Path("settings.yaml").write_text(yaml.safe_dump(settings))
    return main(["run", "-s", "settings.yaml", "--execute"])


def status(capsys: Captured) -> tuple[str, list[dict[str, str]]]:
    """Return the text, and the JSON of unsent events."""
    capsys.readouterr()
    assert main(["landscape", "status", "-d", "audit.db"]) == 0
    text = capsys.readouterr().out
    assert main(["landscape", "status", "-d", "audit.db", "--json"]) == 0
    return text, json.loads(capsys.readouterr().out)["unsent_events"]


def test_events_that_were_not_sent_are_sent_by_one_command(capsys: Captured) -> None:
    with receiving(503) as catalogue:
        assert [run(catalogue), run(catalogue)] == [0, 0]
        text, unsent = status(capsys)
        assert [each["problem"] for each in unsent] == [
            "2 of 2 lineage events were not sent: the server answered 503"
        ] * 2
        assert f"events not sent  run {unsent[0]['run_id']}: 2 of 2 lineage events were not sent" in text
        assert "elspeth landscape send-events -s SETTINGS" in text
        assert main([*SEND]) == 1, "nothing was sent, and the first run is told"
        assert capsys.readouterr().err == (
            f"run {unsent[0]['run_id']}: 2 of 2 lineage events were not sent: the server answered 503\n"
            "the events of 0 runs were sent, of 2 not\n"
        )
        catalogue.status = 201
        assert main([*SEND, "--json"]) == 0
        sent = [each["run_id"] for each in unsent]
        assert json.loads(capsys.readouterr().out) == {"sent": sent, "not_sent": [], "problem": None}
        assert catalogue.events == [event for run_id in sent for event in events_in(DATABASE, run_id)]
        assert status(capsys)[1] == []
        assert main([*SEND]) == 0
        assert capsys.readouterr().err == "the events of 0 runs were sent, of 0 not\n"
        assert len(catalogue.events) == 4
    with LandscapeDB.from_url(DATABASE, create_tables=False) as db, db.connection() as connection:
        assert check_log(connection).faults == ()
        entries = [json.loads(text)["entry"] for _, text in read_log(connection)]
    assert entries[-4:] == ["ended", "not_sent", "sent", "sent"]


def test_settings_without_a_transport_are_refused(capsys: Captured) -> None:
    with receiving(503) as catalogue:
        run(catalogue)
    settings = yaml.safe_load(Path("settings.yaml").read_text())
    del settings["openlineage"]
    Path("settings.yaml").write_text(yaml.safe_dump(settings))
    assert main([*SEND]) == 2
    assert "settings.yaml sends no events: give it a section openlineage" in capsys.readouterr().err


def test_only_the_newest_of_many_runs_are_in_the_text(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elspeth.cli.commands.landscape._LISTED", 1)
    with receiving(503) as catalogue:
        assert [run(catalogue), run(catalogue)] == [0, 0]
    text, unsent = status(capsys)
    assert unsent[0]["run_id"] not in text
    assert unsent[1]["run_id"] in text
    assert "and 1 earlier, in the JSON form" in text
    monkeypatch.setattr("elspeth.cli.commands.landscape._LISTED", 2)
    assert "earlier" not in status(capsys)[0]


def test_runs_whose_events_were_sent_or_that_are_gone_are_not_listed(new_landscape: NewLandscape) -> None:
    from elspeth.core.landscape.database.run_log import Happening, append_entry  # noqa: PLC0415
    from elspeth.core.landscape.recording.recorder import LandscapeRecorder  # noqa: PLC0415

    with new_landscape() as db:
        for run_id in ("again", "sent", "unsent"):
            LandscapeRecorder(db).begin_run({}, "1", run_id=run_id)
        with db.write_transaction() as connection:
            for run_id, happening in (
                ("unsent", Happening.NOT_SENT),
                ("sent", Happening.NOT_SENT),
                ("again", Happening.NOT_SENT),
                ("gone", Happening.NOT_SENT),
                ("sent", Happening.SENT),
                ("again", Happening.SENT),
                ("again", Happening.NOT_SENT),
            ):
                more = {"problem": f'{run_id}: "entry":"sent"'} if happening is Happening.NOT_SENT else {}
                append_entry(connection, happening, run_id=run_id, what="openlineage", **more)
            altered = '{"entry":"not_sent", "run_id":'
            connection.execute(insert(run_log_table).values(position=99, entry_json=altered))
        with db.connection() as connection:
            assert [each.run_id for each in read_unsent_events(connection)] == ["unsent", "again"]
