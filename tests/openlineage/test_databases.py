"""Events of runs in a database of each kind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.core.landscape.database.run_log import read_log
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.sealing.log_check import check_log
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.openlineage.files import database_records, export_records
from tests.engine.pipelines import build, csv_settings
from tests.fixtures.landscapes import NewLandscape
from tests.openlineage.receiver import receiving
from tests.openlineage.specification import assert_valid
from tests.openlineage.test_events import events_of


def test_databases_of_both_kinds_record_what_events_need_and_unsent_events(
    new_landscape: NewLandscape,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "in.csv").write_text("id,kind\n1,x\n2,y\n")
    with new_landscape() as db:
        with receiving(503) as catalogue:
            settings = csv_settings(tmp_path) | {"openlineage": {"transport": catalogue.transport()}}
            pipeline = build(tmp_path, settings)
            keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
            result = Orchestrator(db, pipeline, keys).run()
        assert result.unsent_events == ["2 of 2 lineage events were not sent: the server answered 503"]
        with db.connection() as connection:
            assert check_log(connection).faults == ()
            entries = [json.loads(text) for _, text in read_log(connection)]
        assert [entry["entry"] for entry in entries if entry.get("run_id")] == ["begun", "ended", "not_sent"]
        records = database_records(db, result.run_id)
        write_export(db, result.run_id, tmp_path / "bag", format=ExportFormat.BAG)
    assert main(["verify", str(tmp_path / "bag")]) == 1  # unsigned
    assert re.search(r"^10 log of runs +ok ", capsys.readouterr().err, re.MULTILINE)
    told: list[int] = []
    events, exported = events_of(records), events_of(export_records(tmp_path / "bag", told.append))
    assert told, "of the progress"
    for event in events:
        assert_valid(event)
    facets = [each[-1]["run"]["facets"]["elspeth_evidence"] for each in (events, exported)]
    assert facets[0].pop("seal")["record_count"] == facets[1].pop("bag")["record_count"]
    assert events == exported
    assert [each["outputFacets"]["outputStatistics"]["rowCount"] for each in events[-1]["outputs"]] == [1, 1]
