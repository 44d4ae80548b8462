"""Runs that read and write objects of S3."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from elspeth.contracts.plugins import PluginError
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.engine.errors import ResumeError
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.reporting import Observer, RunResult
from elspeth.outputs.policy import OutputRefusedError
from tests.engine.pipelines import Settings, assert_sound, build, csv_settings, execute, run, trail
from tests.fixtures.object_store import Bucket, Failure

ROWS = "id,kind\n1,x\n2,y\n"
X = b"id,kind\n1,x\n"
DENIED = "Amazon S3 denies access: check the credentials, and what they are allowed to do"
UNKNOWN = "is not an output that the audit database names: move it away, or use --force"


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: Bucket) -> None:
    monkeypatch.chdir(tmp_path)
    bucket.put("in.csv", ROWS)


def settings_of(tmp_path: Path, bucket: Bucket) -> Settings:
    settings = csv_settings(tmp_path)
    settings["datasource"]["options"]["path"] = bucket.url("in.csv")
    settings["sinks"]["x"]["options"]["path"] = bucket.url("out/x.csv")
    return settings


def resumed(tmp_path: Path, settings: Settings) -> RunResult:
    """Resume the newest run."""
    pipeline = build(tmp_path, settings)
    with LandscapeDB.from_url(settings["landscape"]["url"]) as db:
        run_id = LandscapeRecorder(db).list_runs()[0].run_id
        keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
        return Orchestrator(db, pipeline, keys).resume(run_id)


def staged() -> list[Path]:
    return list(Path(".elspeth/staging").glob(".*"))


def puts(bucket: Bucket) -> int:
    """Count the requests that stored the output."""
    return sum(each.startswith(f"PUT /{bucket.name}/out/x.csv") for each in bucket.server.requests)


# -- reading ---------------------------------------------------------------------------------------------------------


def test_a_run_reads_and_writes_objects(tmp_path: Path, bucket: Bucket) -> None:
    bucket.keep_versions()
    bucket.put("in.csv", ROWS)
    _, records = run(tmp_path, settings_of(tmp_path, bucket))
    assert bucket.listed() == ["in.csv", "out/x.csv"]
    assert bucket.get("out/x.csv") == X
    (read,) = records["source_input"]
    assert (read["input_type"], read["path_or_uri"]) == ("object", bucket.url("in.csv"))
    assert (read["content_hash"], read["size_bytes"]) == (hashlib.sha256(ROWS.encode()).hexdigest(), len(ROWS))
    (written,) = [each for each in records["artifact"] if each["path_or_uri"] == bucket.url("out/x.csv")]
    assert written["content_hash"] == bucket.metadata("out/x.csv")["x-amz-meta-sha256"] == hashlib.sha256(X).hexdigest()
    assert read["object_version"] == bucket.version("in.csv")
    assert bucket.version("out/x.csv") in {each["object_version"] for each in records["operation"]}
    assert staged() == []
    run(tmp_path, settings_of(tmp_path, bucket))  # an earlier output may be replaced


def jsonl() -> bytes:
    return gzip.compress(b'{"kind": "x"}\n')


def parquet() -> bytes:
    pyarrow, file = import_module("pyarrow"), io.BytesIO()
    import_module("pyarrow.parquet").write_table(pyarrow.table({"kind": ["x"]}), file)
    return file.getvalue()


@pytest.mark.parametrize("content", [jsonl, parquet], ids=["jsonl", "parquet"])
def test_a_source_reads_the_objects_of_a_pattern(tmp_path: Path, bucket: Bucket, content: Callable[[], bytes]) -> None:
    keys = ["parts/1.x", "parts/2/3.x"]
    for key in [*keys, "parts/2/.hidden.x", "parts/3.y"]:
        bucket.put(key, content() if key in keys else "no row")
    options = {"path": bucket.url("parts/**/*.x"), "file_field": "file"}
    source = {"plugin": content.__name__, "options": options}
    _, records = run(tmp_path, settings_of(tmp_path, bucket) | {"datasource": source})
    read = [bucket.url(key) for key in keys]
    assert [each["path_or_uri"] for each in records["source_input"]] == read
    assert [each["object_version"] for each in records["source_input"]] == [bucket.version(key) for key in keys]
    written = bucket.get("out/x.csv")
    assert written is not None
    assert [line.split(",")[-1] for line in written.decode().splitlines()] == ["file", *read]


def test_every_object_that_cannot_be_read_is_named_before_the_first_row(tmp_path: Path, bucket: Bucket) -> None:
    settings = settings_of(tmp_path, bucket)
    paths = [bucket.url("gone.csv"), bucket.url("*.json"), "s3://no-such-bucket/*.csv", bucket.url("in.csv")]
    settings["datasource"]["options"]["path"] = paths
    bucket.server.fail(Failure(method="HEAD", part="in.csv", status=403, code="AccessDenied"))
    with pytest.raises(PluginError) as caught:
        execute(build(tmp_path, settings))
    assert str(caught.value).split("; ") == [
        f"no file matches '{bucket.url('*.json')}'",
        "s3://no-such-bucket/*.csv cannot be listed: there is no such object, or no such bucket",
        f"{bucket.url('gone.csv')} cannot be read: there is no such object, or no such bucket",
        f"{bucket.url('in.csv')} cannot be read: {DENIED}",
    ]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_object_that_is_replaced_while_it_is_read_stops_the_run(tmp_path: Path, bucket: Bucket, method: str) -> None:
    """Replaced before its content is asked for, or after."""
    settings = settings_of(tmp_path, bucket)
    settings["datasource"]["plugin"] = "jsonl"
    bucket.put("in.csv", '{"id": 1, "kind": "x"}')

    def replace() -> None:
        bucket.put("in.csv", '{"id": 2, "kind": "x"}')

    after = "" if method == "GET" else f"GET /{bucket.name}/in.csv"
    bucket.server.fail(Failure(method=method, part="in.csv", after=after, before=replace))
    with pytest.raises(PluginError) as caught:
        execute(build(tmp_path, settings))
    assert str(caught.value).startswith(f"{bucket.url('in.csv')} cannot be read: it was replaced while it was read")
    assert bucket.listed() == ["in.csv"]


def test_a_resumed_run_refuses_another_object(tmp_path: Path, bucket: Bucket) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    settings = settings_of(tmp_path, bucket)
    with pytest.raises(KeyboardInterrupt):
        execute(build(tmp_path, settings), Observer(on_rows=stop))
    bucket.put("in.csv", ROWS.replace("y", "z"))
    with pytest.raises(ResumeError, match=r"row 1 has the hash"):
        resumed(tmp_path, settings)
    bucket.put("in.csv", ROWS)
    assert resumed(tmp_path, settings).rows == 2
    assert bucket.get("out/x.csv") == X


# -- writing ---------------------------------------------------------------------------------------------------------


def test_an_object_that_no_run_wrote_is_refused_before_the_first_row(tmp_path: Path, bucket: Bucket) -> None:
    settings = settings_of(tmp_path, bucket)
    bucket.put("out/x.csv", "mine")
    with pytest.raises(OutputRefusedError) as refused:
        execute(build(tmp_path, settings))
    assert str(refused.value) == f"{bucket.url('out/x.csv')}: {UNKNOWN}"
    assert not any(each.startswith(f"GET /{bucket.name}/in.csv") for each in bucket.server.requests)
    assert bucket.get("out/x.csv") == b"mine"
    execute(build(tmp_path, settings), force=True)
    assert bucket.get("out/x.csv") == X
    bucket.put("out/x.csv", X + b"3,corrected by hand\n")
    with pytest.raises(OutputRefusedError, match=r"x\.csv: is not as run \w+ wrote it"):
        execute(build(tmp_path, settings))
    bucket.put("out/x.csv", "-----BEGIN PRIVATE KEY-----")
    with pytest.raises(OutputRefusedError, match=r"x\.csv: is a key, which --force does not replace"):
        execute(build(tmp_path, settings), force=True)


def test_an_output_without_rows_is_replaced_like_others(tmp_path: Path, bucket: Bucket) -> None:
    settings = settings_of(tmp_path, bucket)
    settings["sinks"]["x"]["plugin"] = "json"
    for content in ("1,y\n", "2,y\n"):
        bucket.put("in.csv", f"id,kind\n{content}")
        execute(build(tmp_path, settings))
        assert bucket.get("out/x.csv") == b"[]\n"


def test_missing_write_access_is_reported_before_the_first_row(tmp_path: Path, bucket: Bucket) -> None:
    bucket.server.fail(Failure(method="POST", part="uploads", status=403, code="AccessDenied"))
    with pytest.raises(PluginError) as caught:
        execute(build(tmp_path, settings_of(tmp_path, bucket)))
    assert str(caught.value) == f"{bucket.url('out/x.csv')} cannot be written: {DENIED}"
    assert not any(each.startswith(f"GET /{bucket.name}/in.csv") for each in bucket.server.requests)
    assert (bucket.listed(), staged()) == (["in.csv"], [])


def test_an_upload_that_dies_is_repeated_by_the_resumed_run(tmp_path: Path, bucket: Bucket) -> None:
    settings = settings_of(tmp_path, bucket)
    bucket.server.fail(Failure(method="PUT", part="x.csv", code="InternalError"))
    with pytest.raises(PluginError) as caught:
        execute(build(tmp_path, settings))
    (left,) = staged()
    problem = f"{bucket.url('out/x.csv')} cannot be stored: Amazon S3 answers: as the test wants"
    kept = f"Rows that were recorded as written are kept in {left}."
    assert [problem, kept] == [*str(caught.value).splitlines(), *caught.value.__notes__][:2]
    assert bucket.listed() == ["in.csv"]
    resumed(tmp_path, settings)
    assert (bucket.get("out/x.csv"), staged()) == (X, [])
    assert_sound(trail(tmp_path), status="completed", resumed=True)


def test_an_upload_whose_answer_was_lost_is_confirmed_by_the_resumed_run(tmp_path: Path, bucket: Bucket) -> None:
    settings = settings_of(tmp_path, bucket)
    bucket.server.fail(Failure(method="PUT", part="x.csv", code="InternalError", forwards=True))
    with pytest.raises(PluginError, match="cannot be stored"):
        execute(build(tmp_path, settings))
    before = puts(bucket)
    resumed(tmp_path, settings)
    assert (bucket.get("out/x.csv"), puts(bucket), staged()) == (X, before, [])
    assert bucket.version("out/x.csv") in {each["object_version"] for each in trail(tmp_path)["operation"]}


@pytest.mark.parametrize("meanwhile", [None, b"[ ]\n"], ids=["as_it_was", "changed"])
def test_an_output_without_rows_whose_answer_was_lost_is_judged_by_the_one_to_replace_it(
    tmp_path: Path, bucket: Bucket, meanwhile: bytes | None
) -> None:
    """Neither an artifact nor an operation names it yet."""
    settings = settings_of(tmp_path, bucket)
    settings["sinks"]["x"]["plugin"] = "json"
    bucket.put("in.csv", "id,kind\n1,y\n")
    bucket.server.fail(Failure(method="PUT", part="x.csv", code="InternalError", forwards=True))
    with pytest.raises(PluginError, match="cannot be stored"):
        execute(build(tmp_path, settings))
    assert bucket.get("out/x.csv") == b"[]\n"
    if meanwhile is None:
        resumed(tmp_path, settings)
        assert_sound(trail(tmp_path), status="completed", resumed=True)
    else:
        bucket.put("out/x.csv", meanwhile)
        with pytest.raises(OutputRefusedError, match=r"x\.csv: is not an output"):
            resumed(tmp_path, settings)
        assert bucket.get("out/x.csv") == meanwhile


def test_an_object_that_another_program_stores_meanwhile_is_kept(tmp_path: Path, bucket: Bucket) -> None:
    settings = settings_of(tmp_path, bucket)
    bucket.server.fail(Failure(method="PUT", part="x.csv", before=lambda: bucket.put("out/x.csv", "mine")))
    with pytest.raises(PluginError, match="was made or changed by another program during the run, and is left unchang"):
        execute(build(tmp_path, settings))
    with pytest.raises(OutputRefusedError):
        resumed(tmp_path, settings)
    assert bucket.get("out/x.csv") == b"mine"
    bucket.delete("out/x.csv")
    resumed(tmp_path, settings)
    assert bucket.get("out/x.csv") == X


def test_credentials_and_the_server_are_not_recorded(tmp_path: Path, bucket: Bucket) -> None:
    run(tmp_path, settings_of(tmp_path, bucket))
    kept = b"".join(each.read_bytes() for each in tmp_path.glob("audit.db*"))
    assert bucket.name.encode() in kept
    for secret in ("test-key-id", "test-secret-access-key", bucket.server.url):
        assert secret.encode() not in kept
