"""Names on the command line that are not UTF-8."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from tests.fixtures.rich_run import recorded, rich_run

Captured = pytest.CaptureFixture[str]

NAME = os.fsdecode(b"\xff")
"""What Python makes of a byte that is not UTF-8."""


@pytest.fixture(autouse=True)
def database(own_directory: Path) -> Path:
    """Record a run in a database with a UTF-8 name."""
    with LandscapeDB("sqlite:///audit.db") as db:
        recorded(db, rich_run())
    return own_directory / "audit.db"


@pytest.mark.parametrize("name", [f"{NAME}.db", f"sqlite:///{NAME}.db"])
@pytest.mark.parametrize(
    "command",
    [
        ("landscape", "runs"),
        ("landscape", "status"),
        ("landscape", "check"),
        ("landscape", "migrate"),
        ("export", "latest", "-o", "out.jsonl"),
        ("import", "out.jsonl"),
        ("explain", "--run", "latest", "--row", "0"),
    ],
)
def test_an_undecodable_name_of_a_database_is_refused(capsys: Captured, name: str, command: tuple[str, ...]) -> None:
    assert main([*command, "-d", name]) == 2
    shown = name.replace(NAME, r"\udcff")
    assert capsys.readouterr() == ("", f"error: --database: the text '{shown}' is not UTF-8: use another name\n")


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("export", NAME, "-o", "out.jsonl", "-d", "audit.db"), "RUN|latest"),
        (("report", NAME, "-o", "report.html", "-d", "audit.db"), "RUN|latest|PATH"),
        (("explain", "--run", NAME, "--row", "0", "-d", "audit.db"), "--run"),
        (("explain", "--run", "latest", "--token", NAME, "-d", "audit.db"), "--token"),
        (("prove", "bag", NAME, "1", "-o", "proof.json"), "TYPE"),
        (("prove", "bag", "row", NAME, "-o", "proof.json"), "ID"),
    ],
)
def test_an_undecodable_identifier_is_refused(capsys: Captured, command: tuple[str, ...], option: str) -> None:
    assert main(["export", "latest", "-d", "audit.db", "-o", "bag", "--format", "bag"]) == 0
    capsys.readouterr()
    assert main(command) == 2
    assert capsys.readouterr() == ("", f"error: {option}: the text '\\udcff' is not UTF-8: use another name\n")


def test_outputs_may_have_undecodable_names(capsys: Captured) -> None:
    assert main(["export", "latest", "-d", "audit.db", "-o", f"{NAME}.jsonl"]) == 0
    assert r"\udcff.jsonl" in capsys.readouterr().out
    assert main(["verify", f"{NAME}.jsonl"]) == 1
    assert capsys.readouterr().err.endswith("CONSISTENT BUT UNSIGNED\n")
