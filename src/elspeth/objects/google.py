"""Google Cloud Storage.

The client of gcsfs is used for requests, because it finds the credentials and repeats requests, but not its file
objects, because these cannot restrict which generation of an object they read or replace.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from elspeth.objects.address import ObjectPath
from elspeth.objects.base import BLOCK, PART, ObjectState, ObjectStore, RangeFile
from elspeth.objects.errors import ObjectChangedError, named_errors

__all__ = ["CLIENT_OPTIONS", "GoogleStore"]

CLIENT_OPTIONS: Mapping[str, object] = {"session_kwargs": {"auto_decompress": False}}
"""Options of gcsfs with which objects are read as they are stored, whatever their content encoding."""

_PLAIN = {"Accept-Encoding": "identity"}
_AS_STORED = {"Accept-Encoding": "gzip"}
_OBJECT = "b/{}/o/{}"
_API = "storage/v1/"
_NO_OBJECT = "0"
"""The generation that stands for "no object" in a condition."""


class GoogleClient(Protocol):
    """The methods of gcsfs's `GCSFileSystem` that elspeth uses."""

    @property
    def base(self) -> str:
        """Return the address of the API for JSON."""

    @property
    def call(self) -> Callable[..., object]:
        """Send a request.

        Each `{}` in its address stands for an argument, which is quoted.
        """


class GoogleStore(ObjectStore):
    """Google Cloud Storage.

    Each content of an object has a generation. The first request of an upload states which one it may replace.
    """

    def __init__(self, client: GoogleClient) -> None:
        self._client = client

    def _ask_state(self, path: ObjectPath) -> ObjectState:
        return _state(self._ask("GET", _OBJECT, path.bucket, path.key))

    def check_writable(self, path: ObjectPath) -> None:
        """Raise ObjectStoreError if the object cannot be written.

        Begins an upload and aborts it, which leaves nothing behind.
        """
        with named_errors(path):
            session = self._begin(path, {}, None)
            self._call("DELETE", session, headers={"Content-Length": "0"})

    def _content(self, path: ObjectPath, state: ObjectState) -> BinaryIO:
        def fetch(start: int, end: int) -> bytes:
            headers = _AS_STORED | {"Range": f"bytes={start}-{end - 1}"}
            options = {"alt": "media", "generation": state.version, "headers": headers}
            try:
                _, content = self._call("GET", _OBJECT, path.bucket, path.key, **options)
            except FileNotFoundError as error:
                raise ObjectChangedError(path, "it was replaced while it was read") from error
            return content

        return RangeFile.opened(fetch, state.size)

    def _read(self, path: ObjectPath) -> bytes:
        return self._call("GET", _OBJECT, path.bucket, path.key, alt="media", headers=_AS_STORED)[1]

    def _listed(self, bucket: ObjectPath, prefix: str, *, deep: bool) -> Iterator[tuple[str, ObjectState]]:
        page: Mapping[str, object] = {"nextPageToken": None}
        while "nextPageToken" in page:
            options = {"prefix": prefix, "delimiter": None if deep else "/", "pageToken": page["nextPageToken"]}
            page = self._ask("GET", "b/{}/o", bucket.bucket, **options)
            for each in cast("list[Mapping[str, object]]", page.get("items", [])):
                yield str(each["name"]), _state(each)

    def _write(self, path: ObjectPath, content: bytes, sha256: str, replacing: ObjectState | None) -> ObjectState:
        boundary = uuid.uuid4().hex
        opening = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"
            f"{json.dumps(_described([content], sha256))}\r\n"
            f"--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
        answer = self._ask(
            "POST",
            self._uploads,
            path.bucket,
            uploadType="multipart",
            name=path.key,
            ifGenerationMatch=_expected(replacing),
            headers=_PLAIN | {"Content-Type": f"multipart/related; boundary={boundary}"},
            data=b"".join([opening.encode(), content, f"\r\n--{boundary}--\r\n".encode()]),
        )
        return _state(answer)

    def _delete(self, path: ObjectPath) -> None:
        self._call("DELETE", _OBJECT, path.bucket, path.key)

    def _upload_parts(self, path: ObjectPath, file: Path, sha256: str, replacing: ObjectState | None) -> ObjectState:
        """Upload a file in parts.

        A crash leaves an invisible upload, which ends after a week.
        """
        size, done, content = file.stat().st_size, 0, b""
        with file.open("rb") as opened:
            described = _described(iter(partial(opened.read, BLOCK), b""), sha256)
            session = self._begin(path, described, _expected(replacing))
            while done < size:
                opened.seek(done)
                part = opened.read(PART)
                if done + len(part) == size:
                    self._require_same(path, replacing)
                headers = _PLAIN | {"Content-Range": f"bytes {done}-{done + len(part) - 1}/{size}"}
                answer, content = self._call("PUT", session, headers=headers, data=part)
                done = size if content else _received(answer)
        return _state(json.loads(content))

    def _begin(self, path: ObjectPath, described: Mapping[str, object], generation: str | None) -> str:
        """Begin an upload in parts, and return its address."""
        options = {"uploadType": "resumable", "name": path.key, "ifGenerationMatch": generation}
        answer, _ = self._call("POST", self._uploads, path.bucket, headers=_PLAIN, json=described, **options)
        return answer["Location"]

    @property
    def _uploads(self) -> str:
        return f"{self._client.base.removesuffix(_API)}upload/{_API}b/{{}}/o"

    def _ask(self, method: str, address: str, *parts: str, **options: object) -> Mapping[str, object]:
        _, content = self._call(method, address, *parts, **{"headers": _PLAIN, **options})
        answer: Mapping[str, object] = json.loads(content)
        return answer

    def _call(self, method: str, address: str, *parts: str, **options: object) -> tuple[Mapping[str, str], bytes]:
        """Send a request, and return the answer's headers and content."""
        try:
            return cast("tuple[Mapping[str, str], bytes]", self._client.call(method, address, *parts, **options))
        except (OSError, ValueError) as error:
            kind, _, reason = str(error).partition(": ")
            if kind == "Forbidden":
                raise PermissionError(reason) from error
            if kind == "Bad Request":
                raise OSError(reason.partition("\n")[2]) from error
            raise


def _state(described: Mapping[str, object]) -> ObjectState:
    generation = str(described["generation"])
    modified = datetime.fromisoformat(str(described["timeCreated"]))
    return ObjectState(size=int(str(described["size"])), tag=generation, version=generation, modified=modified)


def _expected(state: ObjectState | None) -> str | None:
    """Return the generation that a state requires as condition."""
    return _NO_OBJECT if state is None else state.version


def _received(answer: Mapping[str, str]) -> int:
    """Return the number of an upload's bytes received."""
    return int(answer["Range"].rpartition("-")[2]) + 1 if "Range" in answer else 0


def _described(contents: Iterable[bytes], sha256: str) -> Mapping[str, object]:
    """Return the metadata of contents: checksum and hash."""
    checksum = import_module("google_crc32c").Checksum()
    for content in contents:
        checksum.update(content)
    return {"crc32c": base64.b64encode(checksum.digest()).decode(), "metadata": {"sha256": sha256}}
