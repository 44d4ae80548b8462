"""Finds the pages of an answer in several parts."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Self
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, StringConstraints, model_validator

from elspeth.contracts.errors import describe_kind
from elspeth.contracts.plugins import PluginError, PluginOptions
from elspeth.contracts.secret_names import is_secret_parameter
from elspeth.plugins.field_paths import FieldPath
from elspeth.plugins.http.options import check_parameter

__all__ = ["LINK", "Pages", "PagesOptions", "next_link", "shown_url", "with_parameters"]

LINK = "link"
_BODY = "body."

_PARAMETER = r"""\s*;\s*([^\s=;,"]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?"""
_LINK = re.compile(rf"<(?P<url>[^<>]*)>(?P<parameters>(?:{_PARAMETER})*)")


def _check_next(text: str) -> str:
    if text != LINK and not (text.startswith(_BODY) and text.removesuffix("?") != _BODY):
        raise ValueError(f"expected {LINK}, or a place in the answer such as {_BODY}paging.next?")
    return text


class PagesOptions(PluginOptions):
    """How the next page is found.

    By default there is only one.
    """

    next_page: Annotated[str, AfterValidator(_check_next)] | None = Field(
        default=None,
        description="Where the URL of the next page is: `link`, the header Link, or a place in JSON such as "
        "`body.paging.next?`. Null or an empty text there means that there is none; with `?` at its end, the place may "
        "also be missing.",
    )
    page_parameter: Annotated[str, StringConstraints(min_length=1), AfterValidator(check_parameter)] | None = Field(
        default=None,
        description="The parameter of the URL that chooses the page. With `next_page`, it gets the value found there; "
        "without, it counts, and the first page without rows is the last.",
    )
    first_page: NonNegativeInt = Field(default=1, description="What a `page_parameter` that counts begins with.")
    page_step: PositiveInt = Field(
        default=1, description="What it is increased by: for an offset, the number of rows of a page."
    )
    max_pages: PositiveInt = Field(default=1_000, description="The most pages. If there are more, the run stops.")

    @model_validator(mode="after")
    def _is_found(self) -> Self:
        if self.next_page == LINK and self.page_parameter is not None:
            raise ValueError("page_parameter: the header Link has the whole URL of the next page")
        if not self.counts_pages and (unused := sorted(self.model_fields_set & {"first_page", "page_step"})):
            raise ValueError(f"{unused[0]}: only for a page_parameter that counts, without next_page")
        return self

    @property
    def has_pages(self) -> bool:
        """Whether there may be several pages."""
        return self.next_page is not None or self.page_parameter is not None

    @property
    def counts_pages(self) -> bool:
        """Whether a parameter counts the pages."""
        return self.next_page is None and self.page_parameter is not None

    @property
    def reads_next_in_body(self) -> bool:
        """Whether the next page is named in the body."""
        return self.next_page is not None and self.next_page != LINK


class Pages:
    """Finds the URLs of the pages.

    All pages must be on the server of the first one, because the key must not be sent to another server.
    """

    def __init__(self, url: str, options: PagesOptions) -> None:
        self._url = url
        self._options = options
        self._seen = set[str]()
        self._number = 0

    def first(self) -> str:
        """Return the URL of the first page."""
        self._number = 1
        url = self._counted(self._options.page_parameter, 0) if self._options.counts_pages else self._url
        self._seen.add(url)
        return url

    def following(self, *, rows: int, headers: Mapping[str, str], body: Callable[[], object]) -> str | None:
        """Return the next page's URL, or None after the last.

        `rows` is the number of rows of the page before, and `body` returns its content as JSON. Raises PluginError if
        the next page must not be read.
        """
        options = self._options
        if not options.has_pages or (url := self._find(options, rows, headers, body)) is None:
            return None
        shown = shown_url(url)
        if self._number >= options.max_pages:
            raise PluginError(f"there are more than {options.max_pages} pages: raise max_pages, or ask for fewer rows")
        if _server(url) != _server(self._url):
            raise PluginError(f"page {self._number + 1} is at another server, which is not asked: {shown}")
        if url in self._seen:
            raise PluginError(f"page {self._number + 1} was read before: {shown}")
        self._seen.add(url)
        self._number += 1
        return url

    def _find(
        self, options: PagesOptions, rows: int, headers: Mapping[str, str], body: Callable[[], object]
    ) -> str | None:
        place, parameter = options.next_page, options.page_parameter
        if place is None:
            return self._counted(parameter, self._number) if rows else None
        found = next_link(headers.get("link", "")) if place == LINK else _value_at(place, body())
        if found is None or found == "" or found is False:
            return None
        if parameter is not None:
            if not isinstance(found, str | int):
                raise PluginError(f"{place}: expected text or a number, got {describe_kind(found)}")
            return with_parameters(self._url, {parameter: str(found)})
        if not isinstance(found, str):
            raise PluginError(f"{place}: expected the URL of the next page, got {describe_kind(found)}")
        sendable = quote(found, safe=string.punctuation, errors="replace")
        return urlsplit(urljoin(self._url, sendable))._replace(fragment="").geturl()

    def _counted(self, parameter: str | None, before: int) -> str:
        """Return the URL of the page after `before` others."""
        value = self._options.first_page + before * self._options.page_step
        return with_parameters(self._url, {str(parameter): str(value)})


def _value_at(place: str, body: object) -> object:
    """Return the value at a place in the body.

    Raises PluginError if a required value is missing.
    """
    slot = FieldPath(place.removesuffix("?")).find({"body": body})
    if slot is None and not place.endswith("?"):
        raise PluginError(f"the answer has no {place}, for the next page; with '?' at its end, that means the last one")
    return None if slot is None else slot.value


def next_link(header: str) -> str | None:
    """Return the target of the link to the next page.

    See RFC 8288, section 3. Returns None if there is no such link.
    """
    for link in _LINK.finditer(header):
        parameters = re.findall(_PARAMETER, link["parameters"])
        relations = [quoted or plain for name, quoted, plain in parameters if name.lower() == "rel"]
        if relations and "next" in relations[0].lower().split():  # further relations are ignored
            return link["url"]
    return None


def with_parameters(url: str, parameters: Mapping[str, str]) -> str:
    """Return a URL with additional parameters.

    They replace parameters of the same names.
    """
    parts = urlsplit(url)
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in parameters]
    return parts._replace(query=urlencode([*kept, *parameters.items()], errors="replace")).geturl()


def shown_url(url: str) -> str:
    """Return a URL without the values of secret parameters."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="&".join(_shown(parts.query))).geturl()


def _shown(query: str) -> Iterator[str]:
    for pair in filter(None, query.split("&")):
        name, sign, _ = pair.partition("=")
        yield f"{name}{sign}[redacted]" if is_secret_parameter(name) else pair


def _server(url: str) -> tuple[str, str]:
    """Return scheme and authority as they are written.

    The default port is left out. Programs read unusual authorities in different ways, so any different text counts as
    another server.
    """
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower().removesuffix({"http": ":80", "https": ":443"}.get(parts.scheme, ""))
