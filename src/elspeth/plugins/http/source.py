"""The source `http`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, JsonValue, PositiveInt, StrictInt, ValidationError, model_validator

from elspeth.contracts.plugins import (
    CallError,
    CallingSource,
    Dataset,
    JsonObject,
    PluginError,
    ReadInput,
    SourceOptions,
    file_dataset,
)
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.plugins.csv import CsvSource
from elspeth.plugins.http.addresses import address_problem
from elspeth.plugins.http.answers import parse_json
from elspeth.plugins.http.options import ServerOptions, Timeout, check_parameter, check_recordable, split_url
from elspeth.plugins.http.pages import Pages, PagesOptions, shown_url, with_parameters
from elspeth.plugins.http.received import Page, ReceivedFile, as_response, content_of
from elspeth.plugins.input_files import TextSource
from elspeth.plugins.json import JsonlSource, JsonSource

__all__ = ["HttpSource", "HttpSourceOptions"]

_EXAMPLE = "https://api.example.com/orders"
_KEPT = ("content-encoding", "content-length", "etag", "last-modified", "link", "transfer-encoding")
_READERS: Mapping[str, type[TextSource]] = {"json": JsonSource, "jsonl": JsonlSource, "csv": CsvSource}
_NOT_OF_READERS = ("format", "on_validation_failure", "path", "schema")


def _check_url(text: str) -> str:
    parts = split_url(text, _EXAMPLE)
    check_recordable(parts)
    return text


class HttpSourceOptions(PagesOptions, ServerOptions, SourceOptions):
    """Options of the source `http`."""

    url: Annotated[str, AfterValidator(_check_url)] = Field(description=f"What is read, such as `{_EXAMPLE}`.")
    parameters: Mapping[Annotated[str, AfterValidator(check_parameter)], str | StrictInt] = Field(
        default_factory=dict, description="Parameters to add to the URL. They are recorded: they hold no secrets."
    )
    format: Literal["json", "jsonl", "csv"] = Field(
        default="json", description="What is received, as the source of this name reads it."
    )
    format_options: Mapping[str, JsonValue] = Field(
        default_factory=dict,
        description="Options of that source, such as `record_path`, `delimiter`, `encoding` or `line_field`.",
    )
    max_bytes: PositiveInt = Field(
        default=100_000_000,
        description="The most bytes of all pages, as they are received and unpacked. A page is held in memory.",
    )
    deadline_seconds: Timeout = Field(default=3_600.0, description="For waiting for all pages, with all attempts.")

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if problem := address_problem(str(urlsplit(self.url).hostname), self.allowed_networks):
            raise ValueError(f"url: {problem}")
        if self.reads_next_in_body and self.format != "json":
            raise ValueError(f"next_page: a place in the body is for format: json, not {self.format}")
        make_reader(self)
        return self


def make_reader(options: HttpSourceOptions) -> TextSource:
    """Return the source that reads the rows in an answer.

    Raises ValueError for options that this source does not have.
    """
    for name in _NOT_OF_READERS:
        if name in options.format_options:
            raise ValueError(f"format_options.{name}: expected among the options of the source itself")
    given: dict[str, object] = {**options.format_options, "path": "-", "schema": options.schema_config.to_dict()}
    if options.format == "json":
        given["format"] = "json"
    reader = _READERS[options.format]
    try:
        return reader(reader.options_model.model_validate(given))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in ("format_options", *first["loc"]))
        raise ValueError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from error


class HttpSource(CallingSource):
    """Rows that a server sends, perhaps in pages.

    They come as JSON, JSON Lines or CSV, and are read as the sources of these names read files. A page is read when it
    has been received whole. Redirects are not followed. Servers in private networks are asked only if their networks
    are allowed.
    """

    name = "http"
    plugin_version = "1.0.0"
    options_model = HttpSourceOptions
    options: HttpSourceOptions

    def __init__(self, options: HttpSourceOptions) -> None:
        from elspeth.plugins.http.endpoint import Endpoint  # noqa: PLC0415  needs the extra

        super().__init__(options)
        parameters = {name: str(value) for name, value in options.parameters.items()}
        self._url = with_parameters(options.url, parameters) if parameters else options.url
        self._reader = make_reader(options)
        self._encoding = self._reader.options.encoding
        self._file: ReceivedFile | None = None
        self._read: list[ReadInput] = []
        self._left = options.max_bytes
        self._unpacked, self._waited = 0, 0.0
        self._endpoint = Endpoint.of(options, kept=_KEPT)

    @property
    def service(self) -> str:
        """Return the option `service`, or the name of the host."""
        return self.options.service or str(urlsplit(self._url).hostname)

    def read(self) -> Iterator[RowData | InvalidRow]:
        """Yield the rows of every page, in order.

        Raises PluginError, which names the URL of the page without secrets.
        """
        self._read, self._left, self._unpacked, self._waited = [], self.options.max_bytes, 0, 0.0
        pages, before = Pages(self._url, self.options), ""
        url: str | None = pages.first()
        try:
            while url is not None:
                page = self._receive(url)
                if self.options.counts_pages and page.sha256 == before:
                    raise PluginError(
                        f"{page.name} is the same as the page before: does the server know page_parameter?"
                    )
                file = self._file = self._open(page)
                yield from self._rows_of(file)
                self._read.append(file.describe())
                self._file, self._unpacked = None, self._unpacked + file.unpacked
                url, before = self._following(pages, page, file.rows), page.sha256
        finally:
            self.close()

    def _receive(self, url: str) -> Page:
        """Return the page at a URL.

        Only the time spent waiting for the server counts for the deadline, because processing the rows may take longer.
        """
        request: dict[str, object] = {"method": "GET", "url": url}
        if self.options.headers:
            request["headers"] = dict(self.options.headers)
        began = time.monotonic()
        try:
            response = self.ask(request, within=max(self.options.deadline_seconds - self._waited, 0.0))
        except CallError as error:
            raise PluginError(f"{shown_url(url)} cannot be read: {error}") from error
        self._waited += time.monotonic() - began
        page = Page.of(url, response)
        page.require_all_rows(self.options.format)
        self._left -= len(page.content)
        return page

    def _open(self, page: Page) -> ReceivedFile:
        limit = self.options.max_bytes - self._unpacked
        return ReceivedFile(page, self._encoding, is_only=not self.options.has_pages, limit=limit)

    def _rows_of(self, file: ReceivedFile) -> Iterator[RowData | InvalidRow]:
        with file.opened(newline=self._reader.newline) as text:
            for row in self._reader.rows(text, file):
                file.rows += 1
                yield row
            file.finish()

    def _following(self, pages: Pages, page: Page, rows: int) -> str | None:
        def body() -> object:
            with self._open(page).opened(newline="") as text:
                try:
                    return parse_json(text.read())
                except ValueError as error:
                    raise PluginError("the next page cannot be read: it is not JSON that Python reads") from error

        try:
            return pages.following(rows=rows, headers=page.headers, body=body)
        except PluginError as error:
            raise PluginError(f"{page.name}: {error}") from error

    def send(self, request: JsonObject) -> JsonObject:
        """Send the request, and return status, some headers and body."""
        headers = self.options.headers
        status, kept, content = self._endpoint.exchange(
            "GET", str(request["url"]), headers=headers, limit=max(self._left, 0)
        )
        return as_response(status, kept, content)

    def comparable(self, response: JsonObject) -> JsonObject:
        """Return the hash of the received body.

        Headers may differ between any two answers.
        """
        return {"sha256": hashlib.sha256(content_of(response)).hexdigest()}

    def inputs(self) -> Sequence[ReadInput]:
        """Return the pages received so far."""
        return self._read if self._file is None else [*self._read, self._file.describe()]

    def datasets(self) -> Sequence[Dataset]:
        """Return the URL without its parameters."""
        return [file_dataset(urlsplit(self._url)._replace(query="").geturl())]

    def close(self) -> None:
        """Close the connections."""
        self._endpoint.close()
