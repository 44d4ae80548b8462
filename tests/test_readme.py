"""The README's examples work as shown."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from elspeth.cli import main
from tests.fixtures.ids import ID

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```\n(.*?)```", README, flags=re.DOTALL)


def arguments(command: str) -> list[str]:
    """Return the arguments of a line's last elspeth command."""
    return command.strip().rpartition(".venv/bin/elspeth ")[2].split()


def normalised(text: str) -> str:
    """Replace ids, durations, and the process that ran it."""
    begun = r"begun \S+Z by \S+@\S+, on \S+ \S+ \S+, with elspeth [0-9.]+, CPython [0-9.]+\n"
    return re.sub(ID, "ID", re.sub(r"[0-9.,]+ ms", "N ms", re.sub(begun, "begun\n", text)))


@pytest.mark.smoke
def test_the_example_runs_and_is_explained_as_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(
        ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("output", "runs"), dirs_exist_ok=True
    )
    monkeypatch.chdir(tmp_path)
    run, explain, shown = BLOCKS[0], BLOCKS[2], BLOCKS[3]
    assert main(arguments(run)) == 0
    output = tmp_path / "examples" / "audit_export" / "output"
    assert sorted(path.name for path in output.iterdir()) == ["audit_trail.json", "corporate.csv", "non_corporate.csv"]
    capsys.readouterr()
    assert main(arguments(explain)) == 0
    from_database = capsys.readouterr().out
    assert normalised(from_database) == normalised(shown)
    export = "examples/audit_export/output/audit_trail.json"
    assert main(["explain", "--run", "latest", "--row", "2", "--from", export]) == 0
    assert "outcome: completed, to sink non_corporate" in capsys.readouterr().out


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    assert README.count("\n") < 120
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
