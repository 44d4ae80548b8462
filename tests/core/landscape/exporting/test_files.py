"""Exports as files: their bytes, and what they may replace."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from benchmarks.recording import RUN as RUN_ID
from benchmarks.recording import record_rows
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.errors import RunNotFoundError
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.exporting.files import export_policy, write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.outputs.compression import Compression
from elspeth.outputs.policy import OutputRefusedError, Protected, problem_with
from elspeth.schema.checks import AuditIntegrityError
from tests.fixtures.corruption import plant
from tests.fixtures.records import record_everything
from tests.fixtures.rich_run import export_to

KEYS = pytest.mark.parametrize("key", [None, b"key"], ids=["plain", "signed"])
TEXT_FORMS = pytest.mark.parametrize("form", [ExportFormat.JSON, ExportFormat.JSONL])
EVERY_FORM = pytest.mark.parametrize("form", ExportFormat)


def records_of(landscape: LandscapeDB, key: bytes | None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in LandscapeExporter(landscape, key).export_lines("run", sign=key is not None)]


@KEYS
def test_jsonl_is_a_line_of_canonical_json_per_record(
    landscape: LandscapeDB, recorder: LandscapeRecorder, tmp_path: Path, key: bytes | None
) -> None:
    record_everything(recorder)
    path = tmp_path / "trail.jsonl"
    count = write_export(landscape, "run", path, format=ExportFormat.JSONL, signing_key=key)
    records = records_of(landscape, key)
    assert path.read_bytes() == b"".join(rfc8785.dumps(record) + b"\n" for record in records)
    assert count == len(records) - 1 == records[-1]["record_count"]


@KEYS
def test_json_is_an_array_with_a_line_of_canonical_json_per_record(
    landscape: LandscapeDB, recorder: LandscapeRecorder, tmp_path: Path, key: bytes | None
) -> None:
    record_everything(recorder)
    path = tmp_path / "trail.json"
    count = write_export(landscape, "run", path, format=ExportFormat.JSON, signing_key=key)
    records = records_of(landscape, key)
    assert path.read_bytes() == b"[\n" + b",\n".join(rfc8785.dumps(record) for record in records) + b"\n]\n"
    assert json.loads(path.read_bytes()) == records
    assert count == len(records) - 1


@TEXT_FORMS
def test_an_export_replaces_an_earlier_one(
    landscape: LandscapeDB, recorder: LandscapeRecorder, tmp_path: Path, form: ExportFormat
) -> None:
    record_everything(recorder)
    path = tmp_path / "new" / "trail"
    write_export(landscape, "run", path, format=form)
    recorder.complete_run("run", "completed")
    write_export(landscape, "run", path, format=form)
    assert b'"run_status":"completed"' in path.read_bytes()
    assert list(path.parent.iterdir()) == [path]


@TEXT_FORMS
def test_an_export_that_fails_leaves_the_existing_file(
    landscape: LandscapeDB, recorder: LandscapeRecorder, tmp_path: Path, form: ExportFormat
) -> None:
    record_everything(recorder)
    plant(landscape, "UPDATE transform_errors SET row_hash = 'abc', error_id = 'error'")
    path = tmp_path / "trail"
    old = b'{"record_type":"run","run_id":"old"}\n'
    path.write_bytes(old)
    with pytest.raises(AuditIntegrityError) as caught:
        write_export(landscape, "run", path, format=form)
    assert str(caught.value) == (
        f"audit database {landscape.url}:"
        " transform_errors run_id='run' error_id='error': row_hash: expected text matching ^[0-9a-f]{64}$, got 'abc'"
    )
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


@EVERY_FORM
def test_an_export_that_fails_leaves_no_new_file(
    landscape: LandscapeDB, recorder: LandscapeRecorder, tmp_path: Path, form: ExportFormat
) -> None:
    record_everything(recorder)
    plant(landscape, "UPDATE checkpoints SET aggregation_state_json = '{'")
    with pytest.raises(AuditIntegrityError) as caught:
        write_export(landscape, "run", tmp_path / "trail", format=form)
    assert str(caught.value) == (
        f"audit database {landscape.url}:"
        " checkpoints run_id='run' checkpoint_id='checkpoint': aggregation_state_json:"
        " expected JSON text, or nothing, got '{'"
    )
    with pytest.raises(RunNotFoundError):
        write_export(landscape, "nowhere", tmp_path / "trail", format=form)
    assert list(tmp_path.iterdir()) == []


@EVERY_FORM
def test_progress_counts_records_up_to_the_last(
    landscape: LandscapeDB, recorder: LandscapeRecorder, tmp_path: Path, form: ExportFormat
) -> None:
    record_everything(recorder, rows=700)
    counts: list[int] = []
    total = write_export(landscape, "run", tmp_path / "trail", format=form, progress=counts.append)
    assert counts == sorted(counts)
    assert len(set(counts)) > total // 1000 > 1
    assert counts[-1] == total


@EVERY_FORM
def test_an_export_spares_protected_files_even_by_force(
    landscape: LandscapeDB, recorder: LandscapeRecorder, tmp_path: Path, form: ExportFormat
) -> None:
    record_everything(recorder)
    path = tmp_path / "trail"
    protected = [Protected(path=path, what="the settings")]
    with pytest.raises(OutputRefusedError) as refused:
        write_export(landscape, "run", path, format=form, protected=protected, force=True)
    assert str(refused.value) == f"{path}: is the settings, which no output may touch: name another path"
    assert list(tmp_path.iterdir()) == []


FILES = (ExportFormat.JSON, ExportFormat.JSONL)
DIRECTORIES = (ExportFormat.CSV, ExportFormat.PARQUET)


@pytest.mark.parametrize("old", FILES)
@pytest.mark.parametrize("new", FILES)
@pytest.mark.parametrize("key", [None, b"key"])
def test_a_file_is_recognised_by_its_first_record(
    tmp_path: Path, old: ExportFormat, new: ExportFormat, key: bytes | None
) -> None:
    path = export_to(tmp_path / "export", old, signing_key=key)
    assert problem_with(path, export_policy(new)) is None


@pytest.mark.parametrize("old", DIRECTORIES)
@pytest.mark.parametrize("new", DIRECTORIES)
def test_a_directory_is_recognised_by_its_names_and_manifest(
    tmp_path: Path, old: ExportFormat, new: ExportFormat
) -> None:
    path = export_to(tmp_path / "export", old)
    assert problem_with(path, export_policy(new)) is None
    (path / "notes.txt").write_bytes(b"precious")
    assert (
        problem_with(path, export_policy(new))
        == "is not an export, which a new one may replace: name another directory"
    )
    (path / "notes.txt").unlink()
    (path / "manifest.json").write_bytes(b'{"name":"an app of the web"}\n')
    assert problem_with(path, export_policy(new, force=True)) is not None


RUN = {"record_type": "run", "run_id": "run-1"}


@pytest.mark.parametrize(
    "content",
    [
        b"precious",
        b"\0\xff\xfe",
        b"id,record_type\n1,run\n",
        b"[\n",
        b"[" * 100_000,
        b'"run"\n',
        b"null\n",
        json.dumps(RUN | {"record_type": "row"}).encode(),
        json.dumps({"record_type": "run"}).encode(),
        json.dumps([RUN]).encode(),
    ],
)
@pytest.mark.parametrize("form", FILES)
def test_other_files_are_replaced_only_by_force(tmp_path: Path, form: ExportFormat, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    expected = "is not an export, which a new one may replace: name another file, or use --force"
    assert problem_with(path, export_policy(form)) == expected
    assert problem_with(path, export_policy(form, force=True)) is None


@pytest.mark.parametrize(
    "names",
    [["notes.txt"], ["run.csv"], ["manifest.json"], ["run.csv", "manifest.json"], ["run.csv/x", "manifest.json"]],
)
@pytest.mark.parametrize("form", DIRECTORIES)
@pytest.mark.parametrize("force", [False, True])
def test_a_directory_that_is_not_an_export_is_never_replaced(
    tmp_path: Path, form: ExportFormat, names: list[str], force: bool
) -> None:
    for name in names:
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes(b'{"precious":true}\n')
    expected = "is not an export, which a new one may replace: name another directory"
    assert problem_with(tmp_path / "out", export_policy(form, force=force)) == expected


def test_a_manifest_that_is_a_link_is_not_ours(tmp_path: Path) -> None:
    path = export_to(tmp_path / "export", ExportFormat.CSV)
    (path / "manifest.json").rename(tmp_path / "manifest.json")
    (path / "manifest.json").symlink_to(tmp_path / "manifest.json")
    assert problem_with(path, export_policy(ExportFormat.CSV)) is not None


@pytest.mark.parametrize("form", FILES)
def test_a_bag_replaces_nothing(tmp_path: Path, form: ExportFormat) -> None:
    path = export_to(tmp_path / "export", form)
    expected = "exists already, and evidence is never overwritten: name another path"
    assert problem_with(path, export_policy(ExportFormat.BAG, force=True)) == expected


def test_a_compressed_export_takes_at_most_110_bytes_per_record(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'audit.db'}"
    record_rows(url, 1000)
    with LandscapeDB(url) as db:
        for kind, key in product(Compression, (None, b"key")):
            path = tmp_path / "trail"
            count = write_export(db, RUN_ID, path, format=ExportFormat.JSONL, signing_key=key, compression=kind)
            assert count > 1000
            assert path.stat().st_size <= 110 * count
