"""Outputs that are objects replace only what they may replace."""

from __future__ import annotations

import pytest

from elspeth.objects.address import ObjectPath
from elspeth.objects.errors import ObjectChangedError, ObjectStoreError
from elspeth.outputs.policy import OutputRefusedError
from elspeth.outputs.uploads import Upload, begin_upload, is_there_already
from tests.fixtures.object_store import Bucket, Failure

DATABASE = b"SQLite format 3\0" + bytes(100)


def begin(bucket: Bucket, *, force: bool = False) -> Upload:
    return begin_upload(ObjectPath(bucket.url("out/x.csv")), is_there_already(force=force))


@pytest.mark.parametrize(
    ("content", "force", "problem"),
    [
        (b"", False, None),
        (b"x", False, "is there already: name another key, or use --force"),
        (b"x", True, None),
        (DATABASE, True, "is a SQLite database, which --force does not replace: move it away"),
    ],
)
def test_an_existing_object_is_replaced_if_it_may_be(
    bucket: Bucket, content: bytes, force: bool, problem: str | None
) -> None:
    bucket.put("out/x.csv", content)
    if problem is not None:
        with pytest.raises(OutputRefusedError) as refused:
            begin(bucket, force=force)
        assert str(refused.value) == f"{bucket.url('out/x.csv')}: {problem}"
        return
    with begin(bucket, force=force).file() as file:
        file.write_bytes(b"new")
    assert (bucket.get("out/x.csv"), file.parent.exists()) == (b"new", False)


def test_an_object_that_appears_meanwhile_is_kept(bucket: Bucket) -> None:
    upload = begin(bucket, force=True)
    bucket.put("out/x.csv", "mine")
    with pytest.raises(ObjectChangedError), upload.file() as file:
        file.write_bytes(b"new")
    assert (bucket.get("out/x.csv"), file.parent.exists()) == (b"mine", False)


def test_missing_write_access_is_reported_before_the_work(bucket: Bucket) -> None:
    bucket.server.fail(Failure(method="POST", part="uploads", status=403, code="AccessDenied"))
    with pytest.raises(ObjectStoreError, match="denies access"):
        begin(bucket)
