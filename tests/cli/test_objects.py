"""Commands that read and write objects of S3."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from elspeth.cli import main
from tests.engine.pipelines import csv_settings, run
from tests.fixtures.object_store import Bucket, Failure

DENIED = "Amazon S3 denies access: check the credentials, and what they are allowed to do"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the database of a run."""
    directory = tmp_path_factory.mktemp("run")
    (directory / "in.csv").write_text("id,kind\n1,x\n2,y\n")
    run(directory, csv_settings(directory))
    return str(directory / "audit.db")


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def copies() -> list[Path]:
    return list(Path.cwd().glob("elspeth-*"))


def test_a_compressed_export_in_a_bucket_is_read_and_its_copy_removed(
    bucket: Bucket, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = bucket.url("run.jsonl.gz")
    assert main(["export", "latest", "-d", database, "-o", lines]) == 0
    assert lines in capsys.readouterr().out
    assert main(["explain", "--row", "0", "--from", lines, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["row"]["row_index"] == 0
    assert copies() == []


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["verify", "{}/gone.zip"], 1, "{}/gone.zip: there is no such object, or no such bucket"),
        (["verify", "{}/denied.zip"], 1, "{}/denied.zip: " + DENIED),
        (["verify", "hdfs://b/x.zip"], 2, "unknown scheme 'hdfs': expected one of s3://, gs://, az://, abfs://,"),
        (["import", "s3://bucket", "-d", "x.db"], 2, "'s3://bucket' names no object: expected s3://bucket/key"),
        (
            ["export", "latest", "-o", "{}/run"],
            2,
            "-o {}/run: the format csv is a directory, and an object is one file",
        ),
        (["export", "latest", "-o", "{}/taken.zip"], 1, "{}/taken.zip: is there already: name another key, or use --f"),
        (["export", "latest", "-o", "{}/denied.zip"], 1, "{}/denied.zip: " + DENIED),
    ],
)
def test_objects_that_cannot_be_read_or_written_are_named(  # noqa: PLR0917
    bucket: Bucket, database: str, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, problem: str
) -> None:
    bucket.put("taken.zip", "mine")
    bucket.server.fail(Failure(method="HEAD", part="denied.zip", status=403, code="AccessDenied"))
    where = f"s3://{bucket.name}"
    more = ["-d", database, "--format", "csv"] if arguments[-1] == "{}/run" else ["-d", database]
    given = [each.format(where) for each in arguments] + (more if arguments[0] == "export" else [])
    assert main(given) == code
    assert problem.format(where) in capsys.readouterr().err
    assert (bucket.listed(), bucket.get("taken.zip"), copies()) == (["taken.zip"], b"mine", [])


def test_lineage_events_are_exported_to_a_bucket(
    bucket: Bucket, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    events = ["export", "latest", "-d", database, "--format", "openlineage", "-o", bucket.url("events.ndjson")]
    assert main(events) == 0
    assert json.loads((bucket.get("events.ndjson") or b"").splitlines()[0])["eventType"] == "START"
    assert main(events) == 1
    assert "events.ndjson: is there already: name another key, or use --force" in capsys.readouterr().err


def test_a_page_without_data_replaces_an_object_only_by_force(
    bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    page = bucket.url("viewer.html")
    assert main(["report", "--viewer", "-o", page]) == 0
    written = bucket.get("viewer.html") or b""
    assert capsys.readouterr().out == f"viewer   {page}\nSHA-256  {hashlib.sha256(written).hexdigest()}\n"
    bucket.put("viewer.html", "mine")
    assert main(["report", "--viewer", "-o", page]) == 1
    assert capsys.readouterr() == ("", f"error: {page}: is there already: name another key, or use --force\n")
    assert bucket.get("viewer.html") == b"mine"
    assert main(["report", "--viewer", "-o", page, "--force"]) == 0
    assert bucket.get("viewer.html") == written


@pytest.mark.parametrize(
    "arguments",
    [
        ["landscape", "prune", "-d", "audit.db", "--before", "2100-01-01", "--archive", "s3://b/bags"],
        ["keys", "generate", "-o", "s3://b/keys"],
        ["prove", "bag.zip", "row", "x", "-o", "s3://b/proof.json"],
        ["landscape", "log", "checkpoint", "-d", "audit.db", "--key", "key.pem", "-o", "s3://b/log.checkpoint"],
        ["landscape", "log", "cosign", "s3://b/log.checkpoint", "-o", "x", "--key", "k", "--name", "n", "--state", "s"],
        ["settings", "convert", "-s", "settings.yaml", "-o", "s3://b/new.yaml"],
        ["verify", "bag.zip", "--key", "s3://b/key.pem"],
        ["run", "-s", "s3://b/settings.yaml"],
    ],
)
def test_an_address_where_a_local_path_is_expected_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    address = next(each for each in arguments if each.startswith("s3://"))
    (tmp_path / "settings.yaml").touch()
    assert main(arguments) == 2
    assert f"expected a local path, got the address of an object: {address}" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["settings.yaml"]


def test_force_replaces_an_export(bucket: Bucket, database: str, capsys: pytest.CaptureFixture[str]) -> None:
    bucket.put("run.jsonl", "mine")
    assert main(["export", "latest", "-d", database, "-o", bucket.url("run.jsonl"), "--force"]) == 0
    assert (bucket.get("run.jsonl") or b"").startswith(b"{")
    bucket.put("run.jsonl", "SQLite format 3\0")
    assert main(["export", "latest", "-d", database, "-o", bucket.url("run.jsonl"), "--force"]) == 1
    assert "is a SQLite database, which --force does not replace: move it away" in capsys.readouterr().err


def test_versions_are_shown_beside_hashes(tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]) -> None:
    bucket.keep_versions()
    bucket.put("in.csv", "id,kind\n1,x\n")
    settings = csv_settings(tmp_path)
    settings["datasource"]["options"]["path"] = bucket.url("in.csv")
    settings["sinks"]["x"]["options"]["path"] = bucket.url("x.csv")
    run(tmp_path, settings)
    read, written = bucket.version("in.csv"), bucket.version("x.csv")

    def shown(*arguments: str) -> str:
        assert main([*arguments, "-d", "audit.db"]) == 0
        return capsys.readouterr().out

    listed = json.loads(shown("outputs", "latest", "--json"))["outputs"]
    assert {each["sink"]: each["object_version"] for each in listed}["x"] == written
    assert f" {written}" in shown("outputs", "latest")
    assert f"version {read}" in shown("explain", "--row", "0")
    assert read in shown("explain", "--row", "0", "--json")
    shown("report", "latest", "-o", "run.html")
    page = Path("run.html").read_text(encoding="utf-8")
    assert re.search(rf"version <code[^>]*>{re.escape(read)}</code>", page)
    assert re.search(rf"version <code[^>]*>{re.escape(written)}</code>", page)


def test_an_output_of_a_run_is_checked_and_found_in_its_bucket(
    tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text("id,kind\n1,x\n")
    settings = csv_settings(tmp_path)
    settings["sinks"]["x"]["options"]["path"] = bucket.url("x.csv")
    result, _ = run(tmp_path, settings)

    def states() -> dict[str, str]:
        main(["outputs", "latest", "-d", "audit.db", "--check", "--json"])
        return {each["sink"]: each["state"] for each in json.loads(capsys.readouterr().out)["outputs"]}

    assert states()["x"] == "unchanged"
    assert main(["outputs", "-d", "audit.db", "--file", bucket.url("x.csv")]) == 0
    assert result.run_id in capsys.readouterr().out
    bucket.put("x.csv", "mine")
    assert states()["x"] == "changed"
    bucket.delete("x.csv")
    assert states()["x"] == "missing"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda tree: tree["sinks"]["x"]["options"].update(path="s3://b/in.csv"), "sinks.x.options.path: the object"),
        (
            lambda tree: tree.update(rate_limit={"persistence_path": "s3://b/x.db"}),
            "rate_limit.persistence_path: expected a local path, got the address of an object",
        ),
        (lambda tree: tree["sinks"]["x"]["options"].update(path="hdfs://b/x"), "sinks.x.options.path: unknown scheme"),
        (lambda tree: tree["sinks"]["x"]["options"].update(path="s3://b/a/"), "sinks.x.options.path: 's3://b/a/' name"),
        (
            lambda tree: tree.update(payload_store={"base_path": "s3://b"}),
            "payload_store.base_path: 's3://b' names no object: expected s3://bucket/key",
        ),
        (
            lambda tree: (
                tree.update(payload_store={"base_path": "s3://b/in.csv/p"})
                or tree["datasource"]["options"].update(path="s3://b/in.csv")
            ),
            "payload_store.base_path: the address 's3://b/in.csv/p' lies below that of datasource: give each its own",
        ),
    ],
)
@pytest.mark.usefixtures("object_server")
def test_settings_with_unusable_addresses_are_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, object]], None],
    problem: str,
) -> None:
    settings = csv_settings(tmp_path)
    settings["datasource"]["options"]["path"] = "s3://b/*.csv"
    change(settings)
    Path("settings.yaml").write_text(json.dumps(settings))
    assert main(["validate", "-s", "settings.yaml"]) == 2
    assert problem in capsys.readouterr().err


def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("elspeth.contracts.environment.find_spec", lambda _: None)
    settings = csv_settings(tmp_path)
    settings["sinks"]["x"]["options"]["path"] = "s3://b/x.csv"
    Path("settings.yaml").write_text(json.dumps(settings))
    needs = "Amazon S3 needs s3fs, which is not installed: in a checkout of elspeth, pip install '.[s3]'"
    for arguments in (["validate", "-s", "settings.yaml"], ["verify", "s3://b/x.zip"]):
        assert main(arguments) == 2
        assert needs in capsys.readouterr().err
