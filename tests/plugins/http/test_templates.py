"""Requests made from rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.plugins.http.templates import BodyTemplate, RowValueError, UrlTemplate

LEADS_ELSEWHERE = "the path of the URL has a segment '.' or '..', which would lead elsewhere"
URL = "https://api.example.com/customers/{id}/orders?since={from.day}"


def test_values_are_percent_encoded() -> None:
    assert (
        UrlTemplate("https://api.example.com/{a}/{b}").fill({"a": True, "b": 1.5}) == "https://api.example.com/true/1.5"
    )
    row: dict[str, object] = {"id": "a/b?c#d e&f", "from": {"day": 3}}
    assert UrlTemplate(URL).fill(row) == "https://api.example.com/customers/a%2Fb%3Fc%23d%20e%26f/orders?since=3"


@given(st.text(min_size=1))
def test_a_value_cannot_change_server_or_path(value: str) -> None:
    try:
        url = UrlTemplate("https://api.example.com/customers/{id}/orders").fill({"id": value})
    except (RowValueError, UnicodeEncodeError):
        return
    assert url.count("/") == 5
    assert not set("?#\\ \r\n") & set(url)
    assert url.startswith("https://api.example.com/customers/")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({}, "field 'id' is missing"),
        ({"id": None}, "field 'id': expected text or a number, got null"),
        ({"id": ""}, "field 'id': expected text or a number, got empty text"),
        ({"id": [1]}, "field 'id': expected text or a number, got a list of 1 item"),
        ({"id": ".."}, LEADS_ELSEWHERE),
        ({"id": "../../admin"}, LEADS_ELSEWHERE),
        ({"id": "7\\.."}, LEADS_ELSEWHERE),
    ],
)
def test_a_row_that_gives_no_valid_url_is_refused(row: dict[str, object], problem: str) -> None:
    with pytest.raises(RowValueError) as raised:
        UrlTemplate("https://api.example.com/customers/{id}").fill(row)
    assert str(raised.value) == problem


@pytest.mark.parametrize(
    "text",
    [
        "https://{host}/",
        "https://api.{region}.example.com/",
        "https://api.example.com:{port}/",
        "https://api.example.com/{id!r}",
        "https://api.example.com/{id:>9}",
        "https://api.example.com/{}",
        "https://api.example.com/{id",
    ],
)
def test_templates_must_not_choose_the_server_or_scheme(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|field"):
        UrlTemplate(text)


def test_a_body_can_contain_values_and_text() -> None:
    items = ["{lines}", {"of": ["no. {id}"]}, 7]
    template = BodyTemplate({"id": "{id}", "items": items, "kind": "{{plain}}", "none": None})
    assert template.fill({"id": 3, "lines": [{"a": True}]}) == {
        "id": 3,
        "items": [[{"a": True}], {"of": ["no. 3"]}, 7],
        "kind": "{plain}",
        "none": None,
    }
    assert BodyTemplate({"a": ["{x}", None], "b": "{x}"}).fill({"x": None}) == {"a": [None, None], "b": None}
    with pytest.raises(RowValueError, match=r"^field 'lines' is missing$"):
        template.fill({"id": 3})


def test_a_parameter_may_have_dots_and_slashes() -> None:
    url = UrlTemplate("https://api.example.com/x?path={p}").fill({"p": "a/../b"})
    assert url == "https://api.example.com/x?path=a%2F..%2Fb"
