"""The examples in docs/operating.md work."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.cli.failures import ExitCode
from elspeth.plugins.csv import CsvSink

PAGE = Path(__file__).parent.parent / "docs" / "operating.md"

SETTINGS = """
datasource: {plugin: csv, options: {path: in.csv}}
output_sink: out
sinks: {out: {plugin: csv, options: {path: out.csv}}}
landscape: {url: "sqlite:///audit.db"}
"""


def blocks(language: str) -> list[str]:
    """Return the code blocks of the page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the job of the page."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("ELSPETH_")]:
        monkeypatch.delenv(name)
    (script,) = blocks("sh")
    Path("job.sh").write_text(script)
    Path("job.sh").chmod(0o755)
    Path("elspeth.yaml").write_text(SETTINGS)
    Path("in.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(600)))
    return tmp_path


def commands_of_job(directory: Path, *, can_go_on: bool) -> list[list[str]]:
    """Run the job with a program that notes its arguments.

    `can_go_on` is whether that finds a run to resume.
    """
    programs, calls = directory / "bin", directory / "calls"
    programs.mkdir(exist_ok=True)
    calls.unlink(missing_ok=True)
    program = programs / "elspeth"
    verdict = f'case "$*" in *--dry-run*) exit {int(not can_go_on)};; esac'
    program.write_text(f'#!/bin/sh\necho "$(pwd) $*" >>{shlex.quote(str(calls))}\n{verdict}\n')
    program.chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    subprocess.run([directory / "job.sh"], cwd="/", env={**os.environ, "PATH": path}, check=True)
    noted = [line.split() for line in calls.read_text().splitlines()]
    assert {where for where, *_ in noted} == {str(directory)}
    return [arguments for _, *arguments in noted]


def records_of(lines: Iterator[str] | list[str]) -> Iterator[dict[str, object]]:
    for line in lines:
        record: dict[str, object] = json.loads(line)
        yield record


def test_a_stopped_job_is_resumed_when_it_is_started_again(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    question, begin = commands_of_job(job, can_go_on=False)
    assert main(question) != 0
    capsys.readouterr()
    with subprocess.Popen(
        [sys.executable, "-m", "elspeth", *begin], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for record in records_of(iter(process.stderr.readline, "")):
            if record.get("phase") == "rows":
                process.send_signal(signal.SIGTERM)
                break
        told = list(records_of(process.stderr.readlines()))
        assert json.loads(process.stdout.read())["error"]["exit_code"] == ExitCode.TERMINATED
    assert process.returncode == ExitCode.TERMINATED
    assert [each["event"] for each in told if each["event"] != "message"][-1] == "run_stopped"
    assert "is recorded as interrupted" in " ".join(str(each["message"]) for each in told)
    assert not (job / "out.csv").exists()

    question, go_on = commands_of_job(job, can_go_on=True)
    assert main(question) == 0
    capsys.readouterr()
    assert main(go_on) == 0
    output, errors = capsys.readouterr()
    events = [each["event"] for each in records_of(errors.splitlines())]
    assert (events[0], events[-1]) == ("run_resumed", "run_completed")
    assert json.loads(output)["rows"] == 600
    assert (job / "out.csv").read_text() == (job / "in.csv").read_text()


@pytest.mark.usefixtures("job")
def test_every_command_of_the_page_works(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: CsvSink) -> None:
        raise OSError("the disk is gone")

    Path("in.csv").write_text("id\n1\n2\n")
    assert main(["run", "--execute"]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(CsvSink, "publish", fail)
        assert main(["run", "--execute"]) == 1
    commands = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    assert len(commands) > 5
    capsys.readouterr()
    for command in commands:
        program, *arguments = shlex.split(command)
        assert (program, main(arguments)) == ("elspeth", 0), (command, capsys.readouterr())
    assert main(["landscape", "runs", "--json"]) == 0
    assert "failed" in capsys.readouterr().out


@pytest.mark.usefixtures("job")
def test_the_monthly_job_of_the_page_prunes(capsys: pytest.CaptureFixture[str]) -> None:
    _, retention = blocks("crontab")
    _, _, command = retention.strip().replace(r"\%", "%").partition("&& elspeth ")
    expanded = subprocess.run(["sh", "-c", f"printf '%s\n' {command}"], capture_output=True, text=True, check=True)
    assert main(["run", "--execute"]) == 0
    capsys.readouterr()
    assert main(expanded.stdout.splitlines()) == 0
    assert "ended before that time" in capsys.readouterr().err


def test_the_schedules_of_the_page_run_its_job() -> None:
    (unit,), (crontab, retention), (container,) = blocks("ini"), blocks("crontab"), blocks("dockerfile")
    script = "/srv/orders/job.sh"
    assert f"\nExecStart={script}\n" in unit
    assert crontab.split()[5] == script
    assert retention.split()[5:9] == ["cd", "/srv/orders", "&&", "elspeth"]
    assert f'ENTRYPOINT ["{script}"]\n' in container


def test_the_page_has_every_exit_code() -> None:
    section = PAGE.read_text(encoding="utf-8").split("## What each exit code asks of you")[1]
    told = {int(code) for codes in re.findall(r"^\| ([\d, ]+) \|", section, re.MULTILINE) for code in codes.split(",")}
    assert told == {*ExitCode, 128 + signal.SIGKILL}
