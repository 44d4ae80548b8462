"""Staged files that become objects of S3."""

from __future__ import annotations

from pathlib import Path

import pytest

from elspeth.contracts.plugins import PluginError, StagedOutput
from elspeth.objects import base, s3
from elspeth.objects.address import ObjectPath
from elspeth.plugins.csv import CsvSink, CsvSinkOptions
from elspeth.plugins.staging import StagedFile
from tests.fixtures.object_store import Bucket, Failure

CONTENT = b"id,kind\n1,x\n"
FAILED = "Amazon S3 answers: as the test wants"
DENIED = "Amazon S3 denies access: check the credentials, and what they are allowed to do"
CHANGED = (
    "was made or changed by another program during the run, and is left unchanged: move it away, then resume the run"
)


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=["one request", "three parts"])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Return whether outputs are uploaded in parts."""
    if request.param == "three parts":
        for module in (base, s3):
            monkeypatch.setattr(module, "PART", len(CONTENT) // 3)
        monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1)
    return bool(request.param == "three parts")


def staged(bucket: Bucket, content: bytes = CONTENT) -> tuple[StagedFile, StagedOutput]:
    """Return a file that is finished and not published."""
    file = StagedFile(ObjectPath(bucket.url("x.csv")))
    file.open("run1")
    file.write(content)
    return file, file.finish("csv")


def waiting() -> list[Path]:
    return list(Path(".elspeth/staging").glob(".*"))


def reopened(bucket: Bucket, output: StagedOutput) -> StagedFile:
    """Return the file as another process finds it."""
    file = StagedFile(ObjectPath(bucket.url("x.csv")))
    assert not file.confirm("run1", output)
    file.reopen("run1", {"bytes": output.size_bytes, "sha256": output.content_hash})
    assert file.finish("csv") == output
    return file


@pytest.mark.usefixtures("parts")
def test_nothing_is_visible_before_publication(bucket: Bucket) -> None:
    file, output = staged(bucket)
    assert (bucket.listed(), len(waiting())) == ([], 1)
    file.publish()
    file.publish()
    assert (bucket.get("x.csv"), waiting(), bucket.unfinished_uploads()) == (CONTENT, [], 0)
    assert bucket.metadata("x.csv")["x-amz-meta-sha256"] == output.content_hash
    assert file.version() == bucket.version("x.csv")


@pytest.mark.parametrize("dies", ["PUT partNumber=2", "POST x.csv?uploadId", "PUT x.csv"])
def test_an_upload_that_dies_leaves_nothing_visible_and_is_repeated(bucket: Bucket, dies: str, *, parts: bool) -> None:
    if not parts and dies != "PUT x.csv":
        return
    file, output = staged(bucket)
    method, part = dies.split()
    bucket.server.fail(Failure(method=method, part=part, code="InternalError"))
    with pytest.raises(PluginError) as caught:
        file.publish()
    assert str(caught.value) == f"{bucket.url('x.csv')} cannot be stored: {FAILED}"
    assert (bucket.listed(), bucket.unfinished_uploads(), len(waiting())) == ([], 0, 1)
    file.close()
    reopened(bucket, output).publish()
    assert (bucket.get("x.csv"), bucket.unfinished_uploads(), waiting()) == (CONTENT, 0, [])


def test_an_upload_whose_answer_was_lost_is_confirmed(bucket: Bucket, *, parts: bool) -> None:
    file, output = staged(bucket)
    method, part = ("POST", "x.csv?uploadId") if parts else ("PUT", "x.csv")
    bucket.server.fail(Failure(method=method, part=part, code="InternalError", forwards=True))
    with pytest.raises(PluginError, match="cannot be stored"):
        file.publish()
    file.close()
    bucket.server.requests.clear()
    other = StagedFile(ObjectPath(bucket.url("x.csv")))
    assert other.confirm("run1", output)
    assert (other.version(), waiting()) == (bucket.version("x.csv"), [])
    assert {each.split()[0] for each in bucket.server.requests} <= {"HEAD", "GET"}


@pytest.mark.usefixtures("parts")
def test_a_repeated_request_recognises_the_object_of_the_first(bucket: Bucket) -> None:
    file, _ = staged(bucket)
    bucket.server.fail(Failure(method="PUT", part="x.csv", before=lambda: bucket.put("x.csv", CONTENT)))
    file.publish()
    assert (bucket.get("x.csv"), waiting()) == (CONTENT, [])


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("before", [None, b"an earlier output"])
@pytest.mark.parametrize("other", [b"mine", None])
def test_changes_by_another_program_are_not_overwritten(
    bucket: Bucket, before: bytes | None, other: bytes | None
) -> None:
    if before == other:
        return
    if before is not None:
        bucket.put("x.csv", before)
    file, output = staged(bucket)

    def change() -> None:
        if other is None:
            bucket.delete("x.csv")
        else:
            bucket.put("x.csv", other)

    bucket.server.fail(Failure(method="PUT", part="x.csv", before=change))
    with pytest.raises(PluginError) as caught:
        file.publish()
    assert str(caught.value) == f"{bucket.url('x.csv')} {CHANGED}"
    assert (bucket.get("x.csv"), len(waiting()), bucket.unfinished_uploads()) == (other, 1, 0)
    bucket.delete("x.csv")
    file.close()
    reopened(bucket, output).publish()
    assert bucket.get("x.csv") == CONTENT


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "PreconditionFailed"])
def test_a_failed_condition_is_reported_as_a_change_by_another_program(
    bucket: Bucket, code: str, *, parts: bool
) -> None:
    file, _ = staged(bucket)
    status = 409 if code == "ConditionalRequestConflict" else 412
    method, part = ("POST", "x.csv?uploadId") if parts else ("PUT", "x.csv")
    bucket.server.fail(Failure(method=method, part=part, status=status, code=code))
    with pytest.raises(PluginError) as caught:
        file.publish()
    assert str(caught.value) == f"{bucket.url('x.csv')} {CHANGED}"


def test_an_upload_in_parts_is_not_ended_if_another_program_was_faster(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, *, parts: bool
) -> None:
    if not parts:
        return
    monkeypatch.setattr(s3, "_condition", lambda _: {})  # as a store that ignores conditions would
    file, _ = staged(bucket)
    bucket.server.fail(Failure(method="PUT", part="partNumber=2", before=lambda: bucket.put("x.csv", "mine")))
    with pytest.raises(PluginError, match="was made or changed by another program"):
        file.publish()
    assert (bucket.get("x.csv"), bucket.unfinished_uploads()) == (b"mine", 0)


def test_a_compressed_output_has_the_version_of_its_object(bucket: Bucket) -> None:
    sink = CsvSink(CsvSinkOptions.model_validate({"path": bucket.url("x.csv.gz")}))
    sink.open("run1")
    sink.write({"a": 1})
    sink.finish()
    sink.publish()
    assert sink.published_version() == bucket.version("x.csv.gz")


def test_a_file_as_large_as_a_part_is_one_request(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "PART", len(CONTENT))
    file, _ = staged(bucket)
    bucket.server.requests.clear()
    file.publish()
    assert [each.split()[0] for each in bucket.server.requests] == ["HEAD", "PUT"]


@pytest.mark.parametrize("before", [None, b"an earlier output"])
def test_a_change_before_the_upload_is_noticed_without_a_condition(bucket: Bucket, before: bytes | None) -> None:
    if before is not None:
        bucket.put("x.csv", before)
    file, _ = staged(bucket)
    bucket.put("x.csv", "mine")
    bucket.server.requests.clear()
    with pytest.raises(PluginError, match="was made or changed by another program"):
        file.publish()
    assert not any(each.startswith(("PUT", "POST")) for each in bucket.server.requests)


@pytest.mark.parametrize(
    ("status", "code", "problem"),
    [
        (403, "AccessDenied", DENIED),
        (404, "NoSuchBucket", "there is no such object, or no such bucket"),
        (500, "InternalError", FAILED),
    ],
)
def test_missing_write_access_is_reported_on_opening(bucket: Bucket, status: int, code: str, problem: str) -> None:
    bucket.server.fail(Failure(method="POST", part="uploads", status=status, code=code))
    with pytest.raises(PluginError) as caught:
        staged(bucket)
    assert str(caught.value) == f"{bucket.url('x.csv')} cannot be written: {problem}"
    assert (bucket.listed(), bucket.unfinished_uploads(), waiting()) == ([], 0, [])


def test_an_output_that_cannot_be_confirmed_is_an_error(bucket: Bucket) -> None:
    file, output = staged(bucket)
    file.close()
    bucket.server.fail(Failure(method="HEAD", part="x.csv", status=403, code="AccessDenied"))
    with pytest.raises(PluginError) as caught:
        StagedFile(ObjectPath(bucket.url("x.csv"))).confirm("run1", output)
    assert str(caught.value) == f"{bucket.url('x.csv')} cannot be read: {DENIED}"


def test_objects_of_one_name_do_not_share_their_staging() -> None:
    addresses = ("s3://a/x.csv", "s3://b/x.csv", "gs://a/x.csv", "s3://a/y/x.csv")
    places = {StagedFile(ObjectPath(each))._staging_path("run1") for each in addresses}
    assert len(places) == len(addresses)
    assert {place.parent for place in places} == {Path(".elspeth/staging")}


def test_an_object_that_may_not_be_replaced_is_reported_on_opening(bucket: Bucket) -> None:
    bucket.put("x.csv", b"an earlier output")
    bucket.server.fail(Failure(method="POST", part="uploads", status=403, code="AccessDenied"))
    with pytest.raises(PluginError) as caught:
        staged(bucket)
    assert str(caught.value) == f"{bucket.url('x.csv')} cannot be written: {DENIED}"
    assert (bucket.get("x.csv"), waiting()) == (b"an earlier output", [])
