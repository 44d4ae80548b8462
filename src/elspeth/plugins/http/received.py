"""What a server has sent, read like a file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from elspeth.contracts.plugins import JsonObject, PluginError
from elspeth.plugins._input_file import HashedBytes, InputFile
from elspeth.plugins.http.pages import shown_url

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["ReceivedFile", "as_response", "content_of", "headers_of"]

_BUFFER = 65_536  # bytes
_TEXT, _BYTES = "body", "body_base64"


def as_response(status: int, headers: Mapping[str, str], content: bytes) -> JsonObject:
    """Return an answer as it is recorded.

    The body is text, or base64 of bytes that are not UTF-8.
    """
    answer: dict[str, object] = {"status": status, "headers": dict(headers)}
    try:
        return answer | {_TEXT: content.decode()}
    except UnicodeDecodeError:
        return answer | {_BYTES: base64.b64encode(content).decode()}


def content_of(response: JsonObject) -> bytes:
    """Return the bytes of an answer."""
    if _BYTES in response:
        return base64.b64decode(str(response[_BYTES]), validate=True)
    return str(response[_TEXT]).encode()


def headers_of(response: JsonObject) -> Mapping[str, str]:
    """Return the headers of an answer."""
    return cast("Mapping[str, str]", response["headers"])


class ReceivedFile(InputFile):
    """A page that was received whole.

    It is named by its URL, without secrets. Compressed content is unpacked to at most `limit` bytes.
    """

    def __init__(self, url: str, response: JsonObject, encoding: str, *, is_only: bool, limit: int) -> None:
        super().__init__(None, encoding, is_only=is_only)
        self._content, self._limit = content_of(response), limit
        self._type, self._uri = "http", shown_url(url)
        headers = headers_of(response)
        self._version = headers.get("etag") or headers.get("last-modified")
        self._unpacked: _Limited | None = None
        self.name = self._uri

    @property
    def unpacked(self) -> int:
        """Return the number of bytes read, unpacked."""
        return 0 if self._unpacked is None else self._unpacked.read_so_far

    def _open_raw(self) -> io.BufferedReader:
        self._hashed = HashedBytes(io.BytesIO(self._content))
        return io.BufferedReader(self._hashed, _BUFFER)

    def _decompressed(self, raw: io.BufferedReader) -> io.BufferedReader:
        self._unpacked = _Limited(super()._decompressed(raw), self._limit, self.name)
        return io.BufferedReader(self._unpacked, _BUFFER)


class _Limited(io.RawIOBase):
    """Bytes of which there may only be so many."""

    def __init__(self, source: io.BufferedReader, limit: int, name: str) -> None:
        self._source, self._limit, self._name = source, limit, name
        self.read_so_far = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        content = self._source.read1(len(view))
        view[: len(content)] = content
        self.read_so_far += len(content)
        if self.read_so_far > self._limit:
            raise PluginError(f"{self._name} has more than {self._limit} bytes unpacked: raise max_bytes if it may")
        return len(content)
