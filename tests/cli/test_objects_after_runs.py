"""Exports, reports and checkpoints that runs leave as objects."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.evidence.format.signatures import PRIVATE_KEY, PUBLIC_KEY, KeyType, generate_keys
from tests.fixtures.object_store import Bucket, Failure

Captured = pytest.CaptureFixture[str]
Tree = dict[str, Any]

FAILED = "Amazon S3 answers: as the test wants"
DENIED = "Amazon S3 denies access: check the credentials, and what they are allowed to do"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a key that signs checkpoints."""
    directory = tmp_path_factory.mktemp("keys")
    generate_keys(directory, KeyType.ED25519)
    return directory


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    Path("in.csv").write_text("id,kind\n1,x\n2,y\n")


def settings_of(**landscape: object) -> Tree:
    return {
        "datasource": {"plugin": "csv", "options": {"path": "in.csv"}},
        "sinks": {"rest": {"plugin": "csv", "options": {"path": "rest.csv"}}},
        "output_sink": "rest",
        "landscape": {"url": "sqlite:///audit.db", **landscape},
    }


def run(settings: Tree, *more: str) -> int:
    Path("settings.yaml").write_text(yaml.safe_dump(settings))
    return main(["run", "-s", "settings.yaml", "--execute", *more])


def runs() -> list[tuple[object, ...]]:
    with LandscapeDB.from_url("sqlite:///audit.db") as db, db.connection() as connection:
        return [tuple(row) for row in connection.exec_driver_sql("SELECT status, export_status FROM runs")]


# -- exports ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["{run_id}.zip", "run.jsonl.gz"])
def test_a_run_exports_to_an_object(bucket: Bucket, capsys: Captured, name: str) -> None:
    assert run(settings_of(export={"path": bucket.url(name)}), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    key = name.format(run_id=told["run_id"])
    assert (bucket.listed(), told["export_path"]) == ([key], bucket.url(key))
    assert list(Path.cwd().glob("elspeth-*")) == []
    assert main(["verify", bucket.url(key)]) == 1
    assert "CONSISTENT BUT UNSIGNED" in capsys.readouterr().err
    assert main(["explain", "--row", "1", "--from", bucket.url(key)]) == 0
    assert main(["import", bucket.url(key), "-d", "again.db"]) == 0


def test_an_export_may_take_the_path_of_a_sink(bucket: Bucket) -> None:
    settings = settings_of(export={"enabled": True, "sink": "evidence", "format": "jsonl"})
    settings["sinks"]["evidence"] = {"plugin": "jsonl", "options": {"path": bucket.url("run.jsonl")}}
    assert run(settings) == 0
    assert (bucket.get("run.jsonl") or b"").count(b"\n") > 10


@pytest.mark.parametrize(
    ("taken", "denied", "problem"),
    [
        ("mine", "", "{}: is there already: name another key, or use --force"),
        (None, "HEAD", "{}: cannot be written: " + DENIED),
        (None, "POST", "{}: cannot be written: " + DENIED),
    ],
)
def test_an_export_that_cannot_be_written_stops_the_command_before_there_is_a_run(
    bucket: Bucket, capsys: Captured, taken: str | None, denied: str, problem: str
) -> None:
    if taken is not None:
        bucket.put("run.jsonl", taken)
    bucket.server.fail(Failure(method=denied, times=100, status=403, code="AccessDenied"))
    assert run(settings_of(export={"path": bucket.url("run.jsonl")})) != 0
    assert problem.format(bucket.url("run.jsonl")) in capsys.readouterr().err
    assert (runs() if Path("audit.db").exists() else [], Path("rest.csv").exists()) == ([], False)
    assert bucket.get("run.jsonl") == (None if taken is None else taken.encode())


def test_force_replaces_an_object_by_an_export(bucket: Bucket) -> None:
    bucket.put("run.jsonl", "mine")
    assert run(settings_of(export={"path": bucket.url("run.jsonl")}), "--force") == 0
    assert (bucket.get("run.jsonl") or b"").startswith(b"{")


@pytest.mark.parametrize("fault", ["fails", "another"])
def test_an_upload_that_fails_leaves_a_complete_run_to_be_exported_again(
    bucket: Bucket, capsys: Captured, fault: str
) -> None:
    address = bucket.url("run.zip")
    failure = Failure(method="PUT", code="InternalError")
    if fault == "another":
        failure = Failure(method="PUT", before=lambda: bucket.put("run.zip", "another"))
    bucket.server.fail(failure)
    assert run(settings_of(export={"path": address})) == 1
    problem = FAILED if fault == "fails" else "was made, changed or removed by another program"
    assert f"{address}: {problem}" in capsys.readouterr().err
    assert runs() == [("completed", "failed")]
    assert bucket.get("run.zip") == (b"another" if fault == "another" else None)
    assert Path("rest.csv").exists()
    if fault == "fails":
        assert main(["export", "latest", "-d", "audit.db", "-o", address]) == 0


@pytest.mark.parametrize(
    ("landscape", "problem"),
    [
        ({"export": {"path": "s3://b/run"}}, "landscape.export.path: s3://b/run: the form csv is a directory, and an"),
        ({"export": {"path": "s3://b/run", "format": "bag"}}, "landscape.export.path: s3://b/run: the form bag is a"),
        ({"export": {"path": "s3://b/"}}, "landscape.export.path: 's3://b/' names no object"),
        ({"export": {"path": "s3://b/x.zip"}, "report": {"path": "s3://b/x.zip"}}, "is also that of landscape.export"),
        ({"report": {"path": "s3://b/a/"}}, "landscape.report.path: 's3://b/a/' names a directory"),
        ({"log": {"key": "k", "after_run": [{"file": "s3:///"}]}}, "landscape.log.after_run[0].file: 's3:///{run_id}'"),
    ],
)
@pytest.mark.usefixtures("object_server")
def test_settings_of_objects_that_cannot_be_are_refused(landscape: Tree, problem: str, capsys: Captured) -> None:
    assert run(settings_of(**landscape)) == 2
    assert problem in capsys.readouterr().err


# -- reports ---------------------------------------------------------------------------------------------------------


def test_a_report_replaces_an_earlier_one_and_nothing_else(bucket: Bucket, capsys: Captured) -> None:
    settings = settings_of(report={"path": bucket.url("run.html")})
    assert [run(settings), run(settings)] == [0, 0]
    assert (bucket.get("run.html") or b"").startswith(b"<!doctype html>")
    assert bucket.url("run.html") in capsys.readouterr().out
    bucket.put("run.html", "mine")
    assert run(settings) == 0
    assert f"warning: the report could not be written: {bucket.url('run.html')}: is not a report, which a new one" in (
        capsys.readouterr().err
    )
    assert (bucket.listed(), bucket.get("run.html")) == (["run.html"], b"mine")


def test_the_command_writes_reports_to_objects(bucket: Bucket, capsys: Captured) -> None:
    assert run(settings_of()) == 0
    command = ["report", "latest", "-d", "audit.db", "-o", bucket.url("run.html"), "--json"]
    capsys.readouterr()
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["path"], told["size_bytes"]) == (bucket.url("run.html"), len(bucket.get("run.html") or b""))
    bucket.put("run.html", "mine")
    assert main(command) == 1
    assert f"{bucket.url('run.html')}: is not a report, which a new one may replace" in capsys.readouterr().err
    assert [main([*command, "--force"]), main(["report", "--viewer", "-o", bucket.url("viewer.html")])] == [0, 0]
    assert bucket.listed() == ["run.html", "viewer.html"]
    assert (bucket.get("run.html") or b"").startswith(b"<!doctype html>")


def test_reports_and_checkpoints_that_cannot_be_written_are_named_first_and_fail_no_run(
    bucket: Bucket, capsys: Captured, keys: Path
) -> None:
    log = {"key": str(keys / PRIVATE_KEY), "after_run": [{"file": bucket.url("kept/")}]}
    bucket.server.fail(Failure(method="POST", times=2, status=403, code="AccessDenied"))
    assert run(settings_of(report={"path": bucket.url("{run_id}.html")}, log=log)) == 0
    checkpoint = bucket.url("kept/{run_id}.checkpoint")
    assert capsys.readouterr().err.startswith(
        f"warning: landscape.log.after_run[0].file: {checkpoint}: cannot be written: {DENIED}\n"
        f"warning: landscape.report.path: {bucket.url('{run_id}.html')}: cannot be written: {DENIED}\n"
    )
    assert len(bucket.listed()) == 2


# -- checkpoints -----------------------------------------------------------------------------------------------------


@pytest.fixture
def logged(bucket: Bucket, keys: Path) -> Tree:
    """Return settings that leave the newest checkpoint in an object."""
    return settings_of(log={"key": str(keys / PRIVATE_KEY), "after_run": [{"file": bucket.url("log.checkpoint")}]})


def check(bucket: Bucket, keys: Path) -> int:
    Path("kept.checkpoint").write_bytes(bucket.get("log.checkpoint") or b"")
    public = str(keys / PUBLIC_KEY)
    return main(["landscape", "log", "check", "-d", "audit.db", "--against", "kept.checkpoint", "--key", public])


def test_each_run_replaces_the_checkpoint_before_and_removes_its_time_stamp(
    bucket: Bucket, logged: Tree, keys: Path
) -> None:
    assert run(logged) == 0
    first = bucket.get("log.checkpoint")
    bucket.put("log.checkpoint.tsr", b"\x30\x04\x30\x02\x05\x00")
    assert run(logged) == 0
    assert check(bucket, keys) == 0
    assert (bucket.listed(), bucket.get("log.checkpoint") != first) == (["log.checkpoint"], True)


def test_a_run_that_is_slower_reads_the_checkpoint_of_the_faster_one(bucket: Bucket, logged: Tree, keys: Path) -> None:
    assert run(logged) == 0
    first = bucket.get("log.checkpoint") or b""
    bucket.delete("log.checkpoint")
    bucket.server.fail(Failure(method="PUT", before=lambda: bucket.put("log.checkpoint", first)))
    assert run(logged) == 0
    assert bucket.get("log.checkpoint") != first
    assert check(bucket, keys) == 0


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("foreign", "expected a signed note"),
        ("x" * (300 << 10), "is too large"),
        ("ahead", "the log does not begin"),
    ],
)
def test_what_must_be_kept_is_not_written_over(
    bucket: Bucket, logged: Tree, capsys: Captured, content: str, problem: str
) -> None:
    if content == "ahead":
        assert run(logged) == 0
        shutil.copy("audit.db", "earlier.db")
        assert run(logged) == 0
        for each in Path.cwd().glob("audit.db*"):
            each.unlink()
        shutil.copy("earlier.db", "audit.db")
    else:
        bucket.put("log.checkpoint", content)
    before = bucket.get("log.checkpoint")
    assert run(logged, "--force") == 0
    assert problem in capsys.readouterr().err.partition("is overdue: ")[2]
    assert bucket.get("log.checkpoint") == before
