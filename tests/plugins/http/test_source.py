"""The source `http`: pages, limits and faults, without an engine."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from pydantic import ValidationError

from elspeth.contracts.plugins import Dataset, JsonObject, PluginError
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.plugins.http.endpoint import Endpoint
from elspeth.plugins.http.pages import Pages, PagesOptions, next_link, shown_url, with_parameters
from elspeth.plugins.http.received import Page, as_response
from elspeth.plugins.http.source import HttpSource, HttpSourceOptions
from tests.fixtures.llm_server import Answer, LlmServer, _Handler, answers, drips, hangs_up, llm_server

KEY = "sk-do-not-tell"
GERMAN = {"delimiter": ";", "encoding": "cp1252"}
IN_ROWS = {"format_options": {"record_path": "rows"}}
LOOPBACK = {"allowed_networks": ["127.0.0.0/8"]}


def source(**options: object) -> HttpSource:
    return HttpSource(HttpSourceOptions.model_validate({"url": "https://api.example.com/orders", **options}))


def sends(value: object, **headers: str) -> Answer:
    return answers(200, value if isinstance(value, bytes) else json.dumps(value).encode(), headers)


@contextmanager
def reading(*script: Answer, **options: object) -> Iterator[tuple[HttpSource, LlmServer]]:
    """Make a source, and the server that it reads."""
    with llm_server(*script) as server:
        plugin = source(**{"url": f"{server.url}/orders", **LOOPBACK, **options})
        try:
            yield plugin, server
        finally:
            plugin.close()


def rows_of(*script: Answer, **options: object) -> list[RowData | InvalidRow]:
    with reading(*script, **options) as (plugin, _):
        return list(plugin.read())


def failure(*script: Answer, **options: object) -> str:
    with reading(*script, **options) as (plugin, server), pytest.raises(PluginError) as raised:
        list(plugin.read())
    return str(raised.value).replace(server.url, "URL")


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (b'[{"id": "1"}, {"id": "2"}]', {}),
        (b'{"data": {"items": [{"id": "1"}, {"id": "2"}]}}', {"format_options": {"record_path": "data.items"}}),
        (b'{"id": "1"}\n{"id": "2"}\n', {"format": "jsonl"}),
        (b"id\n1\n2\n", {"format": "csv"}),
        ("id;ö\n1;\n2;\n".encode("cp1252"), {"format": "csv", "format_options": GERMAN}),
        (gzip.compress(b"id\n1\n2\n", mtime=0), {"format": "csv"}),
        (b'\xef\xbb\xbf[{"id": "1"}, {"id": "2"}]', {}),
    ],
)
def test_rows_are_those_that_the_source_of_the_format_reads(content: bytes, options: Mapping[str, object]) -> None:
    schema = {"mode": "free", "fields": ["id: int"]}
    with reading(answers(200, content, {"ETag": '"7"'}), schema=schema, **options) as (plugin, server):
        assert [row["id"] for row in plugin.read() if isinstance(row, dict)] == [1, 2]
        (read,) = plugin.inputs()
        (received,) = server.received
    assert (read.input_type, read.path_or_uri, read.rows, read.is_complete) == ("http", f"{server.url}/orders", 2, True)
    assert (read.content_hash, read.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert read.object_version == '"7"'
    assert (received.method, received.path) == ("GET", "/v1/orders")


def test_a_malformed_row_is_invalid_and_reading_goes_on() -> None:
    bad, good = rows_of(sends(b'{"id" 1}\n{"id": 2}\n'), format="jsonl", format_options={"line_field": "line"})
    assert isinstance(bad, InvalidRow)
    assert bad.error.startswith("line 1: not JSON")
    assert good == {"id": 2, "line": 2}


def test_rows_of_several_pages_are_named_by_their_page() -> None:
    script = (sends(b'{"id": 1}\n', Link="<?2>; rel=next"), sends(b'{"id" 1}\n'))
    with reading(*script, format="jsonl", next_page="link") as (plugin, server):
        _, bad = plugin.read()
    assert isinstance(bad, InvalidRow)
    assert (bad.error.partition(": not JSON")[0], bad.line) == (f"line 1 of {server.url}/orders?2", 1)


def test_a_page_is_an_input_while_it_is_read() -> None:
    with reading(sends([{"id": 1}, {"id": 2}])) as (plugin, _):
        rows = plugin.read()
        next(rows)
        assert [(each.rows, each.is_complete, each.content_hash) for each in plugin.inputs()] == [(1, False, None)]
        assert len(list(rows)) == 1
        assert [(each.rows, each.is_complete) for each in plugin.inputs()] == [(2, True)]


def test_connections_are_closed_with_the_last_row_even_if_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Endpoint] = []
    close = Endpoint.close

    def note(endpoint: Endpoint) -> None:
        closed.append(endpoint)
        close(endpoint)

    monkeypatch.setattr(Endpoint, "close", note)
    with reading(sends([{"id": 1}, {"id": 2}])) as (plugin, _):
        rows = plugin.read()
        next(rows)
        assert closed == []
        rows.close()  # type: ignore[attr-defined]  # a generator
        assert closed == [plugin._endpoint]
        plugin.close()
        assert len(closed) == 2


@pytest.mark.parametrize(("first", "second"), [(b"a", b"b"), (b"\xff", b"\xfe"), (b"{}", b"{} ")])
def test_answers_are_compared_by_their_bytes(first: bytes, second: bytes) -> None:
    plugin = source()
    one, same, other = (
        plugin.comparable(as_response(200, {"etag": str(number)}, content))
        for number, content in enumerate((first, first, second))
    )
    assert one == same == {"sha256": hashlib.sha256(first).hexdigest()}
    assert other != one


def test_parameters_headers_and_the_key_are_sent_and_the_key_is_not_shown() -> None:
    options: dict[str, object] = {
        "parameters": {"limit": 2, "a": "b"},
        "headers": {"Accept-Language": "el"},
        "api_key": KEY,
    }
    with reading(sends([]), api_key_parameter="key", **options) as (plugin, server):
        assert list(plugin.read()) == []
        (received,) = server.received
    assert received.path == f"/v1/orders?limit=2&a=b&key={KEY}"
    assert (received.headers["accept-language"], "authorization" in received.headers) == ("el", False)
    assert plugin.inputs()[0].path_or_uri == f"{server.url}/orders?limit=2&a=b"
    with reading(sends([]), api_key=KEY) as (plugin, server):
        assert list(plugin.read()) == []
        assert server.received[0].headers["authorization"] == f"Bearer {KEY}"
    with reading(sends([]), api_key=KEY, api_key_header="X-Api-Key") as (plugin, server):
        assert list(plugin.read()) == []
        assert server.received[0].headers["x-api-key"] == KEY


def paths(server: LlmServer) -> list[str]:
    return [each.path.removeprefix("/v1/orders") for each in server.received]


def test_pages_follow_the_header_link() -> None:
    script = (
        sends([{"id": 1}], Link='<orders?page=2>; title="a, <b>; c"; rel="last next", <orders?page=9>; rel=last'),
        sends([{"id": 2}], Link="<orders?page=1>; rel=prev"),
    )
    with reading(*script, next_page="link") as (plugin, server):
        assert list(plugin.read()) == [{"id": 1}, {"id": 2}]
        assert paths(server) == ["", "?page=2"]
    assert [(each.path_or_uri, each.rows) for each in plugin.inputs()] == [
        (f"{server.url}/orders", 1),
        (f"{server.url}/orders?page=2", 1),
    ]


@pytest.mark.parametrize(("form", "content"), [("csv", b"id\n1\n"), ("jsonl", b'{"id": "1"}\n')])
def test_the_header_link_leads_through_pages_of_every_format(form: str, content: bytes) -> None:
    script = (sends(content, Link="<?2>; rel=next"), sends(content))
    assert rows_of(*script, next_page="link", format=form) == [{"id": "1"}] * 2


@pytest.mark.parametrize("end", [{}, {"next": None}, {"next": ""}, {"next": False}])
def test_pages_follow_a_url_in_the_body(end: dict[str, object]) -> None:
    script = (sends({"rows": [{"id": 1}], "next": "?after=x%2Fy"}), sends({"rows": [{"id": 2}], **end}))
    options = {"next_page": "body.next?", "format_options": {"record_path": "rows"}}
    with reading(*script, **options) as (plugin, server):
        assert list(plugin.read()) == [{"id": 1}, {"id": 2}]
        assert paths(server) == ["", "?after=x%2Fy"]


@pytest.mark.parametrize(("found", "sent"), [("?q=a b\0\u00fc\ud800", "?q=a%20b%00%C3%BC?"), ("?%2f#x", "?%2f")])
def test_a_url_in_the_body_is_percent_encoded(found: str, sent: str) -> None:
    script = (sends({"rows": [{"id": 1}], "next": found}), sends({"rows": []}))
    options = {"next_page": "body.next?", "format_options": {"record_path": "rows"}}
    with reading(*script, **options) as (plugin, server):
        assert list(plugin.read()) == [{"id": 1}]
        assert paths(server) == ["", sent]


def test_pages_follow_a_cursor_in_the_body() -> None:
    script = (sends({"rows": [{"id": 1}], "cursor": "a&b=c\ud800"}), sends({"rows": [{"id": 2}], "cursor": None}))
    options = {
        "next_page": "body.cursor",
        "page_parameter": "after",
        "parameters": {"limit": "1", "after": ""},
        "format_options": {"record_path": "rows"},
    }
    with reading(*script, **options) as (plugin, server):
        assert list(plugin.read()) == [{"id": 1}, {"id": 2}]
        assert paths(server) == ["?limit=1&after=", "?limit=1&after=a%26b%3Dc%3F"]


def test_a_secret_in_the_url_of_a_page_is_neither_recorded_nor_told() -> None:
    with reading(linked("?sig=abc"), sends([]), next_page="link") as (plugin, server):
        assert list(plugin.read()) == [{"id": 1}]
        assert paths(server) == ["", "?sig=abc"]
        assert [each.path_or_uri for each in plugin.inputs()] == [
            f"{server.url}/orders",
            f"{server.url}/orders?sig=[redacted]",
        ]
    problem = failure(linked("?sig=abc"), answers(404), next_page="link")
    assert problem == "URL/orders?sig=[redacted] cannot be read: the server answered 404 Not Found"


def test_signatures_of_urls_are_not_shown() -> None:
    query = "page=2&X-Amz-Signature=a&X-Goog-Signature=b&signature=c&accessToken=d"
    hidden = "X-Amz-Signature=[redacted]&X-Goog-Signature=[redacted]&signature=[redacted]&accessToken=[redacted]"
    assert shown_url(f"https://store.example.com/x?{query}") == f"https://store.example.com/x?page=2&{hidden}"


def test_parameters_replace_those_of_their_name_and_keep_empty_ones() -> None:
    url = "https://api.example.com/x?a=&b=1&b=2#end"
    assert with_parameters(url, {"c": "3"}) == "https://api.example.com/x?a=&b=1&b=2&c=3#end"
    assert with_parameters(url, {"b": "3"}) == "https://api.example.com/x?a=&b=3#end"


def test_a_cursor_may_be_zero() -> None:
    script = (sends({"rows": [], "cursor": 0}), sends({"rows": [{"id": 2}], "cursor": None}))
    with reading(*script, next_page="body.cursor", page_parameter="after", **IN_ROWS) as (plugin, server):
        assert list(plugin.read()) == [{"id": 2}]
        assert paths(server) == ["", "?after=0"]


def test_waiting_for_every_page_counts_for_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, waits = source(next_page="link", deadline_seconds=60), list[float]()

    def ask(_: JsonObject, *, within: float) -> JsonObject:
        waits.append(within)
        link = {"link": f"<?{len(waits)}>; rel=next"} if len(waits) < 4 else {}
        return as_response(200, link, b"[]")

    ticks = itertools.count(0, 25)
    monkeypatch.setattr(plugin, "ask", ask)
    monkeypatch.setattr("elspeth.plugins.http.source.time", SimpleNamespace(monotonic=lambda: next(ticks)))
    assert list(plugin.read()) == []
    assert waits == [60, 35, 10, 0]


def test_the_deadline_excludes_the_time_that_rows_take(monkeypatch: pytest.MonkeyPatch) -> None:
    script = (linked("?page=2"), sends([{"id": 2}]))
    with reading(*script, next_page="link", deadline_seconds=60) as (plugin, _):
        rows = plugin.read()
        assert next(rows) == {"id": 1}
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 10_000)
        assert list(rows) == [{"id": 2}]


def test_a_page_parameter_counts_until_a_page_has_no_rows() -> None:
    script = (sends([{"id": 1}]), sends([{"id": 2}]), sends([]))
    with reading(*script, page_parameter="offset", first_page=0, page_step=10) as (plugin, server):
        assert list(plugin.read()) == [{"id": 1}, {"id": 2}]
        assert paths(server) == ["?offset=0", "?offset=10", "?offset=20"]


def test_a_page_parameter_counts_from_the_first_page_in_steps() -> None:
    script = (sends([{"id": 1}]), sends([{"id": 2}]), sends([]))
    with reading(*script, page_parameter="p", first_page=3, page_step=2) as (plugin, server):
        assert len(list(plugin.read())) == 2
        assert paths(server) == ["?p=3", "?p=5", "?p=7"]


def linked(url: str) -> Answer:
    return sends([{"id": 1}], Link=f"<{url}>; rel=next")


@pytest.mark.parametrize(
    ("script", "options", "problem"),
    [
        (
            [linked("http://169.254.169.254/latest?sig=1")],
            {"next_page": "link"},
            "URL/orders: page 2 is at another server, which is not asked: http://169.254.169.254/latest?sig=[redacted]",
        ),
        (
            [linked("//evil.example/")],
            {"next_page": "link"},
            "page 2 is at another server, which is not asked: http://evil",
        ),
        (
            [linked("http://ada:pw@127.0.0.1/")],
            {"next_page": "link"},
            "page 2 is at another server, which is not asked: http://127.0.0.1/",
        ),
        (
            [sends({"next": 1.5, "rows": []})],
            {"next_page": "body.next", "page_parameter": "after", **IN_ROWS},
            "body.next: expected text or a number, got ",
        ),
        ([linked("http://[::1%25lo]/")], {"next_page": "link"}, "page 2 is at another server"),
        ([linked("orders")], {"next_page": "link"}, "page 2 was read before: URL/orders"),
        (
            [linked("?a"), linked("?b")],
            {"next_page": "link", "max_pages": 2},
            "there are more than 2 pages: raise max_pages",
        ),
        (
            [sends([{"id": 1}])] * 2,
            {"page_parameter": "page"},
            "URL/orders?page=2 is the same as the page before: does the server know page_parameter?",
        ),
        ([sends([{}])], {"next_page": "body.next"}, "the answer has no body.next, for the next page"),
        (
            [sends({"rows": []})],
            {"next_page": "body.next", **IN_ROWS},
            "URL/orders: the answer has no body.next, for the next page; with '?' at its end, that means the last one",
        ),
        (
            [sends({"next": 7, "rows": []})],
            {"next_page": "body.next", **IN_ROWS},
            "expected the URL of the next page",
        ),
        (
            [sends(b'{"rows": [], "next": %s}' % (b"9" * 5_000))],
            {"next_page": "body.next", **IN_ROWS},
            "URL/orders: the next page cannot be read: it is not JSON that Python reads",
        ),
    ],
)
def test_a_next_page_that_must_not_be_read_is_an_error(
    script: list[Answer], options: dict[str, object], problem: str
) -> None:
    assert problem in failure(*script, **options)


@pytest.mark.parametrize(
    ("found", "is_asked"),
    [
        ("https://API.example.com:443/2", True),
        ("http://api.example.com/2", False),
        ("https://api.example.com:80/2", False),
    ],
)
def test_a_server_is_identified_by_scheme_name_and_port(found: str, is_asked: bool) -> None:
    pages = Pages("https://api.example.com/1", PagesOptions(next_page="link"))
    pages.first()
    headers = {"link": f"<{found}>; rel=next"}
    if is_asked:
        assert pages.following(rows=1, headers=headers, body=dict) == found
    else:
        with pytest.raises(PluginError, match="page 2 is at another server"):
            pages.following(rows=1, headers=headers, body=dict)


def test_the_next_page_must_be_at_the_same_server() -> None:
    script = (linked("\\\\evil.example/"), linked("http:@evil.example/"), sends([]))
    with reading(*script, next_page="link") as (plugin, server):
        assert len(list(plugin.read())) == 2
        assert {each.headers["host"] for each in server.received} == {f"127.0.0.1:{server.server_port}"}


@pytest.mark.parametrize(
    ("answer", "options", "problem"),
    [
        (answers(302, headers={"Location": "http://169.254.169.254/"}), {}, "the server answered 302 Found"),
        (answers(503), {}, "the server answered 503 Service Unavailable"),
        (hangs_up, {}, "the connection failed: RemoteProtocolError"),
        (drips, {"timeout_seconds": 0.05}, "no complete answer within 0.05 seconds"),
        (sends(f'["{KEY}"]'.encode()), {"api_key": KEY}, "the answer repeats the api_key"),
        (sends([{"id": "x" * 100}]), {"max_bytes": 99}, "the answer is larger than 99 bytes"),
    ],
)
def test_a_page_that_is_not_received_completely_is_an_error(
    answer: Answer, options: dict[str, object], problem: str
) -> None:
    assert failure(answer, **options).startswith(f"URL/orders cannot be read: {problem}")


def endless(handler: _Handler) -> None:
    """Send lines until the connection closes, without their length."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n[{}]\n")
    handler.close_connection = True


@pytest.mark.parametrize(
    ("answer", "options", "problem"),
    [
        (
            sends(b"<html>\n", **{"Content-Type": "text/html; charset=utf-8"}),
            {"format": "csv"},
            "URL/orders is a page for people (text/html): expected csv; is the URL right, and the api_key?",
        ),
        (
            endless,
            {"format": "jsonl"},
            "URL/orders has no length, so that rows might be missing at its end: expected Content-Length, or chunks",
        ),
    ],
)
def test_possibly_incomplete_answers_are_refused(answer: Answer, options: dict[str, object], problem: str) -> None:
    assert failure(answer, **options) == problem
    assert rows_of(endless) == [{}]  # the end of an array is seen


def test_chunked_answers_are_complete_and_html_pages_are_recognised() -> None:
    Page.of("https://api.example.com/", as_response(200, {"transfer-encoding": "chunked"}, b"")).require_all_rows("csv")
    page = Page.of("https://api.example.com/", as_response(200, {"content-type": "Application/XHTML+XML ;x=y"}, b""))
    with pytest.raises(PluginError, match=r"is a page for people \(application/xhtml\+xml\): expected json"):
        page.require_all_rows("json")


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ({"ETag": 'W/"7"', "Last-Modified": "Thu"}, 'W/"7"'),
        ({"Last-Modified": "Thu, 01 Jan 2026"}, "Thu, 01 Jan 2026"),
        ({"ETag": '"\x9b31m"'}, None),
        ({"ETag": "x" * 256}, "x" * 256),
        ({"ETag": "x" * 257}, None),
    ],
)
def test_the_version_of_a_page_is_that_of_the_server(headers: dict[str, str], version: str | None) -> None:
    with reading(sends([], **headers)) as (plugin, _):
        assert list(plugin.read()) == []
        assert [each.object_version for each in plugin.inputs()] == [version]


def test_all_pages_together_have_a_size_limit() -> None:
    script = (sends(b'[{"id":1}]', Link="<?2>; rel=next"), sends(b'[{"id":2}]'))
    assert len(rows_of(*script, next_page="link", max_bytes=20)) == 2
    problem = failure(*script, next_page="link", max_bytes=19)
    assert problem == "URL/orders?2 cannot be read: the answer is larger than 9 bytes"


def test_all_unpacked_pages_together_have_a_size_limit() -> None:
    content = gzip.compress(b'[{"id":1}' + b" " * 5_000 + b"]")
    for second in (content, gzip.decompress(content)):
        script = (sends(content, Link="<?2>; rel=next"), sends(second))
        assert len(rows_of(*script, next_page="link", max_bytes=10_020)) == 2
        problem = failure(*script, next_page="link", max_bytes=10_019)
        assert problem == "URL/orders?2 has more than 5009 bytes unpacked: raise max_bytes if it may"


@pytest.mark.parametrize("encoding", ["gzip", None])
def test_unpacking_a_page_stops_at_the_limit(encoding: str | None) -> None:
    bomb = gzip.compress(b"id\n" + b"1\n" * 1_000_000)
    headers = {} if encoding is None else {"Content-Encoding": encoding}
    problem = failure(answers(200, bomb, headers), format="csv", max_bytes=len(bomb) * 2)
    assert problem == f"URL/orders has more than {len(bomb) * 2} bytes unpacked: raise max_bytes if it may"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"<html>", "expected an array at line 1, column 1"),
        (b"", "expected an array at line 1, column 1"),
        (b'[{"id": 1}, ', ", element 1: expected an element at line 1, column 13"),
        (b"PK\x03\x04", " begins like a zip archive"),
        (gzip.compress(b"[{}]", mtime=0)[:-9], " is truncated: its compressed data have no end"),
    ],
)
def test_content_of_another_type_is_an_error_of_the_page(content: bytes, problem: str) -> None:
    assert problem in failure(sends(content))


def test_a_server_in_a_private_network_is_refused() -> None:
    with llm_server(sends([])) as server:
        plugin = source(url=server.url.replace("127.0.0.1", "localhost"))
        plugin.check()
        with pytest.raises(PluginError, match=r"cannot be read: localhost is not called: .* is no public address"):
            list(plugin.read())
        assert server.received == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"url": "http://10.0.0.1/"}, "10.0.0.1 is no public address"),
        ({"url": "https://ada:secret@api.example.com/"}, "must not hold credentials"),
        ({"url": "https://api.example.com/?api_key=x"}, "use api_key, with api_key_parameter: api_key"),
        ({"url": "https://api.example.com/#a"}, "must not have a fragment"),
        ({"parameters": {"token": "x"}}, "use api_key, with api_key_parameter: token"),
        ({"parameters": {"accessToken": "x"}}, "use api_key, with api_key_parameter: accessToken"),
        ({"headers": {"X-Auth-Token": "x"}}, "a secret is given as api_key, with api_key_header: X-Auth-Token"),
        ({"headers": {"Cookie": "x"}}, "Cookie is set by the plugin"),
        ({"next_page": "rel"}, "expected link, or a place in the answer such as body.paging.next?"),
        ({"next_page": "body.?"}, "expected link, or a place in the answer such as body.paging.next?"),
        ({"next_page": "link", "page_parameter": "page"}, "the header Link has the whole URL"),
        ({"next_page": "body.next", "page_step": 2}, "page_step: only for a page_parameter that counts"),
        ({"next_page": "body.next", "format": "jsonl"}, "a place in the body is for format: json, not jsonl"),
        ({"next_page": "body.next", "format": "csv"}, "a place in the body is for format: json, not csv"),
        ({"format_options": {"delimiter": ";"}}, "format_options.delimiter: Extra inputs are not permitted"),
        *(
            ({"format_options": {name: "x"}}, f"format_options.{name}: expected among the options of the source itself")
            for name in ("format", "on_validation_failure", "path", "schema")
        ),
        ({"format": "csv", "format_options": {"delimiter": ";;"}}, "format_options.delimiter: expected one character"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError) as raised:
        source(**options)
    assert problem in str(raised.value)


def test_the_options_shown_in_pipelines_md_are_accepted() -> None:
    page = (Path(__file__).parents[3] / "docs" / "pipelines.md").read_text(encoding="utf-8")
    section = page.partition("### Reading from a server")[2].partition("\n## ")[0]
    shown = yaml.safe_load(re.findall(r"^```yaml\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[0])["datasource"]
    assert shown["plugin"] == "http"
    source(**shown["options"])
    rows = re.findall(r"^\| .* \| (`.*`).*\|$", section, re.MULTILINE)
    found = [dict(re.findall(r"`(\w+): ([^`]+)`", row)) for row in rows]
    assert len(found) == 5
    assert all(source(**each).options.has_pages for each in found)


def test_the_source_is_named_by_its_url_and_host() -> None:
    plugin = source(url="https://api.example.com:8443/v1/orders?limit=2")
    assert plugin.datasets() == [Dataset(namespace="https://api.example.com:8443", name="v1/orders")]
    assert (plugin.service, source(service="crm").service) == ("api.example.com", "crm")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        ("<a>", None),
        ("<a>; rel=next", "a"),
        ('<a>; REL="prev NEXT"', "a"),
        ('<a>; title="; rel=next"; rel=prev, <b> ;rel = next', "b"),
        ('<a>; anchor="x>, <y"; rel="next"', "a"),
        ("<a>; crel=next", None),
        ("<a>; rel=prev; rel=next", None),
    ],
)
def test_the_next_link_is_found(header: str, expected: str | None) -> None:
    assert next_link(header) == expected
