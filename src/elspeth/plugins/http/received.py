"""Reads the answer of a server like a file."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from elspeth.contracts.plugins import JsonObject, PluginError
from elspeth.plugins._input_file import HashedBytes, InputFile
from elspeth.plugins.http.pages import shown_url

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Page", "ReceivedFile", "as_response", "content_of"]

_BUFFER = 65_536  # bytes
_TEXT, _BYTES = "body", "body_base64"
_PAGES_FOR_PEOPLE = ("text/html", "application/xhtml+xml")

_VERSION = re.compile(r"[ -~]{1,256}")
"""Printable text, without the control characters that could change what a terminal shows."""


def as_response(status: int, headers: Mapping[str, str], content: bytes) -> JsonObject:
    """Return an answer in its recorded form.

    The body is text, or the base64 of bytes that are not UTF-8.
    """
    answer: dict[str, object] = {"status": status, "headers": dict(headers)}
    try:
        return answer | {_TEXT: content.decode()}
    except UnicodeDecodeError:
        return answer | {_BYTES: base64.b64encode(content).decode()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page that was received completely.

    `name` is its URL without secrets, and `sha256` is the hash of its bytes in hex.
    """

    name: str
    headers: Mapping[str, str]
    content: bytes
    sha256: str

    @classmethod
    def of(cls, url: str, response: JsonObject) -> Page:
        """Return the page in an answer, which may be recorded."""
        content = content_of(response)
        digest = hashlib.sha256(content).hexdigest()
        headers = cast("Mapping[str, str]", response["headers"])
        return cls(name=shown_url(url), headers=headers, content=content, sha256=digest)

    def require_all_rows(self, form: str) -> None:
        """Raise PluginError if rows may be missing.

        The end of the connection ends an answer without a length (RFC 9112, section 6.3), even if the connection broke.
        Only in JSON would the missing end be noticed. HTML pages are refused, because they are logins or errors.
        """
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in _PAGES_FOR_PEOPLE:
            problem = f"is a page for people ({kind}): expected {form}; is the URL right, and the api_key?"
            raise PluginError(f"{self.name} {problem}")
        if form != "json" and not {"content-length", "transfer-encoding"} & set(self.headers):
            problem = "has no length, so that rows might be missing at its end: expected Content-Length, or chunks"
            raise PluginError(f"{self.name} {problem}")


def content_of(response: JsonObject) -> bytes:
    """Return the bytes of an answer."""
    if _BYTES in response:
        return base64.b64decode(str(response[_BYTES]), validate=True)
    return str(response[_TEXT]).encode()


class ReceivedFile(InputFile):
    """A page that is read like a file.

    Compressed content is unpacked to at most `limit` bytes.
    """

    def __init__(self, page: Page, encoding: str, *, is_only: bool, limit: int) -> None:
        super().__init__(None, encoding, is_only=is_only)
        self._page, self._limit = page, limit
        self._type, self._uri, self.name = "http", page.name, page.name
        version = page.headers.get("etag") or page.headers.get("last-modified") or ""
        self._version = version if _VERSION.fullmatch(version) else None
        self._unpacked: _Limited | None = None

    @property
    def unpacked(self) -> int:
        """Return the number of bytes read, unpacked."""
        return 0 if self._unpacked is None else self._unpacked.read_so_far

    def _open_raw(self) -> io.BufferedReader:
        self._hashed = HashedBytes(io.BytesIO(self._page.content))
        return io.BufferedReader(self._hashed, _BUFFER)

    def _decompressed(self, raw: io.BufferedReader) -> io.BufferedReader:
        self._unpacked = _Limited(super()._decompressed(raw), self._limit, self.name)
        return io.BufferedReader(self._unpacked, _BUFFER)


class _Limited(io.RawIOBase):
    """A stream with a limited number of bytes."""

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
