"""The ``.env`` file."""

from pathlib import Path

import pytest

from elspeth.core.settings import SettingsError
from elspeth.core.settings.environment import read_dotenv

CONTENT = """
# a comment
PLAIN=value
export EXPORTED = spaced out
QUOTED="with # and = and spaces "  # a comment
SINGLE='single'
TRAILING=value # a comment
HASH=va#lue
EMPTY=
"""


def test_assignments_are_read(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(CONTENT)
    assert read_dotenv(path) == {
        "PLAIN": "value",
        "EXPORTED": "spaced out",
        "QUOTED": "with # and = and spaces ",
        "SINGLE": "single",
        "TRAILING": "value",
        "HASH": "va#lue",
        "EMPTY": "",
    }


def test_a_file_that_does_not_exist_has_no_assignments(tmp_path: Path) -> None:
    assert read_dotenv(tmp_path / ".env") == {}


def test_every_other_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\nno assignment\n2B=x\n")
    with pytest.raises(SettingsError) as caught:
        read_dotenv(path)
    assert str(caught.value) == f"{path}: 2 problems\n  line 2: expected NAME=value\n  line 3: expected NAME=value"
