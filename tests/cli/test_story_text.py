"""Stories drawn as trees."""

from __future__ import annotations

from elspeth.cli.story_text import Branch, draw_tree


def test_a_tree_has_a_line_for_each_branch() -> None:
    tree = Branch("root", Branch("first", Branch("inner")), Branch("last", Branch("one"), Branch("other")))
    assert draw_tree(tree).splitlines() == [
        "root",
        "├─ first",
        "│  └─ inner",
        "└─ last",
        "   ├─ one",
        "   └─ other",
    ]


def test_unprintable_characters_are_escaped() -> None:
    assert draw_tree(Branch("é 漢 \x1b[31m\n\u202e\x00")) == "é 漢 \\x1b[31m\\n\\u202e\\x00"
