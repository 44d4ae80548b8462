"""The transform `http`: requests, answers and their faults."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import pytest
from pydantic import ValidationError

from elspeth.contracts.plugins import CallError, RowError
from elspeth.contracts.rows import RowData
from elspeth.plugins.http.transform import HttpOptions, HttpTransform
from tests.fixtures.llm_server import Answer, LlmServer, answers, drips, hangs_up, llm_server

KEY = "sk-do-not-tell"
REDIRECT = "the server answered 302 Found: redirects are not followed, so name the URL that it leads to"
ITEM = answers(200, b'{"name": "Ada", "orders": [{"total": 7.5}]}')


def transform(**options: object) -> HttpTransform:
    given = {"url": "https://api.example.com/customers/{id}"}
    return HttpTransform(HttpOptions.model_validate({**given, **options}))


@contextmanager
def transform_and_server(*script: Answer, **options: object) -> Iterator[tuple[HttpTransform, LlmServer]]:
    """Make a transform, and the server that it asks."""
    with llm_server(*script) as server:
        given = {"url": f"{server.url}/customers/{{id}}", "allowed_networks": ["127.0.0.0/8"], **options}
        plugin = transform(**given)
        try:
            yield plugin, server
        finally:
            plugin.close()


def failure(*script: Answer, **options: object) -> CallError:
    with transform_and_server(*script, **options) as (plugin, _), pytest.raises(CallError) as raised:
        plugin.process({"id": 1})
    return raised.value


def test_a_row_gets_the_answer_to_its_request() -> None:
    with transform_and_server(ITEM) as (plugin, server):
        made = plugin.process({"id": "7/8"})
        (received,) = server.received
    assert made == {"id": "7/8", "http_response": {"name": "Ada", "orders": [{"total": 7.5}]}}
    assert (received.method, received.path, received.body) == ("GET", "/v1/customers/7%2F8", None)
    assert received.headers["host"] == server.url.split("/")[2]
    assert "authorization" not in received.headers


def test_the_sent_request_is_the_recorded_one_with_the_key() -> None:
    headers = {"Accept-Language": "el", "Content-Type": "application/vnd.api+json"}
    options = {"method": "PUT", "body": {"id": "{id}"}, "headers": headers, "api_key": KEY}
    with transform_and_server(ITEM, **options) as (plugin, server):
        asked = plugin.request({"id": 7})
        assert not isinstance(asked, RowError)
        plugin.send(asked)
        (received,) = server.received
    assert asked == {
        "method": "PUT",
        "url": f"{server.url}/customers/7",
        "headers": headers,
        "json": {"id": 7},
    }
    assert (received.body, received.headers["accept-language"]) == ({"id": 7}, "el")
    assert received.headers["content-type"] == "application/vnd.api+json"
    assert received.headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in json.dumps(asked)


def test_a_body_may_be_empty() -> None:
    with transform_and_server(ITEM, method="POST", body=[]) as (plugin, server):
        plugin.process({"id": 7})
        assert server.received[0].body == []


def test_a_date_is_sent_as_its_canonical_text() -> None:
    asked = transform().request({"id": date(2026, 3, 1)})
    assert asked == {"method": "GET", "url": "https://api.example.com/customers/2026-03-01"}


def test_a_parameter_filled_from_a_row_is_not_a_secret_of_the_settings() -> None:
    asked = transform(url="https://api.example.com/?token={id}").request({"id": 7})
    assert asked == {"method": "GET", "url": "https://api.example.com/?token=7"}


def test_a_key_may_be_sent_in_the_url() -> None:
    with transform_and_server(ITEM, api_key=KEY, api_key_parameter="key") as (plugin, server):
        asked = plugin.request({"id": 7})
        plugin.process({"id": 7})
        assert server.received[0].path == f"/v1/customers/7?key={KEY}"
    assert asked == {"method": "GET", "url": f"{server.url}/customers/7"}


def test_a_key_may_be_sent_in_another_header() -> None:
    with transform_and_server(ITEM, api_key=KEY, api_key_header="X-Api-Key") as (plugin, server):
        plugin.process({"id": 7})
        assert server.received[0].headers["x-api-key"] == KEY
        assert "authorization" not in server.received[0].headers
    with transform_and_server(ITEM, api_key=KEY, api_key_header="authorization") as (plugin, server):
        plugin.process({"id": 7})
        assert server.received[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"fields": {"total": "body.orders.0.total"}}, {"total": 7.5}),
        ({"fields": {"seen": "status", "kind": "headers.content-type"}}, {"seen": 200, "kind": "application/json"}),
        ({"fields": {"rebate": "body.rebate?"}}, {"rebate": None}),
        (
            {"fields": {"total": "body.orders.0.total"}, "response_field": "all"},
            {"total": 7.5, "all": {"name": "Ada", "orders": [{"total": 7.5}]}},
        ),
        ({"fields": {}}, {}),
        ({"answer": "text"}, {"http_response": '{"name": "Ada", "orders": [{"total": 7.5}]}'}),
    ],
)
def test_an_answer_becomes_fields(options: dict[str, object], expected: RowData) -> None:
    with transform_and_server(ITEM, **options) as (plugin, _):
        made = plugin.process({"id": 7})
    assert made == {"id": 7, **expected}


def test_a_row_whose_answer_lacks_a_part_fails() -> None:
    with transform_and_server(ITEM, fields={"rebate": "body.rebate"}) as (plugin, _):
        assert plugin.process({"id": 7}) == RowError(message="the answer has no 'body.rebate', for field 'rebate'")


def test_a_field_is_not_overwritten() -> None:
    with transform_and_server(ITEM, fields={"id": "status"}) as (plugin, _):
        assert plugin.process({"id": 7}) == RowError(message="field 'id' exists already", details={"field": "id"})


def test_no_request_is_sent_for_a_row_that_lacks_a_field() -> None:
    assert transform().request({"name": "Ada"}) == RowError(message="field 'id' is missing")


def test_other_statuses_can_be_accepted() -> None:
    with transform_and_server(answers(404, b"{}"), also_accept=[404], fields={"seen": "status"}) as (plugin, _):
        assert plugin.process({"id": 7}) == {"id": 7, "seen": 404}
    error = failure(answers(404, b"{}"))
    assert (str(error), error.is_retryable) == ("the server answered 404 Not Found", False)


def test_an_answer_without_a_body_is_null() -> None:
    with transform_and_server(answers(204)) as (plugin, _):
        assert plugin.process({"id": 7}) == {"id": 7, "http_response": None}


@pytest.mark.parametrize(
    ("answer", "message", "is_retryable"),
    [
        (answers(503), "the server answered 503 Service Unavailable", True),
        (answers(302, headers={"Location": "http://169.254.169.254/"}), REDIRECT, False),
        (answers(200, b"<html>"), "the answer is not JSON: Expecting value: line 1 column 1 (char 0)", False),
        (answers(200, b" \n"), "the answer is not JSON: Expecting value: line 2 column 1 (char 2)", False),
        (answers(200, f'"{KEY}"'.encode()), "the answer repeats the api_key: it is neither used nor kept", False),
        (hangs_up, "the connection failed: RemoteProtocolError", True),
    ],
)
def test_an_unusable_answer_is_an_error(answer: Answer, message: str, is_retryable: bool) -> None:
    error = failure(answer, api_key=KEY)
    assert (str(error), error.is_retryable) == (message, is_retryable)


def test_an_unusable_answer_is_not_part_of_the_message() -> None:
    headers = {"content-type": "application/json"}
    expected = {"status": 200, "headers": headers, "body": "<html>\ufffd"}
    assert failure(answers(200, b"<html>\xff")).answer == expected


def test_a_slow_server_has_a_deadline() -> None:
    error = failure(drips, timeout_seconds=0.1)
    assert (str(error), error.is_retryable) == ("no complete answer within 0.1 seconds", True)


def test_a_name_in_a_private_network_is_refused() -> None:
    with llm_server(ITEM) as server:
        plugin = transform(url=server.url.replace("127.0.0.1", "localhost") + "/{id}")
        with pytest.raises(CallError, match=r"^localhost is not called: ") as raised:
            plugin.process({"id": 7})
        assert server.received == []
    assert not raised.value.is_retryable


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"url": "http://169.254.169.254/latest"}, "169.254.169.254 is no public address"),
        ({"url": "https://ada:secret@api.example.com/{id}"}, "must not hold credentials"),
        ({"url": "ftp://api.example.com/{id}"}, "expected the URL of an endpoint"),
        ({"url": "https://{host}/"}, "expected the URL of an endpoint"),
        ({"url": "https://api.example.com:0/{id}"}, "expected the URL of an endpoint"),
        ({"url": "https://api.example.com/?token="}, "use api_key, with api_key_parameter: token"),
        ({"url": "https://api.{region}.com/"}, "a field stands in the name of the server"),
        ({"url": "https://api.example.com/{id}#top"}, "must not have a fragment"),
        ({"body": {"a": 1}}, "body: a GET request has none; choose another method"),
        ({"method": "HEAD", "body": {"a": 1}}, "body: a HEAD request has none; choose another method"),
        ({"method": "POST", "body": "{id!r}"}, "expected {field}, with the name of a field alone"),
        ({"method": "POST", "body": ["{id!r}"]}, "expected {field}, with the name of a field alone"),
        ({"headers": {"Authorization": "Bearer x"}}, "Authorization would be recorded: a secret is given as api_key"),
        ({"headers": {"X": "a\r\nHost: b"}}, "String should match pattern"),
        ({"fields": {"a": "status"}, "response_field": "a"}, "is one of the fields, too"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError) as raised:
        transform(**options)
    assert problem in str(raised.value)


def test_without_the_extra_the_plugin_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elspeth.contracts.environment.find_spec", lambda _: None)
    with pytest.raises(ValidationError) as raised:
        transform()
    assert [str(error["ctx"]["error"]) for error in raised.value.errors()] == [
        "plugin 'http' needs httpx, which is not installed: in a checkout of elspeth, pip install '.[http]'"
    ]


def test_the_service_is_the_host_unless_it_has_a_name() -> None:
    assert transform().service == "api.example.com"
    assert transform(service="crm").service == "crm"


def test_answers_are_compared_by_the_rows_that_they_give() -> None:
    plugin = transform(fields={"total": "body.total"})
    first, second = ({"status": 200, "headers": {"x-request-id": str(n)}, "body": {"total": 7, "n": n}} for n in (1, 2))
    assert plugin.comparable(first) == plugin.comparable(second) == {"total": 7}
    assert "error" in plugin.comparable({"status": 200, "headers": {}, "body": {}})


def test_the_connections_are_closed_with_the_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, closed = transform(), list[bool]()
    monkeypatch.setattr(plugin._endpoint, "close", lambda: closed.append(True))
    plugin.close()
    assert closed == [True]
