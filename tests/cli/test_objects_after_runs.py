"""Exports, reports and checkpoints that runs leave as objects."""

from __future__ import annotations

import gzip
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

REPORT = b'<!doctype html>\n<meta name="generator" content="elspeth 0">'

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


def test_a_run_exports_to_an_object(bucket: Bucket, capsys: Captured) -> None:
    assert run(settings_of(export={"path": bucket.url("{run_id}.zip")}), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    key = f"{told['run_id']}.zip"
    assert (bucket.listed(), told["export_path"]) == ([key], bucket.url(key))
    assert list(Path.cwd().glob("elspeth-*")) == []
    assert main(["verify", bucket.url(key)]) == 1
    assert "CONSISTENT BUT UNSIGNED" in capsys.readouterr().err


def test_force_lets_an_export_replace_an_object_even_that_of_a_sink(bucket: Bucket) -> None:
    bucket.put("run.jsonl.gz", "mine")
    settings = settings_of(export={"enabled": True, "sink": "evidence"})
    settings["sinks"]["evidence"] = {"plugin": "jsonl", "options": {"path": bucket.url("run.jsonl.gz")}}
    assert run(settings, "--force") == 0
    assert gzip.decompress(bucket.get("run.jsonl.gz") or b"").count(b"\n") > 10


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


def test_an_upload_that_fails_leaves_a_complete_run(bucket: Bucket, capsys: Captured) -> None:
    address = bucket.url("run.zip")
    bucket.server.fail(Failure(method="PUT", code="InternalError"))
    assert run(settings_of(export={"path": address})) == 1
    assert f"{address}: {FAILED}" in capsys.readouterr().err
    assert (runs(), bucket.listed(), Path("rest.csv").exists()) == ([("completed", "failed")], [], True)


@pytest.mark.parametrize(
    ("landscape", "problem"),
    [
        (
            {"export": {"path": "s3://b/run"}},
            "landscape.export.path: s3://b/run: the format csv is a directory, and an",
        ),
        ({"export": {"path": "s3://b/run", "format": "bag"}}, "landscape.export.path: s3://b/run: the format bag is a"),
        ({"export": {"path": "s3://b/"}}, "landscape.export.path: 's3://b/' names no object"),
        ({"export": {"path": "s3://b/x.zip"}, "report": {"path": "s3://b/x.zip"}}, "is also that of landscape.export"),
        ({"report": {"path": "s3://b/a/"}}, "landscape.report.path: 's3://b/a/' names a directory"),
        ({"log": {"key": "k", "after_run": [{"file": "s3:///"}]}}, "landscape.log.after_run[0].file: 's3:///{run_id}'"),
    ],
)
@pytest.mark.usefixtures("object_server")
def test_impossible_settings_of_objects_are_refused(landscape: Tree, problem: str, capsys: Captured) -> None:
    assert run(settings_of(**landscape)) == 2
    assert problem in capsys.readouterr().err


# -- reports ---------------------------------------------------------------------------------------------------------


def test_a_report_replaces_an_earlier_one_and_nothing_else(bucket: Bucket, capsys: Captured) -> None:
    settings, address = settings_of(report={"path": bucket.url("run.html")}), bucket.url("run.html")
    bucket.put("run.html", REPORT)
    assert run(settings) == 0
    assert address in capsys.readouterr().out
    assert len(bucket.get("run.html") or b"") > len(REPORT)
    bucket.put("run.html", "mine")
    assert run(settings) == 0
    problem = f"{address}: is not a report, which a new one may replace"
    assert f"warning: the report could not be written: {problem}" in capsys.readouterr().err
    assert main(["report", "latest", "-d", "audit.db", "-o", address]) == 1
    assert problem in capsys.readouterr().err
    assert bucket.get("run.html") == b"mine"
    assert main(["report", "latest", "-d", "audit.db", "-o", address, "--force", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["path"], told["size_bytes"]) == (address, len(bucket.get("run.html") or b""))
    assert bucket.listed() == ["run.html"]


def test_unwritable_reports_and_checkpoints_are_named_first_and_fail_no_run(
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


def test_a_checkpoint_replaces_the_earlier_one_unless_the_log_was_restored(
    bucket: Bucket, logged: Tree, keys: Path, capsys: Captured
) -> None:
    assert run(logged) == 0
    first = bucket.get("log.checkpoint") or b""
    shutil.copy("audit.db", "earlier.db")
    bucket.put("log.checkpoint.tsr", b"\x30\x04\x30\x02\x05\x00")  # the time-stamp of the one before
    bucket.delete("log.checkpoint")
    bucket.server.fail(Failure(method="PUT", before=lambda: bucket.put("log.checkpoint", first)))  # a faster run
    assert run(logged) == 0
    second = bucket.get("log.checkpoint") or b""
    assert (bucket.listed(), second != first) == (["log.checkpoint"], True)
    kept = ["--against", bucket.url("log.checkpoint"), "--key", str(keys / PUBLIC_KEY)]
    assert main(["landscape", "log", "check", "-d", "audit.db", *kept]) == 0
    for each in Path.cwd().glob("audit.db*"):
        each.unlink()
    shutil.copy("earlier.db", "audit.db")
    capsys.readouterr()
    assert run(logged, "--force") == 0
    assert "the log does not begin with the" in capsys.readouterr().err.partition("is overdue: ")[2]
    assert bucket.get("log.checkpoint") == second


def test_an_object_that_is_not_a_checkpoint_is_not_overwritten(bucket: Bucket, logged: Tree, capsys: Captured) -> None:
    problems = {"foreign": "expected a signed note", "large": "is too large for a checkpoint"}
    for key in problems:
        bucket.put(key, "x" * (300 << 10 if key == "large" else 1))
    logged["landscape"]["log"]["after_run"] = [{"file": bucket.url(key)} for key in problems]
    assert run(logged) == 0
    warnings = capsys.readouterr().err
    for key, problem in problems.items():
        assert f"the checkpoint for {bucket.url(key)} is overdue: {bucket.url(key)}: {problem}" in warnings
        assert set(bucket.get(key) or b"") == {ord("x")}
