"""Each example in a command's help calls that command."""

from __future__ import annotations

import functools
import shlex

import pytest

from elspeth.cli import main
from elspeth.cli.app import command
from elspeth.cli.examples import EXAMPLES, leaves

COMMANDS = dict(leaves(command))
LINES = [pytest.param(name, line, id=line) for name, lines in EXAMPLES.items() for line in lines]


def note(notes: list[str], command: str, /, **_: object) -> None:
    notes.append(command)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record which commands are called, without running them."""
    notes: list[str] = []
    for name, leaf in COMMANDS.items():
        monkeypatch.setattr(leaf, "callback", functools.partial(note, notes, name))
    return notes


@pytest.mark.parametrize(("name", "line"), LINES)
def test_an_example_calls_its_command(name: str, line: str, called: list[str]) -> None:
    program, *arguments = shlex.split(line.partition(" > ")[0])
    assert program == "elspeth"
    assert main(arguments) == 0
    assert called == [name]


@pytest.mark.parametrize(("name", "line"), LINES)
def test_the_help_shows_the_example_on_one_line(name: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    assert f"    $ {line}\n" in capsys.readouterr().out
