"""The export after a run."""

import hmac
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from elspeth.contracts.events import event_of
from elspeth.engine.reporting import ExportFailedError, Observer, Phase
from elspeth.evidence.format.compression import open_decompressed
from elspeth.outputs.compression import Compression, find_compression
from tests.engine.pipelines import Settings, build, csv_settings, execute, run, trail
from tests.fixtures.ids import ID


def exporting(tmp_path: Path, *, sign: bool = False) -> Settings:
    (tmp_path / "in.csv").write_text("id,kind\n1,x\n2,y\n")
    settings = csv_settings(tmp_path)
    settings["sinks"]["trail"] = {"plugin": "json", "options": {"path": str(tmp_path / "out" / "trail.json")}}
    settings["landscape"]["export"] = {"enabled": True, "sink": "trail", "format": "json", "sign": sign}
    return settings


def exported(tmp_path: Path) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads((tmp_path / "out" / "trail.json").read_text())
    return records


def test_the_trail_is_written_to_the_path_of_its_sink(tmp_path: Path) -> None:
    result, records = run(tmp_path, exporting(tmp_path))
    *found, manifest = exported(tmp_path)
    assert manifest["record_type"] == "manifest"
    assert result.export_path == str(tmp_path / "out" / "trail.json")
    assert result.exported_records == len(found) == manifest["record_count"]
    assert {record["run_id"] for record in found} == {result.run_id}
    assert len(found) == sum(map(len, records.values()))
    assert [sink for sink in result.rows_by_sink] == ["rest", "x"]  # noqa: C416
    (recorded,) = records["run"]
    assert (recorded["export_status"], recorded["export_format"], recorded["export_sink"]) == (
        "completed",
        "json",
        "trail",
    )


@pytest.mark.parametrize(
    ("path", "compress", "kind"),
    [
        ("trail.jsonl", "gzip", Compression.GZIP),
        ("trail.jsonl.zst", None, Compression.ZSTD),
    ],
)
def test_the_trail_is_compressed_as_the_settings_say(
    tmp_path: Path, path: str, compress: str | None, kind: Compression
) -> None:
    settings = exporting(tmp_path)
    settings["landscape"]["export"] = {"enabled": True, "path": str(tmp_path / path), "compress": compress}
    del settings["sinks"]["trail"]
    result, records = run(tmp_path, settings)
    assert find_compression(tmp_path / path) is kind
    with open_decompressed(tmp_path / path) as file:
        *found, _ = file.read().splitlines()
    assert len(found) == result.exported_records
    (recorded,) = records["run"]
    assert recorded["export_format"] == "jsonl"


def test_a_signed_trail_is_signed_with_the_key_from_the_environment(tmp_path: Path) -> None:
    run(tmp_path, exporting(tmp_path, sign=True), environ={"ELSPETH_SIGNING_KEY": "a key of 16 bytes"})
    for record in exported(tmp_path):
        signature = record.pop("signature")
        text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        if not any(isinstance(value, float) for value in record.values()):
            assert signature == hmac.new(b"a key of 16 bytes", text.encode(), "sha256").hexdigest()


def test_progress_of_the_export_is_shown(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    execute(build(tmp_path, exporting(tmp_path)), Observer(on_progress=lambda *each: told.append(each)))
    *records, _ = exported(tmp_path)
    assert told[-1] == (len(records), len(records))


def test_an_export_that_is_asked_to_stop_leaves_the_run_complete(tmp_path: Path) -> None:
    begun: list[Phase] = []
    observer = Observer(on_phase=begun.append, is_stopped=lambda: Phase.EXPORT in begun)
    with pytest.raises(ExportFailedError, match=rf"run {ID} is complete, but cannot be exported: interrupted"):
        execute(build(tmp_path, exporting(tmp_path)), observer)
    (recorded,) = trail(tmp_path)["run"]
    assert (recorded["status"], recorded["export_status"]) == ("completed", "failed")
    assert not list((tmp_path / "out").glob("*trail.json*"))


def test_an_export_that_is_interrupted_is_recorded_as_failed(tmp_path: Path) -> None:
    begun: list[Phase] = []

    def interrupt() -> bool:
        if Phase.EXPORT in begun:
            raise KeyboardInterrupt
        return False

    with pytest.raises(ExportFailedError, match="interrupted"):
        execute(build(tmp_path, exporting(tmp_path)), Observer(on_phase=begun.append, is_stopped=interrupt))
    (recorded,) = trail(tmp_path)["run"]
    assert (recorded["status"], recorded["export_status"]) == ("completed", "failed")


def test_an_export_that_cannot_be_written_leaves_the_run_complete_and_says_so(tmp_path: Path) -> None:
    settings = exporting(tmp_path)
    path = tmp_path / "out" / "trail.json"
    with pytest.raises(ExportFailedError) as caught:
        execute(build(tmp_path, settings), Observer(on_rows=lambda _: path.mkdir()))
    (recorded,) = trail(tmp_path)["run"]
    reason = f"{path}: expected the path of a file, got that of a directory"
    assert str(caught.value) == f"run {recorded['run_id']} is complete, but cannot be exported: {reason}"
    assert (recorded["status"], recorded["export_status"]) == ("completed", "failed")
    assert recorded["export_error"] == f"OutputRefusedError: {reason}"
    assert (tmp_path / "out" / "x.csv").exists()


def test_an_export_is_logged_with_its_place_and_its_records(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "out" / "trail.json"
    with caplog.at_level(logging.INFO, "elspeth.events"):
        execute(build(tmp_path, exporting(tmp_path)))
    count = len(exported(tmp_path)) - 1
    (event,) = [each for record in caplog.records if (each := event_of(record)) and each.name == "run_exported"]
    assert f"{count:,} records were exported to {path}" in caplog.messages
    assert {**event.facts, "run_id": None} == {"run_id": None, "path": str(path), "records": count}


def test_values_in_the_error_of_an_export_are_withheld(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise OSError(28, "Zqxjkv")

    monkeypatch.setattr("elspeth.engine.run_export.write_export", fail)
    with pytest.raises(ExportFailedError) as caught:
        execute(build(tmp_path, exporting(tmp_path)))
    (recorded,) = trail(tmp_path)["run"]
    place = f"raised at {__name__} line {fail.__code__.co_firstlineno + 1}"
    assert recorded["export_error"] == f"OSError: No space left on device, {place}"
    assert f"the export failed: {recorded['export_error']}" in caplog.messages
    assert isinstance(caught.value.__cause__, OSError)
