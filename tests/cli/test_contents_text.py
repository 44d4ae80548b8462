"""Contents of a row as text."""

from __future__ import annotations

from elspeth.cli.contents_text import contents_text


def test_contents_are_shown_as_json_that_harms_no_terminal() -> None:
    assert contents_text({}) == "no content was kept of this row"
    assert contents_text({"a\x1b": {"name": "Zo\u00eb \u202e"}, "b\x1b": None, "c": [], "d": False}) == (
        "content a\\x1b:\n"
        "  {\n"
        '    "name": "Zo\u00eb \\u202e"\n'
        "  }\n"
        "content b\\x1b is not here: it was purged, or the bag was made without contents\n"
        "content c:\n"
        "  []\n"
        "content d:\n"
        "  false"
    )
