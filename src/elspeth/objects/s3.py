"""Amazon S3, and other stores with its API.

s3fs is used for requests, but not for uploads, because its uploads cannot restrict which object they replace.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from elspeth.objects.address import ObjectPath
from elspeth.objects.base import BLOCK, PART, ObjectState, ObjectStore
from elspeth.objects.errors import ObjectStoreError, named_errors, response_code

__all__ = ["S3Store"]

_MAX_PARTS = 10_000
"""The most parts of an object in S3; each has at least 5 MiB."""

_PAGE = 1000
"""The number of objects that one request lists, the most that S3 allows."""

_CONFLICTS = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchKey", "NoSuchUpload"})
"""Error codes for a conditional request whose condition is not met."""


class S3Files(Protocol):
    """The methods of s3fs's `S3FileSystem` that elspeth uses."""

    def open(self, path: str, mode: str, *, block_size: int) -> BinaryIO:
        """Open an object for reading."""

    def cat_file(self, path: str, **options: object) -> bytes:
        """Return the content of an object."""

    def call_s3(self, method: str, **options: object) -> Mapping[str, object]:
        """Send a request."""


class S3Store(ObjectStore):
    """Amazon S3, and stores with its API.

    An object appears when the last request of its upload succeeds. That request states which object it may replace.
    """

    def __init__(self, files: S3Files) -> None:
        self._files = files

    def _ask_state(self, path: ObjectPath) -> ObjectState:
        head = self._call("head_object", path, ChecksumMode="ENABLED")
        return ObjectState(
            size=int(str(head["ContentLength"])),
            tag=str(head.get("ETag", "")),
            version=_version(head),
            sha256=_full_checksum(head),
            modified=_time(head),
        )

    def _read(self, path: ObjectPath) -> bytes:
        return self._files.cat_file(str(path), max_concurrency=1)

    def check_writable(self, path: ObjectPath) -> None:
        """Raise ObjectStoreError if the object cannot be written.

        Begins an upload and aborts it, which leaves nothing behind.
        """
        with named_errors(path):
            upload = self._call("create_multipart_upload", path)
        with contextlib.suppress(ObjectStoreError), named_errors(path):  # it may be allowed to begin one only
            self._call("abort_multipart_upload", path, UploadId=upload["UploadId"])

    def _content(self, path: ObjectPath, state: ObjectState) -> BinaryIO:  # noqa: ARG002  s3fs asks for it again
        return self._files.open(str(path), "rb", block_size=BLOCK)

    def _listed(self, bucket: ObjectPath, prefix: str, *, deep: bool) -> Iterator[tuple[str, ObjectState]]:
        asked: dict[str, object] = {"Bucket": bucket.bucket, "Prefix": prefix, "MaxKeys": _PAGE}
        if not deep:
            asked["Delimiter"] = "/"
        while True:
            page = self._files.call_s3("list_objects_v2", **asked)
            for each in cast("Sequence[Mapping[str, object]]", page.get("Contents", ())):
                state = ObjectState(size=int(str(each["Size"])), tag=str(each["ETag"]), modified=_time(each))
                yield str(each["Key"]), state
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def _write(self, path: ObjectPath, content: bytes, sha256: str, replacing: ObjectState | None) -> ObjectState:
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        described = {"Metadata": {"sha256": sha256}, "ChecksumAlgorithm": "SHA256", "ChecksumSHA256": checksum}
        with _conflicts(path):
            answer = self._call("put_object", path, Body=content, **described, **_condition(replacing))
        return _stored(answer, len(content))

    def _delete(self, path: ObjectPath) -> None:
        self._call("delete_object", path)

    def _upload_parts(self, path: ObjectPath, file: Path, sha256: str, replacing: ObjectState | None) -> ObjectState:
        """Upload a file in parts.

        A crash leaves invisible parts, which the bucket's rule for unfinished uploads removes.
        """
        with _conflicts(path):
            answer = self._send_parts(path, file, sha256, replacing)
        return _stored(answer, file.stat().st_size)

    def _send_parts(
        self, path: ObjectPath, file: Path, sha256: str, replacing: ObjectState | None
    ) -> Mapping[str, object]:
        upload = self._call("create_multipart_upload", path, Metadata={"sha256": sha256})["UploadId"]
        try:
            parts = [
                {
                    "PartNumber": number,
                    "ETag": self._call("upload_part", path, UploadId=upload, PartNumber=number, Body=content)["ETag"],
                }
                for number, content in enumerate(_contents(file), start=1)
            ]
            self._require_same(path, replacing)
            condition = _condition(replacing)
            return self._call(
                "complete_multipart_upload", path, UploadId=upload, MultipartUpload={"Parts": parts}, **condition
            )
        except BaseException:
            with contextlib.suppress(Exception):  # the first error counts
                self._call("abort_multipart_upload", path, UploadId=upload)
            raise

    def _call(self, method: str, path: ObjectPath, **options: object) -> Mapping[str, object]:
        return self._files.call_s3(method, Bucket=path.bucket, Key=path.key, **options)


def _condition(replacing: ObjectState | None) -> Mapping[str, object]:
    """Return the options that restrict what a request replaces."""
    return {"IfNoneMatch": "*"} if replacing is None else {"IfMatch": replacing.tag}


@contextlib.contextmanager
def _conflicts(path: ObjectPath) -> Iterator[None]:
    """Raise FileExistsError if a condition is not met."""
    try:
        yield
    except OSError as error:
        if response_code(error) in _CONFLICTS:
            raise FileExistsError(str(path)) from error
        raise


def _stored(answer: Mapping[str, object], size: int) -> ObjectState:
    """Return the state in the answer to an upload."""
    return ObjectState(size=size, tag=str(answer.get("ETag", "")), version=_version(answer))


def _time(answer: Mapping[str, object]) -> datetime | None:
    time = answer.get("LastModified")
    return time if isinstance(time, datetime) else None


def _contents(file: Path) -> Iterator[bytes]:
    size = max(PART, -(-file.stat().st_size // _MAX_PARTS))
    with file.open("rb") as opened:
        while content := opened.read(size):
            yield content


def _version(answer: Mapping[str, object]) -> str | None:
    version = answer.get("VersionId")
    return None if version in (None, "null") else str(version)


def _full_checksum(head: Mapping[str, object]) -> str | None:
    """Return the SHA-256 that S3 computed, in hex.

    Returns None if S3 computed only hashes of parts, or none.
    """
    checksum = head.get("ChecksumSHA256")
    if not isinstance(checksum, str) or "-" in checksum or head.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
        return None
    return base64.b64decode(checksum).hex()
