"""Values of any kind in a table in HTML."""

from __future__ import annotations

import pytest

from elspeth.core.html_tables import html_table


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        (0, "0"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("invoice\u202efdp.exe", "invoice\\u202efdp.exe"),
        ("zero\u200bwidth\x00", "zero\\u200bwidth\\x00"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("x" * 200, "x" * 200),
        ("x" * 2000, "x" * 200 + "… (2,000 characters)"),
    ],
)
def test_a_cell_shows_its_value_and_hides_nothing(value: object, cell: str) -> None:
    assert html_table("", [], [[value]]) == f"<table><caption></caption><tbody><tr><td>{cell}</td></tr></tbody></table>"


def test_captions_and_headings_are_foreign_text_too() -> None:
    table = html_table("a\u2066<", ["b\u2067>"], [])
    assert "<caption>a\\u2066&lt;</caption><thead><tr><th>b\\u2067&gt;</th></tr></thead>" in table
