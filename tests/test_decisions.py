"""The index of decision records is complete.

Each record says what was decided and what was rejected.
"""

import re
from pathlib import Path

import pytest

DIRECTORY = Path(__file__).parent.parent / "docs" / "decisions"
INDEX = (DIRECTORY / "README.md").read_text(encoding="utf-8")
RECORDS = sorted(DIRECTORY.glob("[0-9]*.md"))


def test_every_record_is_in_the_index_once_with_its_date() -> None:
    rows = re.findall(r"^\| \[(\d+)\]\(([^)]+)\) \| .+ \| .+ \| \d{4}-\d\d-\d\d \|$", INDEX, re.MULTILINE)
    assert [name for _, name in rows] == [path.name for path in RECORDS]
    assert [int(number) for number, _ in rows] == [int(path.name[:4]) for path in RECORDS]


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_fits_on_a_page(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {int(path.name[:4])}. ")
    assert text.count("\n") < 80
