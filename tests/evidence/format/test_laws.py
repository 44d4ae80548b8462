"""docs/evidence.md lists the laws as the code has them."""

from __future__ import annotations

import re
from pathlib import Path

from elspeth.evidence.format.laws import LAWS

PAGE = (Path(__file__).parents[3] / "docs" / "evidence.md").read_text(encoding="utf-8")


def test_the_page_lists_every_law_with_its_words() -> None:
    section = PAGE.partition("## The laws of accounting\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([a-z]+) \| (.+) \| (\d) \| (.*)\|$", section, re.MULTILINE)
    marked = [
        (
            law.value,
            facts.says,
            str(facts.since),
            [
                word
                for word, holds in (("run", facts.proved_by_run), ("completed runs only", facts.of_completed))
                if holds
            ],
        )
        for law, facts in LAWS.items()
    ]
    assert [
        (name, says, since, [word for word in marks.strip().split(", ") if word]) for name, says, since, marks in rows
    ] == marked
