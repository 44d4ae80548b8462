"""An export takes the place of an export, and of nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from elspeth.core.landscape.exporting.files import export_policy
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.outputs.policy import problem_with
from tests.fixtures.rich_run import export_to

FILES = (ExportFormat.JSON, ExportFormat.JSONL)
DIRECTORIES = (ExportFormat.CSV, ExportFormat.PARQUET)


@pytest.mark.parametrize("old", FILES)
@pytest.mark.parametrize("new", FILES)
@pytest.mark.parametrize("key", [None, b"key"])
def test_a_file_is_known_by_its_first_record(
    tmp_path: Path, old: ExportFormat, new: ExportFormat, key: bytes | None
) -> None:
    path = export_to(tmp_path / "export", old, signing_key=key)
    assert problem_with(path, export_policy(new)) is None


@pytest.mark.parametrize("old", DIRECTORIES)
@pytest.mark.parametrize("new", DIRECTORIES)
def test_a_directory_is_known_by_its_names_and_its_manifest(
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
def test_what_is_no_export_is_replaced_only_by_force(tmp_path: Path, form: ExportFormat, content: bytes) -> None:
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
def test_a_directory_that_is_no_export_is_never_replaced(
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
