"""The transform `llm`: requests, answers and their faults."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from elspeth.contracts.plugins import CallError, JsonObject, PluginKind, RowError
from elspeth.contracts.rows import RowData
from elspeth.core.canonical import canonical_bytes
from elspeth.plugins.http.endpoint import MAX_ANSWER, seconds_until_retry
from elspeth.plugins.llm.transform import LlmOptions, LlmTransform, read_body
from elspeth.plugins.manager import PluginManager
from tests.fixtures.llm_server import (
    Answer,
    LlmServer,
    answers,
    completion,
    drips,
    hangs,
    hangs_up,
    llm_server,
    says,
    sends,
)

KEY = "sk-do-not-tell"
SCHEMA = ["sentiment: str", "score: float", "topic: str?"]


def transform(**options: object) -> LlmTransform:
    given = {"base_url": "https://models.example.com/v1", "model": "stub", "prompt": "Say {{ row.word }}."}
    return LlmTransform(LlmOptions.model_validate({**given, **options}))


@contextmanager
def transform_and_server(*script: Answer, **options: object) -> Iterator[tuple[LlmTransform, LlmServer]]:
    """Make a transform, and the server that it asks."""
    with llm_server(*script) as server:
        plugin = transform(base_url=server.url, **options)
        try:
            yield plugin, server
        finally:
            plugin.close()


def request(plugin: LlmTransform, row: RowData) -> JsonObject:
    found = plugin.request(row)
    assert not isinstance(found, RowError)
    return found


def failure(*script: Answer, **options: object) -> CallError:
    """Return the error of a failed call."""
    with transform_and_server(*script, **options) as (plugin, _), pytest.raises(CallError) as raised:
        plugin.process({"word": "hello"})
    return raised.value


# -- requests ---------------------------------------------------------------------------------------------------------


def test_the_request_follows_the_options_and_has_no_secret() -> None:
    plugin = transform(
        base_url="https://models.example.com:8443/v1/",
        api_key=KEY,
        system="Speak {{ row.language }}.",
        temperature=0,
        max_tokens=5,
    )
    assert request(plugin, {"word": "hello", "language": "Greek"}) == {
        "method": "POST",
        "url": "https://models.example.com:8443/v1/chat/completions",
        "json": {
            "model": "stub",
            "temperature": 0.0,
            "max_tokens": 5,
            "messages": [{"role": "system", "content": "Speak Greek."}, {"role": "user", "content": "Say hello."}],
        },
    }


def test_the_sent_request_is_the_recorded_one_with_the_key() -> None:
    with transform_and_server(says("Hello."), api_key=KEY) as (plugin, server):
        asked = request(plugin, {"word": "héllo"})
        response = plugin.send(asked)
        (received,) = server.received
    assert received.body == asked["json"]
    assert (received.path, received.headers["authorization"]) == ("/v1/chat/completions", f"Bearer {KEY}")
    assert received.headers["accept-encoding"] == "identity"
    headers = {"content-type": "application/json", "x-request-id": "req-1"}
    assert response == {"status": 200, "headers": headers, "body": completion("Hello.")}


def test_without_a_key_no_credentials_are_sent() -> None:
    with transform_and_server(says("Hello.")) as (plugin, server):
        plugin.process({"word": "hello"})
        assert "authorization" not in server.received[0].headers


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"prompt_tokens": 0, "completion_tokens": 2, "total_tokens": 2}, {"prompt_tokens": 0, "completion_tokens": 2}),
        ({"prompt_tokens": True, "completion_tokens": "2"}, {}),
        (None, {}),
    ],
)
def test_the_token_counts_of_the_server_are_returned(counts: object, usage: dict[str, int]) -> None:
    assert transform().usage({"body": completion("Hi.") | {"usage": counts}}) == usage


def test_a_schema_asks_for_json() -> None:
    body: Any = request(transform(response_schema=SCHEMA), {"word": "hello"})["json"]
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "response",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {
                    "sentiment": {"type": "string"},
                    "score": {"type": "number"},
                    "topic": {"type": ["string", "null"]},
                },
                "required": ["sentiment", "score", "topic"],
                "additionalProperties": False,
            },
        },
    }
    body = request(transform(response_schema=["n: int", "ok: bool", "rest: any"]), {"word": "hello"})["json"]
    assert body["response_format"]["json_schema"]["strict"] is False
    assert body["response_format"]["json_schema"]["schema"]["properties"] == {
        "n": {"type": "integer"},
        "ok": {"type": "boolean"},
        "rest": {},
    }


def test_the_service_is_the_host_unless_it_has_a_name() -> None:
    assert transform().service == "models.example.com"
    assert transform(service="models").service == "models"


def test_no_request_is_sent_for_a_row_that_lacks_a_field() -> None:
    assert transform().request({"sentence": "hello"}) == RowError(
        message="the prompt cannot be made: there is no 'word'"
    )


# -- answers -----------------------------------------------------------------------------------------------------------


def result_of(text: str, **options: object) -> RowData | RowError:
    """Return the result of a row with this answer."""
    return transform(**options).result({"word": "hello"}, {"status": 200, "headers": {}, "body": completion(text)})


GOOD = json.dumps({"sentiment": "glad", "score": 1, "topic": None})


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("Hello.", {}, {"llm_response": "Hello."}),
        (" Hello.\n", {}, {"llm_response": " Hello.\n"}),
        ("", {}, {"llm_response": ""}),
        ("Hello.", {"response_field": "said"}, {"said": "Hello."}),
        ('{"llm_response": 1}', {"response_schema": ["llm_response: int"]}, {"llm_response": 1}),
        (GOOD, {"response_schema": SCHEMA}, {"sentiment": "glad", "score": 1.0, "topic": None}),
        (
            GOOD,
            {"response_schema": SCHEMA, "response_field": "said"},
            {"sentiment": "glad", "score": 1.0, "topic": None, "said": GOOD},
        ),
    ],
)
def test_an_answer_becomes_fields(text: str, options: dict[str, object], expected: RowData) -> None:
    assert result_of(text, **options) == {"word": "hello", **expected}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Glad.", "the model's text is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ('{"score": NaN}', "the model's text is not JSON: it holds NaN"),
        ("[" * 100_000, "the model's text is not JSON: it is nested too deeply"),
        ("[1]", "the model's text: expected a JSON object, got a list of 1 item"),
        ('{"rest": ' + "[" * 70 + "]" * 70 + "}", "the model's text is nested deeper than 64 levels"),
        (
            '{"sentiment": 1, "mood": "glad"}',
            (
                "the model's text does not satisfy response_schema: field 'score' is missing; "
                "fields that are not in the schema: 1; field 'sentiment': expected text, got an integer"
            ),
        ),
    ],
)
def test_a_text_that_does_not_satisfy_the_schema_fails_the_row(text: str, message: str) -> None:
    assert result_of(text, response_schema=SCHEMA) == RowError(message=message)


def nested(levels: int) -> str:
    """Return a JSON object with a number at that depth."""
    return '{"rest": ' + "[" * (levels - 1) + "1" + "]" * (levels - 1) + "}"


def test_the_deepest_nesting_that_is_allowed_is_accepted() -> None:
    assert isinstance(result_of(nested(64), response_schema=["rest: any"]), dict)
    assert isinstance(result_of(nested(65), response_schema=["rest: any"]), RowError)
    body = completion("Hello.")
    assert read_body(json.dumps({**body, **json.loads(nested(64))}).encode())["choices"] == body["choices"]
    with pytest.raises(CallError, match="nested deeper than 64 levels"):
        read_body(json.dumps({**body, **json.loads(nested(65))}).encode())


@pytest.mark.parametrize("options", [{"response_field": "word"}, {"response_schema": ["word: str"]}])
def test_a_field_is_not_overwritten(options: dict[str, object]) -> None:
    expected = RowError(message="field 'word' exists already", details={"field": "word"})
    assert result_of('{"word": "bye"}', **options) == expected


def test_answers_are_compared_by_the_rows_that_they_give() -> None:
    first, second = completion("Hello."), completion("Hello.") | {"id": "chatcmpl-2", "created": 0}
    plugin = transform()
    assert plugin.comparable({"body": first}) == plugin.comparable({"body": second}) == {"llm_response": "Hello."}
    assert "error" in transform(response_schema=SCHEMA).comparable({"body": first})


# -- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "message", "is_retryable", "retry_after", "details"),
    [
        (
            answers(429, b'{"error": "later"}', {"Retry-After": "7"}),
            "the server answered 429 Too Many Requests",
            True,
            7.0,
            {"status": 429},
        ),
        (
            answers(408),
            "the server answered 408 Request Timeout",
            True,
            None,
            {"status": 408},
        ),
        (
            answers(500, b"oops"),
            "the server answered 500 Internal Server Error",
            True,
            None,
            {"status": 500},
        ),
        (answers(599), "the server answered 599", True, None, {"status": 599}),
        (
            answers(401, f"{KEY} is no key".encode()),
            "the server answered 401 Unauthorized",
            False,
            None,
            {"status": 401},
        ),
        (
            answers(307, headers={"Location": "http://127.0.0.1:1/"}),
            "the server answered 307 Temporary Redirect: redirects are not followed, so name the URL that it leads to",
            False,
            None,
            {"status": 307},
        ),
        (sends(MAX_ANSWER + 1), "the answer is larger than 10000000 bytes", False, None, {}),
        (answers(200), "the answer is not JSON: Expecting value: line 1 column 1 (char 0)", False, None, {}),
        (answers(200, b"\x1f\x8b"), "the answer is not UTF-8: invalid start byte at byte 1", False, None, {}),
        (answers(200, b'{"a": Infinity}'), "the answer is not JSON: it holds Infinity", False, None, {}),
        (answers(200, b"[" * 100_000), "the answer is not JSON: it is nested too deeply", False, None, {}),
        (answers(200, b"[1]"), "the answer: expected a JSON object, got a list of 1 item", False, None, {}),
        (
            answers(200, b'{"a": ' + b"[" * 65 + b"]" * 65 + b"}"),
            "the answer is nested deeper than 64 levels",
            False,
            None,
            {},
        ),
        (answers(200, b'{"choices": []}'), "the answer has no text at choices[0].message.content", False, None, {}),
        (says(None), "the answer has no text at choices[0].message.content", False, None, {}),
        (
            answers(200, b'{"choices": [{"message": {"content": null, "refusal": "No."}}]}'),
            "the model refused, with text of 3 characters",
            False,
            None,
            {},
        ),
    ],
)
def test_an_unusable_answer_is_an_error(
    answer: Answer, message: str, is_retryable: bool, retry_after: float | None, details: JsonObject
) -> None:
    error = failure(answer, api_key=KEY)
    found = (str(error), error.is_retryable, error.retry_after, error.details)
    assert found == (message, is_retryable, retry_after, details)


def test_an_unusable_answer_is_not_part_of_the_message() -> None:
    refused = failure(answers(401, b"that is no key " + b"\xff" * 10_000), api_key=KEY)
    assert refused.answer == {"status": 401, "body": "that is no key " + "\ufffd" * 4_985}
    answer = answers(200, b'{"choices": []}\xff', {"x-request-id": "req-1"})
    headers = {"content-type": "application/json", "x-request-id": "req-1"}
    assert failure(answer).answer == {"status": 200, "headers": headers, "body": '{"choices": []}\ufffd'}
    assert failure(answers(200, b'"x"')).answer == {
        "status": 200,
        "headers": {"content-type": "application/json"},
        "body": '"x"',
    }


@pytest.mark.parametrize("answer", [hangs, drips])
def test_a_timeout_is_retryable(answer: Answer) -> None:
    error = failure(answer, timeout_seconds=0.1)
    assert (str(error), error.is_retryable) == ("no complete answer within 0.1 seconds", True)


def test_a_broken_connection_is_retryable() -> None:
    error = failure(hangs_up)
    assert str(error) == "the connection failed: RemoteProtocolError"
    assert (error.is_retryable, error.details) == (True, {"cause": "RemoteProtocolError"})


REPEATED = "the answer repeats the api_key: it is neither used nor kept"


@pytest.mark.parametrize(
    ("answer", "message", "kept"),
    [
        (says(f"Your key is {KEY.upper()}."), REPEATED, None),
        (answers(200, f'["{KEY}'.encode()), REPEATED, None),
        (answers(200, b"{}", {"x-request-id": f"for-{KEY}"}), REPEATED, None),
        (
            answers(401, b"." * 4_990 + KEY.encode()),  # an excerpt would hold a part of the key
            "the server answered 401 Unauthorized",
            {"status": 401, "body": "[not kept: it repeats the api_key]"},
        ),
    ],
    ids=["text", "no JSON", "header", "error"],
)
def test_an_answer_that_repeats_the_key_is_not_kept(answer: Answer, message: str, kept: JsonObject | None) -> None:
    error = failure(answer, api_key=KEY)
    assert (str(error), error.is_retryable, error.answer) == (message, False, kept)


def test_headers_that_are_not_kept_may_repeat_the_key() -> None:
    with transform_and_server(answers(200, json.dumps(completion("Hi.")).encode(), {"x-echo": KEY}), api_key=KEY) as (
        plugin,
        _,
    ):
        assert plugin.process({"word": "hello"}) == {"word": "hello", "llm_response": "Hi."}


def test_a_missing_server_is_retryable() -> None:
    with llm_server() as server:
        url = server.url
    with pytest.raises(CallError) as raised:
        transform(base_url=url).process({"word": "hello"})
    assert str(raised.value).startswith("the connection failed: ")
    assert (raised.value.is_retryable, raised.value.details) == (True, {"cause": "ConnectError"})


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 12:00:30 -0000", 30.0),
        ("Thu, 01 Jan 2026 13:00:30 +0100", 30.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float | None) -> None:
    assert seconds_until_retry({"Retry-After": header}, NOON) == seconds


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_body_raises_anything_but_a_call_error(body: bytes) -> None:
    with pytest.raises(CallError):
        read_body(body)


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (
            {"base_url": "https://me:secret@models.example.com"},
            ["must not hold credentials, which would be recorded: use api_key"],
        ),
        (
            {"base_url": "https://me:my sec/ret@models.example.com"},
            ["must not hold credentials, which would be recorded: use api_key"],
        ),
        ({"base_url": "https://models.example.com/v1?key=1"}, ["must end with the path: no '?' and no '#'"]),
        ({"base_url": "https://models.example.com/v1#x"}, ["must end with the path: no '?' and no '#'"]),
        (
            {"base_url": "ftp://models.example.com"},
            ["expected the URL of an endpoint, such as https://api.example.com/v1, got 'ftp://models.example.com'"],
        ),
        (
            {"base_url": "https:///v1"},
            ["expected the URL of an endpoint, such as https://api.example.com/v1, got 'https:///v1'"],
        ),
        (
            {"base_url": "https://a b"},
            ["expected the URL of an endpoint, such as https://api.example.com/v1, got 'https://a b'"],
        ),
        ({"base_url": "https://a:99999"}, ["Port out of range 0-65535"]),
        ({"api_key": "sk\n"}, ["must be ASCII characters without spaces, which is all that a header can hold"]),
        ({"api_key": ""}, ["must be ASCII characters without spaces, which is all that a header can hold"]),
        (
            {"prompt": "{{ row.a"},
            ["line 1 of the template: unexpected end of template, expected 'end of print statement'."],
        ),
        (
            {"response_schema": ["score: number"]},
            [
                (
                    "field 'score: number' is not understood: "
                    "expected 'name: type' with the type one of any, bool, date, datetime, decimal(N), duration, "
                    "float, int, str"
                )
            ],
        ),
        (
            {"response_schema": ["score: int"], "response_field": "score"},
            ["response_field 'score' is a field of response_schema, too"],
        ),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], messages: list[str]) -> None:
    with pytest.raises(ValidationError) as raised:
        transform(**options)
    assert [str(error["ctx"]["error"]) for error in raised.value.errors()] == messages


def test_without_the_extra_the_option_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ValidationError) as raised:
        transform()
    assert [str(error["ctx"]["error"]) for error in raised.value.errors()] == [
        "plugin 'llm' needs httpx and jinja2: in a checkout of elspeth, pip install '.[llm]'"
    ]


def test_a_key_is_not_shown() -> None:
    plugin = transform(api_key=KEY)
    assert KEY not in repr(plugin.options)
    assert KEY.encode() not in canonical_bytes(request(plugin, {"word": "hello"}))


def test_settings_can_name_the_plugin() -> None:
    manager = PluginManager.installed()
    assert manager.options_model(PluginKind.TRANSFORM, "llm") is LlmOptions


def test_an_answer_with_empty_text_is_an_answer() -> None:
    with transform_and_server(says("")) as (plugin, _):
        assert plugin.process({"word": "hello"}) == {"word": "hello", "llm_response": ""}


def test_the_connections_are_closed_with_the_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, closed = transform(), list[bool]()
    monkeypatch.setattr(plugin._endpoint, "close", lambda: closed.append(True))
    plugin.close()
    assert closed == [True]


@pytest.mark.parametrize("end", ["", "/", "//"])
def test_slashes_at_the_end_of_the_address_do_not_matter(end: str) -> None:
    plugin = transform(base_url=f"https://models.example.com/v1{end}")
    assert request(plugin, {"word": "hello"})["url"] == "https://models.example.com/v1/chat/completions"
