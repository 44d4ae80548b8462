"""The settings and the database that a command takes."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.plugins.csv import CsvSource
from tests.cli.messages import NO_DATABASE
from tests.engine.pipelines import groups_of
from tests.fixtures.ids import ID

SETTINGS = """
datasource: {plugin: csv, options: {path: in.csv}}
output_sink: out
sinks: {out: {plugin: csv, options: {path: out.csv}}}
landscape: {url: "sqlite:///audit.db"}
"""

RUN = ["run", "-x", "--no-dotenv"]


@pytest.fixture
def job(own_directory: Path) -> Path:
    """Change to a directory with settings and six rows."""
    Path("elspeth.yaml").write_text(SETTINGS)
    Path("in.csv").write_text("id\n0\n1\n2\n3\n4\n5\n")
    return own_directory


def recorded_settings(name: str = "audit.db") -> dict[str, object]:
    with closing(sqlite3.connect(name)) as connection:
        ((text,),) = connection.execute("SELECT settings_json FROM runs ORDER BY started_at DESC, run_id DESC LIMIT 1")
    settings: dict[str, object] = json.loads(text)
    return settings


# -- the settings file -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("job")
def test_without_an_option_settings_come_from_elspeth_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--no-dotenv"]) == 0
    assert main(RUN) == 0
    assert capsys.readouterr().err == "elspeth.yaml: valid\n"
    assert Path("out.csv").read_text() == Path("in.csv").read_text()


@pytest.mark.usefixtures("job")
def test_the_environment_can_name_other_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("elspeth.yaml").rename("other.yaml")
    assert main(["validate"]) == 2
    message = "there is no elspeth.yaml here: name the settings file with -s, or in ELSPETH_SETTINGS"
    assert capsys.readouterr() == ("", f"error: {message}\n")
    monkeypatch.setenv("ELSPETH_SETTINGS", "other.yaml")
    assert main(["validate"]) == 0
    assert capsys.readouterr().err == "other.yaml: valid\n"


# -- keys on the command line ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("job")
def test_an_option_sets_keys_which_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSPETH_CONCURRENCY__MAX_WORKERS", "2")
    monkeypatch.setenv("NAME", "new")
    options = ["sinks.out.options.path=${NAME}.csv", "concurrency.max_workers=3", "fail_if={failed: 1%}"]
    assert main([*RUN, *(part for each in options for part in ("--set", each))]) == 0
    assert Path("new.csv").read_text() == Path("in.csv").read_text()
    settings = recorded_settings()
    assert settings["concurrency"] == {"max_workers": 3, "workers": 1}
    assert "new.csv" in json.dumps(settings["sinks"])
    assert not Path("out.csv").exists()


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("limit", "--set limit: expected KEY=VALUE, with dots in KEY, as in landscape.url=sqlite:///audit.db"),
        (".a=1", "--set .a=1: expected KEY=VALUE, with dots in KEY, as in landscape.url=sqlite:///audit.db"),
        ("output_sink.x=1", "--set output_sink.x=1: the settings have nothing at that place that could hold it"),
        ("limit=[", "--set limit=[: the value is not valid YAML: expected the node content, but found '<stream end>'"),
        (
            "limit=2020-01-01",
            "--set limit=2020-01-01: the value expected text, a number, true, false or null, got a date; quote it",
        ),
        ("limit=0", "limit: expected greater than 0, got 0"),
    ],
)
@pytest.mark.usefixtures("job")
def test_a_key_that_cannot_be_set_is_a_problem(override: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--set", override]) == 2
    assert capsys.readouterr().err == f"error: elspeth.yaml: 1 problem\n  {problem}\n"


COMMANDS = ["validate", "run", "resume latest", "purge", "landscape log leave", "landscape send-events"]


@pytest.mark.usefixtures("job")
def test_every_command_accepts_keys_and_can_skip_dotenv(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        assert main([*command.split(), "--set", "nonsense=1"]) == 2
        assert "nonsense: unknown key" in capsys.readouterr().err
    Path(".env").write_text("ELSPETH_NONSENSE=1\n")
    for command in [*COMMANDS, "settings convert"]:
        assert main(command.split()) == 2
        assert "ELSPETH_NONSENSE" in capsys.readouterr().err
        main([*command.split(), "--no-dotenv"])
        assert "ELSPETH_NONSENSE" not in capsys.readouterr().err


# -- a part of the source ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("job")
def test_a_limited_run_takes_the_first_rows_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--limit", "4", "--dry-run"]) == 0
    assert "at most 4 rows" in capsys.readouterr().out
    assert main(["validate", "--limit", "4"]) == 0
    assert "at most 4 rows" in capsys.readouterr().out
    assert main([*RUN, "--limit", "4"]) == 0
    assert re.search(r"^rows in +4 \(limited to 4 of each source\)$", capsys.readouterr().out, re.MULTILINE)
    assert Path("out.csv").read_text() == "id\n0\n1\n2\n3\n"
    assert recorded_settings()["limit"] == 4
    assert main([*RUN, "--limit", "10"]) == 0
    assert Path("out.csv").read_text() == Path("in.csv").read_text()


@pytest.mark.usefixtures("job")
def test_a_stopped_limited_run_says_how_to_resume_with_its_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read = CsvSource.read

    def interrupted(source: CsvSource) -> Iterator[RowData | InvalidRow]:
        for index, row in enumerate(read(source)):
            if index == 2:
                signal.raise_signal(signal.SIGTERM)
            yield row

    groups_of(monkeypatch, 2)
    with monkeypatch.context() as patch:
        patch.setattr(CsvSource, "read", interrupted)
        assert main([*RUN, "--limit", "5", "--set", "sinks.out.options.path=out {date}.csv", "--json"]) == 143
    advice = f"resume {ID} -s elspeth.yaml --set 'sinks.out.options.path=out {{date}}.csv' --limit 5 --execute"
    output, errors = capsys.readouterr()
    error = json.loads(output)["error"]
    assert (error["type"], error["exit_code"]) == ("RunInterruptedError", 143)
    found = re.search(advice, errors)
    assert found is not None
    run_id = found[0].split()[1]
    assert main(["resume", run_id, "-x", "--no-dotenv"]) == 1
    assert "began with other settings or plugins: limit, sinks.out.options.path" in capsys.readouterr().err
    assert main(["resume", run_id, "-x", "--set", "sinks.out.options.path=out {date}.csv", "--limit", "5"]) == 0
    (made,) = Path().glob("out *.csv")
    assert made.read_text() == "id\n0\n1\n2\n3\n4\n"


# -- the database ------------------------------------------------------------------------------------------------------

QUESTIONS = [
    ["landscape", "runs"],
    ["landscape", "status"],
    ["landscape", "check"],
    ["rows"],
    ["explain", "--row", "0"],
    ["export", "latest", "-o", "trail.jsonl"],
]


def test_without_an_option_the_database_comes_from_the_settings(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask() -> list[str]:
        """Ask one question of each kind of option."""
        capsys.readouterr()
        assert main(["landscape", "runs"]) == main(["rows"]) == 0
        output, errors = capsys.readouterr()
        return [output.replace(f"{job}/", ""), errors.replace(f"{job}/", "")]

    assert main(RUN) == 0
    assert [main(command) for command in QUESTIONS] == [0] * len(QUESTIONS)
    by_settings = ask()
    Path("elspeth.yaml").unlink()
    for command in QUESTIONS:
        assert main(command) == 2
        assert capsys.readouterr() == ("", f"error: {NO_DATABASE}\n")
    Path(".env").write_text(f"ELSPETH_DATABASE={job / 'audit.db'}\n")
    assert ask() == by_settings
    Path(".env").unlink()
    monkeypatch.setenv("ELSPETH_DATABASE", f"sqlite:///{job / 'audit.db'}")
    assert ask() == by_settings


@pytest.mark.usefixtures("job")
def test_only_the_section_of_the_database_needs_to_be_valid(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(RUN) == 0
    capsys.readouterr()
    unusable = SETTINGS.replace("in.csv", "'${UNSET}'").replace("audit.db", "${DIRECTORY}/audit.db") + "nonsense: 1\n"
    Path("elspeth.yaml").write_text(unusable)
    assert main(["landscape", "runs"]) == 2
    problem = "environment variable DIRECTORY is not set: set it, or write a default as ${DIRECTORY:-default}"
    assert capsys.readouterr().err == f"error: elspeth.yaml: 1 problem\n  landscape.url: {problem}\n"
    Path(".env").write_text("DIRECTORY=.\n")
    assert main(["landscape", "runs"]) == 0
    Path(".env").write_text("DIRECTORY=nowhere\n")
    monkeypatch.setenv("DIRECTORY", ".")
    assert main(["landscape", "runs"]) == 0
    monkeypatch.setenv("ELSPETH_LANDSCAPE__ENABLED", "false")
    assert main(["landscape", "runs"]) == 2
    message = "elspeth.yaml keeps no audit database (landscape.enabled: false): give one with -d"
    assert capsys.readouterr().err == f"error: {message}\n"
    monkeypatch.setenv("ELSPETH_LANDSCAPE__URLL", "x")
    assert main(["landscape", "runs"]) == 2
    keys = "enabled, backend, url, identity, auto_migrate, seal, log, report, export"
    problem = f"landscape.urll: unknown key: expected one of {keys}; did you mean 'url'?"
    assert capsys.readouterr().err == f"error: elspeth.yaml: 1 problem\n  {problem}\n"
