"""Rows with what a language model says of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FiniteFloat,
    PositiveInt,
    SecretStr,
    StringConstraints,
    model_validator,
)

from elspeth.contracts.enums import CallType
from elspeth.contracts.plugins import CallError, JsonObject, PluginError, Row, RowError
from elspeth.contracts.schema import SchemaConfig
from elspeth.plugins.base import CallingTransform, TransformOptions
from elspeth.plugins.coercion import RowValidator
from elspeth.plugins.extras import require_llm
from elspeth.plugins.llm.answer import AnswerTextError, content_of, fields_of, read_body, response_format

if TYPE_CHECKING:
    from elspeth.plugins.llm.prompt import Prompt

__all__ = ["LlmOptions", "LlmTransform"]

_DEFAULT_RESPONSE_FIELD = "llm_response"
_DAY = 86_400.0  # seconds; the clocks of sockets end somewhere
_MAX_TEMPLATE = 100_000  # characters
_VISIBLE = re.compile(r"[!-~]+")
_CREDENTIALS = re.compile(r"[^/]*//[^/?#]*@|[^/]*//[^/:]*:(?![0-9]*(?:/|$)).*@")  # perhaps not well escaped


def _url(text: str) -> str:
    if _CREDENTIALS.match(text):
        raise ValueError("must not hold credentials, which would be recorded: use api_key")
    if not _VISIBLE.fullmatch(text):
        raise ValueError(f"expected the URL of an endpoint, such as https://api.example.com/v1, got {text!r}")
    parts = urlsplit(text)
    if parts.query or parts.fragment:
        raise ValueError("must end with the path: no '?' and no '#'")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError(f"expected the URL of an endpoint, such as https://api.example.com/v1, got {text!r}")
    return text.rstrip("/")


def _key(secret: SecretStr) -> SecretStr:
    if not _VISIBLE.fullmatch(secret.get_secret_value()):
        raise ValueError("must be ASCII characters without spaces, which is all that a header can hold")
    return secret


def _compiled(source: str) -> Prompt:
    """The prompt of a template; PluginError without the extra, ValueError for a bad template."""
    require_llm("llm")
    from elspeth.plugins.llm.prompt import Prompt  # noqa: PLC0415  needs the extra

    return Prompt(source)


def _compilable(source: str) -> str:
    try:
        _compiled(source)
    except PluginError as error:
        raise ValueError(str(error)) from error
    return source


def _fields(value: object) -> SchemaConfig | None:
    if value is None or isinstance(value, SchemaConfig):
        return value
    return SchemaConfig.from_dict({"mode": "strict", "fields": value})


Template = Annotated[str, StringConstraints(min_length=1, max_length=_MAX_TEMPLATE), AfterValidator(_compilable)]
Text = Annotated[str, StringConstraints(min_length=1)]


class LlmOptions(TransformOptions):
    """Options of the transform. `base_url` is the address up to `/chat/completions`; templates see the `row`."""

    base_url: Annotated[str, AfterValidator(_url)]
    model: Text
    api_key: Annotated[SecretStr, AfterValidator(_key)] | None = None
    prompt: Template
    system: Template | None = None
    temperature: Annotated[FiniteFloat, Field(ge=0)] | None = None
    max_tokens: PositiveInt | None = None
    timeout_seconds: Annotated[FiniteFloat, Field(gt=0, le=_DAY)] = 60.0
    response_field: Text | None = None
    response_schema: Annotated[SchemaConfig | None, BeforeValidator(_fields)] = None
    service: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None

    @model_validator(mode="after")
    def _response_field_is_free(self) -> Self:
        if self.response_schema is not None:
            names = [field.name for field in self.response_schema.fields or ()]
            if self.response_field in names:
                raise ValueError(f"response_field {self.response_field!r} is a field of response_schema, too")
        return self


class LlmTransform(CallingTransform):
    """Asks a language model about each row, at any OpenAI-compatible endpoint, and adds what it says as fields.

    The text goes to `response_field`. With a `response_schema` the model is asked for JSON, and the fields of that
    object are added instead. A row fails if a field of that name is there already, or if the text does not satisfy the
    schema: it is recorded then, and asking again is for whoever wrote the prompt to decide.
    """

    name = "llm"
    plugin_version = "1.0.0"
    options_model = LlmOptions
    call_type = CallType.LLM

    def __init__(self, options: LlmOptions) -> None:
        from elspeth.plugins.llm.endpoint import Endpoint  # noqa: PLC0415  needs the extra, as the templates did

        super().__init__(options)
        self._url = f"{options.base_url}/chat/completions"
        self._service = options.service or str(urlsplit(options.base_url).hostname)
        templates = {"system": options.system, "user": options.prompt}
        self._prompts = {role: _compiled(source) for role, source in templates.items() if source is not None}
        self._validator = None if options.response_schema is None else RowValidator(options.response_schema)
        self._response_field = options.response_field
        if self._response_field is None and self._validator is None:
            self._response_field = _DEFAULT_RESPONSE_FIELD
        given = {"model": options.model, "temperature": options.temperature, "max_tokens": options.max_tokens}
        self._fixed: dict[str, object] = {name: value for name, value in given.items() if value is not None}
        if options.response_schema is not None:
            self._fixed["response_format"] = response_format(options.response_schema)
        api_key = None if options.api_key is None else options.api_key.get_secret_value()
        self._endpoint = Endpoint(api_key=api_key, timeout=options.timeout_seconds)

    @property
    def service(self) -> str:
        """As the options say, or the name of the host."""
        return self._service

    def request(self, row: Row) -> JsonObject | RowError:
        """The request without headers, or an error if the row lacks what the prompt needs."""
        from elspeth.plugins.llm.prompt import PromptError  # noqa: PLC0415  needs the extra

        try:
            messages = [{"role": role, "content": prompt.render(row)} for role, prompt in self._prompts.items()]
        except PromptError as error:
            return RowError(message=str(error))
        return {"method": "POST", "url": self._url, "json": {**self._fixed, "messages": messages}}

    def send(self, request: JsonObject) -> JsonObject:
        """Ask once; status, some headers and the body of the response."""
        status, headers, content = self._endpoint.post(str(request["url"]), request["json"])
        answer: dict[str, object] = {"status": status, "headers": headers}
        try:
            return answer | {"body": read_body(content)}
        except CallError as error:
            error.answer = answer | {"body": content.decode(errors="replace")}
            raise

    def result(self, row: Row, response: JsonObject) -> Row | RowError:
        """The row with the new fields."""
        body = response["body"]
        if not isinstance(body, dict):
            raise TypeError("the recorded response has no body")
        text = content_of(body)
        try:
            fields = {} if self._validator is None else fields_of(text, self._validator)
        except AnswerTextError as error:
            return RowError(message=str(error))
        if self._response_field is not None:
            fields[self._response_field] = text
        taken = [name for name in fields if name in row]
        if taken:
            return RowError(message=f"field {taken[0]!r} exists already", details={"field": taken[0]})
        return row | fields

    def comparable(self, response: JsonObject) -> JsonObject:
        """What a row would get: ids, times and counts differ between any two answers."""
        made = self.result({}, response)
        return {"error": made.message} if isinstance(made, RowError) else made

    def close(self) -> None:
        """Close the connections, if any were made."""
        self._endpoint.close()
