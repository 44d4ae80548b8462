"""Where a plugin failed, for its author."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.cli.tracebacks import LOGGER, Tracebacks
from elspeth.contracts.plugins import Row
from elspeth.plugins.sinks.csv import CsvSink
from elspeth.plugins.transforms.passthrough import PassthroughTransform

SETTINGS = """
datasource: {plugin: csv, options: {path: in.csv}}
row_plugins: [{plugin: passthrough, options: {on_error: discard}}]
output_sink: out
sinks: {out: {plugin: csv, options: {path: out.csv}}}
landscape: {url: "sqlite:///audit.db"}
"""

RUN = ["run", "-s", "settings.yaml", "-x", "--no-dotenv"]


@pytest.fixture
def failing(own_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transform that fails for every row but the last, with the row in its message."""

    def fail(_: PassthroughTransform, row: Row) -> Row:
        if row["id"] != "3":
            raise LookupError(f"marked value {row['id']}")
        return row

    monkeypatch.setattr(PassthroughTransform, "process", fail)
    (own_directory / "settings.yaml").write_text(SETTINGS)
    (own_directory / "in.csv").write_text("id\n1\n2\n3\n")


@pytest.mark.usefixtures("failing")
def test_without_the_option_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(RUN) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    assert "marked" not in output


@pytest.mark.usefixtures("failing")
def test_with_it_each_place_in_the_code_is_printed_once_and_not_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--traceback"]) == 0
    output, errors = capsys.readouterr()
    assert errors.count("Traceback (most recent call last):") == 1
    assert f'File "{__file__}", line ' in errors
    assert errors.endswith("LookupError: marked value 1\n")
    assert "marked" not in output
    assert b"marked" not in Path("audit.db").read_bytes()


@pytest.mark.usefixtures("failing")
def test_the_next_command_prints_nothing_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--traceback"]) == 0
    capsys.readouterr()
    assert main(RUN) == 0
    assert capsys.readouterr().err == ""
    assert (LOGGER.handlers, LOGGER.level) == ([], logging.NOTSET)


@pytest.mark.usefixtures("failing")
def test_what_ends_a_run_is_printed_once_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: CsvSink) -> None:
        raise LookupError("marked value 4")

    monkeypatch.setattr(CsvSink, "sync", fail)
    assert main([*RUN, "--traceback"]) == 1
    errors = capsys.readouterr().err
    assert errors.count("LookupError: marked value 4") == 1
    assert errors.index("marked value 4") < errors.index("error: sink 'out' failed: LookupError")


def test_a_cause_is_printed_with_what_it_caused(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        try:
            dict[str, str]()["a"]
        except KeyError as error:
            raise ValueError("b") from error

    printer = Tracebacks()
    for _ in range(2):
        try:
            fail()
        except ValueError as error:
            printer.show(error)
    errors = capsys.readouterr().err
    assert (errors.count("KeyError: 'a'"), errors.count("ValueError: b")) == (1, 1)
