"""The transform `llm`, and the reader of its answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    FiniteFloat,
    PositiveInt,
    StringConstraints,
    model_validator,
)

from elspeth.contracts.enums import CallType
from elspeth.contracts.environment import install_command
from elspeth.contracts.errors import RecordableError, describe_kind
from elspeth.contracts.plugins import (
    CallError,
    CallingTransform,
    FieldOrigins,
    JsonObject,
    PluginError,
    RowError,
    TransformOptions,
)
from elspeth.contracts.rows import RowData, RowValidator, SchemaViolationError
from elspeth.contracts.schema import SchemaConfig
from elspeth.contracts.schema_option import RowFields
from elspeth.plugins.field_paths import taken_field_error
from elspeth.plugins.http.answers import MAX_DEPTH, is_deeper, parse_json, read_json, unusable_answer
from elspeth.plugins.http.options import ApiKey, ServiceName, Timeout, split_url

if TYPE_CHECKING:
    from elspeth.plugins.llm.prompt import Prompt

__all__ = ["AnswerTextError", "LlmOptions", "LlmTransform", "content_of", "fields_of", "read_body", "response_format"]

_TOKEN_COUNTS = ("prompt_tokens", "completion_tokens")
_DEFAULT_RESPONSE_FIELD = "llm_response"
_MAX_TEMPLATE = 100_000  # characters


def _check_url(text: str) -> str:
    parts = split_url(text, "https://api.example.com/v1")
    if parts.query or parts.fragment:
        raise ValueError("must end with the path: no '?' and no '#'")
    return text.rstrip("/")


def _compile(source: str) -> Prompt:
    """Compile the prompt of a template.

    Raises PluginError without the extra, and ValueError for a template that cannot be used.
    """
    try:
        import httpx  # noqa: F401, PLC0415  an extra
        import jinja2  # noqa: F401, PLC0415
    except ImportError as error:
        raise PluginError(f"plugin 'llm' needs httpx and jinja2: {install_command('llm')}") from error
    from elspeth.plugins.llm.prompt import Prompt  # noqa: PLC0415  needs the extra

    return Prompt(source)


def _check_template(source: str) -> str:
    try:
        _compile(source)
    except PluginError as error:
        raise ValueError(str(error)) from error
    return source


_Template = Annotated[str, StringConstraints(min_length=1, max_length=_MAX_TEMPLATE), AfterValidator(_check_template)]
_Text = Annotated[str, StringConstraints(min_length=1)]


class LlmOptions(TransformOptions):
    """Options of the transform `llm`."""

    base_url: Annotated[str, AfterValidator(_check_url)] = Field(
        description="The address of the endpoint, up to `/chat/completions`."
    )
    model: _Text = Field(description="The name of the model.")
    api_key: ApiKey | None = Field(
        default=None, description="Sent as a bearer token; only its fingerprint is recorded."
    )
    prompt: _Template = Field(description="The template of the user's message, which sees the `row`.")
    system: _Template | None = Field(default=None, description="The template of the system's message.")
    temperature: Annotated[FiniteFloat, Field(ge=0)] | None = Field(default=None, description="Passed on if given.")
    max_tokens: PositiveInt | None = Field(default=None, description="Passed on if given.")
    timeout_seconds: Timeout = Field(
        default=60.0, description="For connecting, for each wait, and for the whole answer."
    )
    response_field: _Text | None = Field(
        default=None,
        description="The field for the text of the answer: `llm_response`, unless there is a `response_schema`.",
    )
    response_schema: RowFields = Field(
        default=None,
        description="Fields to request as JSON, such as `['sentiment: str', 'score: float']`, which become fields of "
        "the row.",
    )
    service: ServiceName | None = Field(
        default=None, description="The name of the endpoint in `rate_limit`; without it, the name of the host."
    )

    @model_validator(mode="after")
    def _response_field_is_free(self) -> Self:
        if self.response_schema is not None:
            names = [field.name for field in self.response_schema.fields or ()]
            if self.response_field in names:
                raise ValueError(f"response_field {self.response_field!r} is a field of response_schema, too")
        return self


class LlmTransform(CallingTransform):
    """Asks a language model about each row.

    The model is behind any OpenAI-compatible endpoint, and its text goes to `response_field`. With a `response_schema`
    the model is asked for JSON, and the fields of that object are added instead. A row fails if it already has a field
    of such a name, or if the text does not satisfy the schema. The answer is recorded then, and the call is not
    repeated: that decision is left to the author of the prompt.
    """

    name = "llm"
    plugin_version = "1.0.0"
    options_model = LlmOptions
    call_type = CallType.LLM

    def __init__(self, options: LlmOptions) -> None:
        from elspeth.plugins.http.endpoint import Endpoint  # noqa: PLC0415  needs the extra

        super().__init__(options)
        self._url = f"{options.base_url}/chat/completions"
        self._service = options.service or str(urlsplit(options.base_url).hostname)
        templates = {"system": options.system, "user": options.prompt}
        self._prompts = {role: _compile(source) for role, source in templates.items() if source is not None}
        self._validator = None if options.response_schema is None else RowValidator(options.response_schema)
        self._response_field = options.response_field
        if self._response_field is None and self._validator is None:
            self._response_field = _DEFAULT_RESPONSE_FIELD
        asked = [] if options.response_schema is None else [each.name for each in options.response_schema.fields or ()]
        self._new_fields = asked + ([] if self._response_field is None else [self._response_field])
        given = {"model": options.model, "temperature": options.temperature, "max_tokens": options.max_tokens}
        self._fixed: dict[str, object] = {name: value for name, value in given.items() if value is not None}
        if options.response_schema is not None:
            self._fixed["response_format"] = response_format(options.response_schema)
        api_key = None if options.api_key is None else options.api_key.get_secret_value()
        self._endpoint = Endpoint(api_key=api_key, timeout=options.timeout_seconds)

    @property
    def service(self) -> str:
        """Return the option `service`, or the name of the host."""
        return self._service

    def field_origins(self) -> FieldOrigins:
        """Return that the new fields come from outside the row."""
        return FieldOrigins(derived=dict.fromkeys(self._new_fields, ()))

    def request(self, row: RowData) -> JsonObject | RowError:
        """Return the request without headers, or an error.

        The row fails if it lacks a value that the prompt needs.
        """
        from elspeth.plugins.llm.prompt import PromptError  # noqa: PLC0415  needs the extra

        try:
            messages = [{"role": role, "content": prompt.render(row)} for role, prompt in self._prompts.items()]
        except PromptError as error:
            return RowError(message=str(error))
        return {"method": "POST", "url": self._url, "json": {**self._fixed, "messages": messages}}

    def send(self, request: JsonObject) -> JsonObject:
        """Send the request, and return status, some headers and body."""
        status, headers, content = self._endpoint.exchange("POST", str(request["url"]), body=request["json"])
        answer: dict[str, object] = {"status": status, "headers": headers}
        try:
            return answer | {"body": read_body(content)}
        except CallError as error:
            error.answer = answer | {"body": content.decode(errors="replace")}
            raise

    def result(self, row: RowData, response: JsonObject) -> RowData | RowError:
        """Return the row with the new fields."""
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
        return taken_field_error(fields, row) or row | fields

    def comparable(self, response: JsonObject) -> JsonObject:
        """Return the fields that a row gets from the answer.

        Ids, times and counts differ between any two answers.
        """
        made = self.result({}, response)
        return {"error": made.message} if isinstance(made, RowError) else made

    def usage(self, response: JsonObject) -> Mapping[str, int]:
        """Return the tokens of prompt and answer, if counted."""
        match response:
            case {"body": {"usage": dict(counts)}}:
                return {name: counts[name] for name in _TOKEN_COUNTS if type(counts.get(name)) is int}
        return {}

    def close(self) -> None:
        """Close the connections."""
        self._endpoint.close()


class AnswerTextError(RecordableError, ValueError):
    """The model's text does not satisfy the response schema."""


def read_body(content: bytes) -> JsonObject:
    """Return the body of a successful response.

    Raises CallError, which is not retryable, if it is not a chat completion.
    """
    body = read_json(content)
    if not isinstance(body, dict):
        raise unusable_answer(f"the answer: expected a JSON object, got {describe_kind(body)}")
    match body:
        case {"choices": [{"message": {"content": str()}}, *_]}:
            return body
        case {"choices": [{"message": {"refusal": str(refusal)}}, *_]}:
            raise unusable_answer(f"the model refused, with {describe_kind(refusal)}")
        case _:
            raise unusable_answer("the answer has no text at choices[0].message.content")


def content_of(body: JsonObject) -> str:
    """Return the text of a body that `read_body` returned."""
    match body:
        case {"choices": [{"message": {"content": str(content)}}, *_]}:
            return content
        case _:
            raise ValueError("the answer has no text at choices[0].message.content")


def response_format(schema: SchemaConfig) -> JsonObject:
    """Return the format that requests an object with these fields.

    Strict servers demand that all properties are required, and refuse properties without a type.
    """
    fields = schema.fields or ()
    properties = {field.name: field.json_schema() for field in fields}
    return {
        "type": "json_schema",
        "json_schema": {
            "name": "response",
            "strict": all(field.field_type != "any" for field in fields),
            "schema": {
                "type": "object",
                "properties": properties,
                "required": list(properties),
                "additionalProperties": False,
            },
        },
    }


def fields_of(content: str, validator: RowValidator) -> RowData:
    """Return the JSON object in the text of a model.

    Raises AnswerTextError if the text is not an object that satisfies the schema.
    """
    try:
        value = parse_json(content)
    except ValueError as error:
        raise AnswerTextError(f"the model's text is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise AnswerTextError(f"the model's text: expected a JSON object, got {describe_kind(value)}")
    if is_deeper(value, MAX_DEPTH):
        raise AnswerTextError(f"the model's text is nested deeper than {MAX_DEPTH} levels")
    try:
        return validator.validate(value)
    except SchemaViolationError as error:
        raise AnswerTextError(f"the model's text does not satisfy response_schema: {error}") from error
