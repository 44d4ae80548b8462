"""What others wrote cannot steer the terminal on which it is shown."""

import sys
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.cli.text import aligned

HOSTILE = "run\x1b[31m\x1b]0;title\x07\u202e\r\nsealed"


def test_no_cell_of_a_table_holds_control_characters() -> None:
    table = aligned([("run", HOSTILE), ("status", "completed")])

    assert table == "run     run\\x1b[31m\\x1b]0;title\\x07\\u202e\\r\\nsealed\nstatus  completed"


def test_columns_stand_below_each_other_behind_escaped_text() -> None:
    first, second = aligned([("a\x07", "1"), ("b", "2")]).splitlines()

    assert first.index("1") == second.index("2")


def test_no_message_repeats_control_characters_of_a_file_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(tmp_path / "bag\x07\u202e")]) == 1

    told = capsys.readouterr().err
    assert "bag\\x07\\u202e: " in told
    assert "\x07" not in told
    assert "\u202e" not in told


def test_a_command_without_standard_output_ends_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)  # what Python makes of `>&-`

    assert main(["plugins", "list"]) == 0
