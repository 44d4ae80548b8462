"""The transform `http`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, JsonValue, StringConstraints, model_validator

from elspeth.contracts.plugins import CallError, CallingTransform, FieldOrigins, JsonObject, RowError, TransformOptions
from elspeth.contracts.rows import RowData
from elspeth.contracts.values import plain_row
from elspeth.plugins.field_paths import FieldPath, taken_field_error
from elspeth.plugins.http.addresses import address_problem
from elspeth.plugins.http.answers import read_json
from elspeth.plugins.http.options import ServerOptions, check_recordable, split_url
from elspeth.plugins.http.templates import BodyTemplate, RowValueError, UrlTemplate

__all__ = ["HttpOptions", "HttpTransform"]

_EXAMPLE = "https://api.example.com/customers/{id}"
_DEFAULT_RESPONSE_FIELD = "http_response"


def _check_url(text: str) -> str:
    parts = _split(text)
    check_recordable(parts)
    UrlTemplate(text)
    return text


def _split(text: str) -> SplitResult:
    # Values in braces are percent-encoded, and names of fields may hold any character.
    literal, brace, _ = text.partition("{")
    parts = split_url(literal, _EXAMPLE)
    return urlsplit(text) if brace else parts


def _check_body(value: JsonValue) -> JsonValue:
    BodyTemplate(value)
    return value


_Text = Annotated[str, StringConstraints(min_length=1)]


class HttpOptions(ServerOptions, TransformOptions):
    """Options of the transform `http`."""

    url: Annotated[str, AfterValidator(_check_url)] = Field(
        description="What is asked for, with fields of the row in braces after the name of the server: "
        f"`{_EXAMPLE}`. Their values are percent-encoded."
    )
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"] = Field(
        default="GET", description="The method of the request."
    )
    body: Annotated[JsonValue, AfterValidator(_check_body)] = Field(
        default=None,
        description="JSON to send. Its texts may hold fields in braces; a text that is one field becomes its value.",
    )
    answer: Literal["json", "text"] = Field(default="json", description="What the body of an answer is.")
    also_accept: tuple[Annotated[int, Field(ge=300, le=599)], ...] = Field(
        default=(), description="Statuses from 300 that are answers as well, such as 404, instead of failures."
    )
    fields: Mapping[_Text, _Text] | None = Field(
        default=None,
        description="New fields, and where in the answer their values are: `body.items.0.price`, `status` or "
        "`headers.content-type`. With `?` at its end, what the answer lacks is null.",
    )
    response_field: _Text | None = Field(
        default=None, description="The field for the whole body: `http_response`, unless there are `fields`."
    )

    @model_validator(mode="after")
    def _can_be_called(self) -> Self:
        if problem := address_problem(str(_split(self.url).hostname), self.allowed_networks):
            raise ValueError(f"url: {problem}")
        if self.body is not None and self.method in {"GET", "HEAD"}:
            raise ValueError(f"body: a {self.method} request has none; choose another method")
        if self.fields is not None and self.response_field in self.fields:
            raise ValueError(f"response_field {self.response_field!r} is one of the fields, too")
        return self


class HttpTransform(CallingTransform):
    """Asks a server about each row.

    The body of the answer goes to `response_field`, or parts of the answer to `fields`. A row fails if it already has a
    field of such a name, or if the answer lacks a part. Redirects are not followed. Servers in private networks are
    called only if their networks are allowed.
    """

    name = "http"
    plugin_version = "1.0.0"
    options_model = HttpOptions

    def __init__(self, options: HttpOptions) -> None:
        from elspeth.plugins.http.endpoint import Endpoint  # noqa: PLC0415  needs the extra

        super().__init__(options)
        self._method = options.method
        self._url = UrlTemplate(options.url)
        self._body = None if options.body is None else BodyTemplate(options.body)
        self._headers = dict(options.headers)
        self._service = options.service or str(_split(options.url).hostname)
        self._is_json = options.answer == "json"
        self._paths = {name: FieldPath(path.removesuffix("?")) for name, path in (options.fields or {}).items()}
        self._optional = {name for name, path in (options.fields or {}).items() if path.endswith("?")}
        self._response_field = options.response_field
        if self._response_field is None and options.fields is None:
            self._response_field = _DEFAULT_RESPONSE_FIELD
        self._endpoint = Endpoint.of(options, accepted=frozenset(options.also_accept))

    @property
    def service(self) -> str:
        """Return the option `service`, or the name of the host."""
        return self._service

    def field_origins(self) -> FieldOrigins:
        """Return that the new fields come from outside the row."""
        last = [] if self._response_field is None else [self._response_field]
        return FieldOrigins(derived=dict.fromkeys([*self._paths, *last], ()))

    def request(self, row: RowData) -> JsonObject | RowError:
        """Return the request without the key, or an error.

        The row fails if it lacks a value that the request needs.
        """
        values = plain_row(row)
        try:
            asked: dict[str, object] = {"method": self._method, "url": self._url.fill(values)}
            if self._headers:
                asked["headers"] = self._headers
            if self._body is not None:
                asked["json"] = self._body.fill(values)
        except RowValueError as error:
            return RowError(message=str(error))
        return asked

    def send(self, request: JsonObject) -> JsonObject:
        """Send the request, and return status, some headers and body."""
        status, headers, received = self._endpoint.exchange(
            self._method, str(request["url"]), body=request.get("json"), headers=self._headers
        )
        answer: dict[str, object] = {"status": status, "headers": headers}
        try:
            return answer | {"body": self._read(received)}
        except CallError as error:
            error.answer = answer | {"body": received.decode(errors="replace")}
            raise

    def _read(self, received: bytes) -> object:
        if not self._is_json:
            return received.decode(errors="replace")
        return read_json(received) if received else None

    def result(self, row: RowData, response: JsonObject) -> RowData | RowError:
        """Return the row with the new fields."""
        fields: dict[str, object] = {}
        for name, path in self._paths.items():
            slot = path.find(dict(response))
            if slot is None and name not in self._optional:
                return RowError(message=f"the answer has no {path.text!r}, for field {name!r}")
            fields[name] = None if slot is None else slot.value
        if self._response_field is not None:
            fields[self._response_field] = response["body"]
        return taken_field_error(fields, row) or row | fields

    def comparable(self, response: JsonObject) -> JsonObject:
        """Return the fields that a row gets from the answer.

        Headers and other parts may differ between any two answers.
        """
        made = self.result({}, response)
        return {"error": made.message} if isinstance(made, RowError) else made

    def close(self) -> None:
        """Close the connections."""
        self._endpoint.close()
