"""Runs that keep contents in an object store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.objects.errors import ObjectStoreError
from tests.engine.pipelines import build, execute, graph_settings, groups_of, trail
from tests.fixtures.object_store import Bucket, Failure
from tests.fixtures.workers import InlineWorkers

ROWS = [{"id": number, "text": f"row {number}"} for number in range(6)]
GATE = {"name": "g", "condition": "row['id'] > 3", "routes": {"true": "high", "false": "continue"}}


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings_of(tmp_path: Path, bucket: Bucket) -> dict[str, Any]:
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    return graph_settings(
        tmp_path,
        [],
        "high",
        datasource={"plugin": "jsonl", "options": {"path": str(tmp_path / "in.jsonl")}},
        gates=[GATE],
        payload_store={"base_path": bucket.url("payloads")},
    )


def references(directory: Path) -> set[str]:
    """Return all references to contents in the newest trail."""
    records = [record for each in trail(directory).values() for record in each]
    return {value for each in records for name, value in each.items() if name.endswith("_ref") and value is not None}


def kept(bucket: Bucket) -> set[str]:
    return {key.rpartition("/")[2] for key in bucket.listed() if key.startswith("payloads/")}


@pytest.mark.parametrize("workers", [None, InlineWorkers(count=2)], ids=["alone", "shared"])
def test_a_run_stores_each_content_with_one_request(
    tmp_path: Path, bucket: Bucket, workers: InlineWorkers | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups_of(monkeypatch, 2)
    execute(build(tmp_path, settings_of(tmp_path, bucket)), workers=workers)
    assert len(references(tmp_path)) > len(ROWS)
    assert kept(bucket) == references(tmp_path)
    writes = [each for each in bucket.server.requests if each.startswith("PUT")]
    assert len(writes) == len(references(tmp_path))


def test_contents_are_shown_and_exported_unless_they_were_altered(
    tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(build(tmp_path, settings_of(tmp_path, bucket)))
    export = ["export", "latest", "-d", "audit.db", "-o", "bag.zip", "--include-contents"]
    assert main(["explain", "--row", "1", "-d", "audit.db", "--show"]) == 0
    assert '"text": "row 1"' in capsys.readouterr().out
    assert main([*export, "--payloads", bucket.url("elsewhere")]) == 0
    told = f"contents  0, {len(kept(bucket))} that records name are not in {bucket.url('elsewhere')}\n"
    assert told in capsys.readouterr().out
    reference = next(each["source_data_ref"] for each in trail(tmp_path)["row"] if each["row_index"] == 1)
    key = f"payloads/{reference[:2]}/{reference}"
    bucket.put(key, '{"id":1,"text":"another row"}')
    for command in (["explain", "--row", "1", "-d", "audit.db", "--show"], [*export, "-o", "other.zip"]):
        assert main(command) == 1
        assert f"payload {bucket.url(key)}: expected SHA-256 {reference}" in capsys.readouterr().err
    assert not Path("other.zip").exists()


def test_a_run_whose_store_fails_stops_and_can_be_resumed(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups_of(monkeypatch, 2)
    pipeline = build(tmp_path, settings_of(tmp_path, bucket))
    keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
    bucket.server.fail(Failure(method="PUT", part="payloads/", skip=4, times=100, code="InternalError"))
    with LandscapeDB.from_url(pipeline.settings.landscape.url) as db:
        with pytest.raises(ObjectStoreError, match="Amazon S3 answers: as the test wants") as caught:
            Orchestrator(db, pipeline, keys).run()
        assert any("To go on from row 2: elspeth resume" in note for note in caught.value.__notes__)
        bucket.server.failures.clear()
        assert references(tmp_path) <= kept(bucket)
        assert any(bucket.url("payloads/") in (each["error_message"] or "") for each in trail(tmp_path)["operation"])
        run_id = trail(tmp_path)["run"][0]["run_id"]
        Orchestrator(db, build(tmp_path, settings_of(tmp_path, bucket)), keys).resume(run_id)
    assert references(tmp_path) <= kept(bucket)
    assert len(trail(tmp_path)["row"]) == len(ROWS)


def test_a_store_that_cannot_be_written_stops_the_command_before_there_is_a_run(
    tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    build(tmp_path, settings_of(tmp_path, bucket))
    bucket.server.fail(Failure(method="POST", status=403, code="AccessDenied"))
    assert main(["run", "-s", "settings.yaml", "-x"]) == 1
    err = capsys.readouterr().err
    assert f"{bucket.url('payloads')}/" in err
    assert "Amazon S3 denies access" in err
    with LandscapeDB.from_url("sqlite:///audit.db") as db, db.connection() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM runs").scalar_one() == 0
