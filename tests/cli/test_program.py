"""The program: its commands from arguments to exit code."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.engine.orchestrator import Orchestrator
from elspeth.plugins.csv import CsvSource
from elspeth.plugins.manager import PluginManager, PluginRegistrationError
from tests.fixtures.ids import ID

ROOT = Path(__file__).parents[2]
EXAMPLE = Path("examples/audit_export")

PLAN = """\
source  csv examples/audit_export/input.csv
        invalid rows: recorded and discarded
gate    category_router: row['category'] == 'corporate'
        true: to sink corporate
        false: continue
output  to sink non_corporate
sink    non_corporate: csv examples/audit_export/output/non_corporate.csv
sink    corporate: csv examples/audit_export/output/corporate.csv
audit   sqlite:///examples/audit_export/runs/audit.db
export  audit_export: json examples/audit_export/output/audit_trail.json, not signed
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a directory with the example.

    The environment has no settings.
    """
    shutil.copytree(ROOT / EXAMPLE, tmp_path / EXAMPLE, ignore=shutil.ignore_patterns("output", "runs"))
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("ELSPETH_"):
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def settings(project: Path) -> str:
    """Return the relative path of the example's settings file."""
    assert (project / EXAMPLE / "settings.yaml").is_file()
    return str(EXAMPLE / "settings.yaml")


def read_tree(directory: Path) -> dict[str, tuple[int, int]]:
    """Return the size and modification time of each path."""

    def entries() -> Iterator[tuple[str, os.stat_result]]:
        for path in directory.rglob("*"):
            yield str(path.relative_to(directory)), path.lstat()

    return {name: (0 if stat.S_ISDIR(info.st_mode) else info.st_size, info.st_mtime_ns) for name, info in entries()}


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr() == (f"elspeth {version('elspeth')}\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is full")
def test_a_version_that_cannot_be_printed_is_reported() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "elspeth", "--version"]
        done = subprocess.run(command, check=False, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "error: standard output: No space left on device\n")


def test_without_arguments_the_commands_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert {"run", "validate", "plugins"} <= set(re.findall(r"^  (\w+)", "".join(capsys.readouterr()), re.MULTILINE))


@pytest.mark.parametrize(
    "arguments", [["rum"], ["run", "one"], ["run", "--settings"], ["run", "-s", "x", "--frce"], ["plugins", "lst"]]
)
def test_wrong_usage_ends_with_exit_code_2_and_a_message(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert "error: " in errors.lower()


def test_run_and_dry_run_contradict_each_other(settings: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "-s", settings, "--execute", "--dry-run"]) == 2
    assert capsys.readouterr().err == "error: --execute and --dry-run contradict each other: give one of them\n"


def test_validate_shows_the_plan_and_writes_nothing(
    project: Path, settings: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_tree(project)
    assert main(["validate", "-s", settings]) == 0
    assert capsys.readouterr() == (PLAN, f"{settings}: valid\n")
    assert read_tree(project) == before


def test_run_without_execute_shows_the_plan_and_writes_nothing(
    project: Path, settings: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_tree(project)
    assert main(["run", "-s", settings]) == 1
    assert capsys.readouterr() == (PLAN, "Nothing was run: add --execute (-x) to run this pipeline.\n")
    assert main(["run", "-s", settings, "--dry-run"]) == 0
    assert capsys.readouterr() == (PLAN, "")
    assert read_tree(project) == before


def test_the_json_plan_has_nodes_and_edges(settings: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "-s", settings, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [(node["type"], node["name"], node["plugin"]) for node in plan["nodes"]] == [
        ("source", "csv", "csv"),
        ("gate", "category_router", "config_gate"),
        ("sink", "non_corporate", "csv"),
        ("sink", "corporate", "csv"),
    ]
    assert [edge["label"] for edge in plan["edges"]] == ["continue", "true", "false"]


def test_the_example_runs_and_runs_again(project: Path, settings: str, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(["run", "-s", settings, "--execute"]) == 0
        output, errors = capsys.readouterr()
        assert errors == ""
        assert re.fullmatch(
            rf"run                    {ID}\n"
            r"took                   \d+\.\d s, [\d,]+ rows/s\n"
            r"rows in                10\n"
            r"to sink non_corporate  6 in examples/audit_export/output/non_corporate\.csv, 205 bytes, SHA-256 \w{12}\n"
            r"to sink corporate      4 in examples/audit_export/output/corporate\.csv, 183 bytes, SHA-256 \w{12}\n"
            r"failed                 0\n"
            r"quarantined            0\n"
            r"audit database         sqlite:///examples/audit_export/runs/audit\.db\n"
            r"export                 examples/audit_export/output/audit_trail\.json \(87 records\)\n"
            rf"report                 elspeth report {ID} -d sqlite:///examples/audit_export/runs/audit\.db"
            r" -o report\.html\n",
            output,
        )
    written = project / EXAMPLE / "output"
    assert sorted(path.name for path in written.iterdir()) == ["audit_trail.json", "corporate.csv", "non_corporate.csv"]
    assert (written / "corporate.csv").read_text().splitlines()[:2] == [
        "id,name,category,amount",
        "2,Northwind Traders,corporate,48000.00",
    ]
    records = json.loads((written / "audit_trail.json").read_text())
    assert records[-1]["record_type"] == "manifest"


def test_the_summary_can_be_printed_as_json(settings: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "-s", settings, "-x", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert re.fullmatch(ID, summary.pop("run_id"))
    assert summary.pop("rows_per_second") == pytest.approx(10 / summary.pop("seconds"), rel=0.1)
    outputs = {each.pop("sink"): each for each in summary.pop("outputs")}
    assert {sink: (Path(each["path"]).name, each["size_bytes"]) for sink, each in outputs.items()} == {
        "non_corporate": ("non_corporate.csv", 205),
        "corporate": ("corporate.csv", 183),
    }
    assert summary == {
        "rows": 10,
        "rows_by_sink": {"non_corporate": 6, "corporate": 4},
        "arrived": 10,
        "failed": 0,
        "quarantined": 0,
        "rows_with_failures": 0,
        "reasons": [],
        "refused_by_sink": {},
        "export_path": "examples/audit_export/output/audit_trail.json",
        "exported_records": 87,
        "differences": None,
        "differing_rows": [],
        "calls": 0,
        "retries": 0,
        "rows_before": 0,
        "limit": None,
        "dropped": 0,
        "usage": {},
        "problems": [],
        "overdue_checkpoints": [],
        "unsent_events": [],
        "database": "sqlite:///examples/audit_export/runs/audit.db",
        "report_path": None,
    }


def test_a_signed_export_without_a_key_stops_before_processing(
    project: Path, settings: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELSPETH_LANDSCAPE__EXPORT__SIGN", "true")
    before = read_tree(project)
    assert main(["run", "-s", settings, "-x"]) == 2
    problem = "landscape.export.sign: a signed export needs a key: set ELSPETH_SIGNING_KEY, or sign: false"
    assert capsys.readouterr() == ("", f"error: {settings}: 1 problem\n  {problem}\n")
    assert read_tree(project) == before


def test_dotenv_is_read_by_default(project: Path, settings: str, capsys: pytest.CaptureFixture[str]) -> None:
    (project / ".env").write_text("ELSPETH_LANDSCAPE__EXPORT__SIGN=true\nELSPETH_SIGNING_KEY=k\n")
    assert main(["validate", "-s", settings]) == 0
    assert capsys.readouterr().out.endswith("audit_trail.json, signed\n")
    assert main(["validate", "-s", settings, "--no-dotenv"]) == 0
    assert capsys.readouterr().out.endswith("audit_trail.json, not signed\n")


def test_a_plan_shows_no_secrets(
    settings: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELSPETH_LANDSCAPE__URL", "postgresql+psycopg://audit:hunter2@db/landscape")
    assert main(["validate", "-s", settings]) == 0
    assert "audit   postgresql+psycopg://audit:[redacted]@db/landscape\n" in capsys.readouterr().out


def test_plugins_are_listed_as_a_table_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["type", "name", "version", "description"]
    assert f"source       csv              {CsvSource.plugin_version}    {CsvSource.description()}" in lines
    assert main(["plugins", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert len(listed) == len(lines) - 1
    assert listed[0] == {
        "type": "source",
        "name": "csv",
        "version": CsvSource.plugin_version,
        "description": "Rows of CSV files with a header line.",
    }


@pytest.mark.parametrize("arguments", [["plugins", "list"], ["validate", "-s", "x"]])
def test_a_broken_plugin_package_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    def fail() -> PluginManager:
        raise PluginRegistrationError("plugin 'extra' of extra-package cannot be loaded: ImportError: x")

    monkeypatch.setattr(PluginManager, "installed", fail)
    assert main(arguments) == 2
    assert capsys.readouterr() == ("", "error: plugin 'extra' of extra-package cannot be loaded: ImportError: x\n")


def test_a_failed_run_ends_with_exit_code_1_and_says_what_was_recorded(
    project: Path, settings: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / EXAMPLE / "input.csv").write_text('id,name,category,amount\n1,"x\n')
    assert main(["run", "-s", settings, "-x"]) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert re.fullmatch(
        r"error: examples/audit_export/input\.csv, line 2: a quote opens here and is never closed\n"
        rf"Run {ID} is recorded as failed\.\n",
        errors,
    )
    assert list((project / EXAMPLE / "output").iterdir()) == []


def test_a_file_that_is_not_a_database_is_named(
    project: Path, settings: str, capsys: pytest.CaptureFixture[str]
) -> None:
    database = project / EXAMPLE / "runs" / "audit.db"
    database.parent.mkdir()
    database.write_text("this is no database, although it is long enough to look at" * 20)
    before = database.read_bytes()
    assert main(["run", "-s", settings, "-x"]) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("error: ")
    assert "Traceback" not in errors
    assert database.read_bytes() == before


def test_an_interrupted_run_says_so(
    settings: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Orchestrator) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Orchestrator, "run", interrupt)
    assert main(["run", "-s", settings, "-x"]) == 130
    assert capsys.readouterr() == ("", "error: interrupted\n")


def test_a_terminal_gets_a_progress_bar_on_standard_error(settings: str, project: Path) -> None:
    script = "import sys; sys.stderr.isatty = lambda: True; from elspeth.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", script, "run", "-s", settings, "-x", "--json"],
        cwd=project,
        env={**os.environ, "TTY_COMPATIBLE": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["rows"] == 10
    assert "corporate 4" in done.stderr
    assert "87 of 87" in done.stderr
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", done.stderr.rpartition("rows ")[2]).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["proof", "publish", "seal", "export"]
