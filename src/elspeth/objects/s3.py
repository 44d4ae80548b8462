"""Amazon S3, and the many stores with its API.

Requests are made with s3fs, but not its uploads: they cannot say which object they may replace.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from elspeth.objects.address import ObjectPath
from elspeth.objects.base import ObjectState, ObjectStore
from elspeth.objects.errors import ObjectMissingError, ObjectStoreError, named_errors, response_code

__all__ = ["S3Store"]

_PART = 64 * 1024 * 1024
"""Bytes of a request; a file that is larger is uploaded in parts. The limits of S3 are 5 MiB and 10,000 parts."""

_MAX_PARTS = 10_000
_CONFLICTS = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchKey", "NoSuchUpload"})
"""Answers to a conditional request whose condition does not hold."""


class S3Store(ObjectStore):
    """Amazon S3, and stores with its API.

    An object appears when its only request or the last one of several succeeds. That request says what it may replace.
    """

    def state(self, path: ObjectPath) -> ObjectState | None:
        """Return what the store says of an object, or None."""
        try:
            with named_errors(path):
                head = self._call("head_object", path, ChecksumMode="ENABLED")
        except ObjectMissingError:
            return None
        return ObjectState(
            size=int(str(head["ContentLength"])),
            tag=str(head.get("ETag", "")),
            version=_version(head),
            sha256=_full_checksum(head),
        )

    def check_writable(self, path: ObjectPath) -> None:
        """Raise ObjectStoreError if the object cannot be written.

        Begins an upload, which shows nothing, and gives it up.
        """
        with named_errors(path):
            upload = self._call("create_multipart_upload", path)
        with contextlib.suppress(ObjectStoreError), named_errors(path):  # it may be allowed to begin one only
            self._call("abort_multipart_upload", path, UploadId=upload["UploadId"])

    def _upload(self, path: ObjectPath, file: Path, sha256: str, replacing: ObjectState | None) -> None:
        described: dict[str, object] = {"Metadata": {"sha256": sha256}}
        condition = {"IfNoneMatch": "*"} if replacing is None else {"IfMatch": replacing.tag}
        try:
            if file.stat().st_size <= _PART:
                checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
                described |= {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": checksum}
                self._call("put_object", path, Body=file.read_bytes(), **described, **condition)
            else:
                self._upload_parts(path, file, described, replacing, condition)
        except OSError as error:
            if response_code(error) in _CONFLICTS:
                raise FileExistsError(str(path)) from error
            raise

    def _upload_parts(
        self,
        path: ObjectPath,
        file: Path,
        described: Mapping[str, object],
        replacing: ObjectState | None,
        condition: Mapping[str, object],
    ) -> None:
        """Upload a file in parts.

        The last request makes an object of them. A crash leaves parts that nobody sees, and that the bucket's rule for
        unfinished uploads removes.
        """
        upload = self._call("create_multipart_upload", path, **described)["UploadId"]
        try:
            parts = [
                {
                    "PartNumber": number,
                    "ETag": self._call("upload_part", path, UploadId=upload, PartNumber=number, Body=content)["ETag"],
                }
                for number, content in enumerate(_contents(file), start=1)
            ]
            self._require_same(path, replacing)  # stores that do not know the condition ignore it
            self._call(
                "complete_multipart_upload", path, UploadId=upload, MultipartUpload={"Parts": parts}, **condition
            )
        except BaseException:
            with contextlib.suppress(Exception):  # the first error counts
                self._call("abort_multipart_upload", path, UploadId=upload)
            raise

    def _require_same(self, path: ObjectPath, replacing: ObjectState | None) -> None:
        if self.state(path) != replacing:
            raise FileExistsError(str(path))

    def _call(self, method: str, path: ObjectPath, **options: object) -> Mapping[str, object]:
        return self._files.call_s3(method, Bucket=path.bucket, Key=path.key, **options)


def _contents(file: Path) -> Iterator[bytes]:
    size = max(_PART, -(-file.stat().st_size // _MAX_PARTS))
    with file.open("rb") as opened:
        while content := opened.read(size):
            yield content


def _version(answer: Mapping[str, object]) -> str | None:
    version = answer.get("VersionId")
    return None if version in (None, "null") else str(version)


def _full_checksum(head: Mapping[str, object]) -> str | None:
    """Return the SHA-256 in hex that S3 itself has computed.

    None if it has computed that of parts only, or none.
    """
    checksum = head.get("ChecksumSHA256")
    if not isinstance(checksum, str) or "-" in checksum or head.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
        return None
    return base64.b64decode(checksum).hex()
