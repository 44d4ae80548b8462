"""Commands end with the exit codes of docs/exit-codes.md."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.cli.app import command
from elspeth.cli.examples import leaves
from elspeth.cli.failures import ExitCode
from elspeth.evidence.format.signatures import PRIVATE_KEY, PUBLIC_KEY
from elspeth.plugins.csv import CsvSink
from tests.fixtures.legacy import LEGACY

DOCUMENT = Path(__file__).parents[2] / "docs" / "exit-codes.md"

SETTINGS = """
datasource:
  plugin: csv
  options: {path: %s, schema: {mode: strict, fields: ["id: int"]}, on_validation_failure: discard}
output_sink: out
sinks: {out: {plugin: csv, options: {path: out.csv}}}
landscape: {url: "sqlite:///audit.db"}
payload_store: {base_path: payloads}
"""

LOG_KEY = f"--key log/{PRIVATE_KEY}"
WITNESS = f"{LOG_KEY} --name witness.example --policy logs --state state"

CASES = [
    ("run --execute", 0, "run -s settings.yaml --execute"),
    ("run --execute", 1, "run -s all-invalid.yaml --execute"),
    ("run --execute", 1, "run -s limited.yaml --execute"),
    ("run --execute", 2, "run -s malformed.yaml --execute"),
    ("run --execute", 3, "run -s some-invalid.yaml --execute --exit-code"),
    ("run --execute", 0, "run -s some-invalid.yaml --execute"),
    ("run --execute", 1, "run -s all-invalid.yaml --execute --exit-code"),
    ("run --execute", 0, "run -s settings.yaml --execute --exit-code"),
    ("run --execute", 2, "run -s settings.yaml --execute --dry-run"),
    ("resume", 0, "resume latest -s stopped.yaml --dry-run"),
    ("resume", 1, "resume latest -s stopped.yaml"),
    ("resume --execute", 0, "resume latest -s stopped.yaml --execute"),
    ("resume --execute", 1, "resume latest -s settings.yaml --execute"),
    ("resume --execute", 2, "resume latest -s settings.yaml --execute --dry-run"),
    ("resume --abandon", 1, "resume latest -s settings.yaml --abandon"),
    ("resume --abandon", 2, "resume latest -s settings.yaml --abandon --dry-run"),
    ("purge --execute", 0, "purge -s settings.yaml --execute"),
    ("purge --execute", 1, "purge -s elsewhere.yaml --execute"),
    ("purge --execute", 2, "purge -s settings.yaml --execute --dry-run"),
    ("run", 0, "run -s settings.yaml --dry-run"),
    ("run", 1, "run -s settings.yaml"),
    ("resume", 1, "resume latest -s settings.yaml"),
    ("resume", 1, "resume latest -s settings.yaml --dry-run"),
    ("purge", 0, "purge -s settings.yaml --dry-run"),
    ("purge", 1, "purge -s settings.yaml"),
    ("validate", 0, "validate -s settings.yaml"),
    ("validate", 2, "validate -s malformed.yaml"),
    ("validate", 2, "validate -s settings.yaml --graph mermaid"),
    ("plugins list", 0, "plugins list"),
    ("plugins list", 2, "plugins list --unknown"),
    ("plugins show", 0, "plugins show csv"),
    ("plugins show", 2, "plugins show cvs"),
    ("plugins new", 0, "plugins new mine -o mine"),
    ("plugins new", 2, "plugins new mine -o mine"),
    ("settings schema", 0, "settings schema"),
    ("settings convert", 0, "settings convert -s settings.yaml"),
    ("settings convert", 0, "settings convert -s settings.yaml -o converted.yaml"),
    ("settings convert", 1, "settings convert -s settings.yaml -o missing/converted.yaml"),
    ("settings convert", 2, "settings convert -s settings.yaml -o converted.yaml"),
    ("export", 0, "export latest -d audit.db -o new.jsonl"),
    ("export", 1, "export missing -d audit.db -o new.jsonl"),
    ("export", 2, "export latest -d audit.db"),
    ("import", 0, "import export.jsonl -d new.db"),
    ("import", 1, "import export.jsonl -d audit.db"),
    ("mcp", 1, "mcp missing.db"),
    ("mcp", 2, "mcp audit.db --key missing.pem"),
    ("prove", 1, "prove bag row missing -o proof.json"),
    ("keys generate", 0, "keys generate -o keys"),
    ("keys generate", 1, "keys generate -o keys"),
    ("differences", 1, "differences -d audit.db"),
    ("rows", 0, "rows -d audit.db"),
    ("rows", 1, "rows -d audit.db --run missing"),
    ("rows", 2, "rows -d audit.db --from export.jsonl"),
    ("outputs", 0, "outputs -d audit.db --check"),
    ("outputs", 1, "outputs -d audit.db --file settings.yaml"),
    ("outputs", 2, "outputs latest -d audit.db --file settings.yaml"),
    ("diff", 0, "diff latest export.jsonl -d audit.db"),
    ("diff", 1, "diff earlier.jsonl latest -d audit.db"),
    ("diff", 1, "diff export.jsonl missing -d audit.db"),
    ("diff", 2, "diff export.jsonl missing"),
    ("explain", 0, "explain --row 0 -d audit.db"),
    ("explain", 1, "explain --row 7 -d audit.db"),
    ("explain", 2, "explain -d audit.db"),
    ("verify", 0, f"verify signed --key pair/{PUBLIC_KEY}"),
    ("verify", 1, "verify bag"),
    ("verify", 2, "verify bag --key missing.pem"),
    ("landscape status", 0, "landscape status -d audit.db"),
    ("landscape status", 1, "landscape status -d old.db"),
    ("landscape check", 0, "landscape check -d audit.db"),
    ("landscape check", 1, "landscape check -d old.db"),
    ("landscape adopt", 0, "landscape adopt old.db -d adopted.db"),
    ("landscape adopt", 1, "landscape adopt audit.db -d adopted.db"),
    ("landscape migrate", 0, "landscape migrate -d old.db --dry-run"),
    ("landscape migrate", 2, "landscape migrate -d old.db --sql"),
    ("landscape migrate", 0, "landscape migrate -d old.db"),
    ("landscape migrate", 1, "landscape migrate -d foreign.db"),
    ("landscape runs", 0, "landscape runs -d audit.db"),
    ("landscape runs", 1, "landscape runs -d missing.db"),
    ("landscape log checkpoint", 0, f"landscape log checkpoint -d audit.db {LOG_KEY} -o c.checkpoint"),
    ("landscape log checkpoint", 1, f"landscape log checkpoint -d audit.db {LOG_KEY} -o c.checkpoint"),
    ("landscape log checkpoint", 2, "landscape log checkpoint -d audit.db --key missing.pem -o d.checkpoint"),
    ("landscape log check", 0, "landscape log check -d audit.db --against c.checkpoint"),
    ("landscape log check", 1, "landscape log check -d adopted.db --against c.checkpoint"),
    ("landscape log prove", 0, f"landscape log prove latest -d audit.db {LOG_KEY} -o p.tlog-proof"),
    ("landscape log prove", 1, f"landscape log prove missing -d audit.db {LOG_KEY} -o q.tlog-proof"),
    ("landscape log cosign", 0, f"landscape log cosign c.checkpoint {WITNESS} -o c.cosigned"),
    ("landscape log cosign", 1, f"landscape log cosign p.tlog-proof {WITNESS} -o p.cosigned"),
    ("landscape log leave", 0, "landscape log leave -s leaving.yaml"),
    ("landscape log leave", 2, "landscape log leave -s settings.yaml"),
    ("landscape send-events", 0, "landscape send-events -s sending.yaml"),
    ("landscape send-events", 2, "landscape send-events -s settings.yaml"),
    ("landscape log witness", 2, f"landscape log witness --listen nowhere {WITNESS}"),
    ("report", 0, "report latest -d audit.db -o report.html"),
    ("report", 1, "report missing -d audit.db -o report.html"),
    ("report", 2, "report"),
    ("landscape prune", 0, "landscape prune -d audit.db --before 2020-01-01 --archive old --dry-run"),
    ("landscape prune", 1, "landscape prune -d audit.db --before 2020-01-01 --archive old"),
    ("landscape prune", 2, "landscape prune -d audit.db --before yesterday --archive old"),
    ("landscape prune", 2, "landscape prune -d audit.db --before 2999-01-01 --archive in.csv --execute"),
    ("landscape prune", 0, "landscape prune -d audit.db --before 2999-01-01 --archive old --execute"),
]
"""A row of the table, an exit code, and a command that ends with it; carried out in this order."""

RESULTS_WITH_1 = {
    "run -s all-invalid.yaml --execute",
    "run -s all-invalid.yaml --execute --exit-code",
    "run -s settings.yaml",
    "resume latest -s stopped.yaml",
    "resume latest -s settings.yaml",
    "resume latest -s settings.yaml --dry-run",
    "purge -s settings.yaml",
    "outputs -d audit.db --file settings.yaml",
    "diff earlier.jsonl latest -d audit.db",
    "verify bag",
    "landscape status -d old.db",
    "landscape check -d old.db",
    "landscape prune -d audit.db --before 2020-01-01 --archive old",
    "landscape log check -d adopted.db --against c.checkpoint",
}
"""Commands that end with 1 because of what they print."""


def read_table(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading."""
    text = DOCUMENT.read_text(encoding="utf-8").partition(f"{heading}\n")[2]
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert table is not None
    lines = table[0].replace(r"\|", "").splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_lists_every_exit_code() -> None:
    assert {int(code) for code, _ in read_table("# Exit codes")} == set(ExitCode)


def test_the_page_lists_every_command() -> None:
    documented = {
        name.split(" --")[0] for cells in read_table("## 0 and 1, by command") for name in command_names(cells[0])
    }
    commands = {name for name, _ in leaves(command)}
    assert documented == commands
    assert {name.split(" --")[0] for name, _, _ in CASES} == commands


def test_every_command_accepts_the_json_option() -> None:
    lacking = [name for name, each in leaves(command) if not any("--json" in param.opts for param in each.params)]
    assert lacking == []


def fail(_: CsvSink) -> None:
    raise OSError("the cable was pulled")


def command_names(cell: str) -> list[str]:
    """Return the commands that a cell names."""
    return [name for name in re.findall("`([^`]+)`", cell) if not name.startswith("--")]


def name_of_log() -> str:
    """Return the line about the log of audit.db for policies."""
    with redirect_stdout(StringIO()) as output:
        command = f"landscape log checkpoint -d audit.db {LOG_KEY} -o first.checkpoint --json"
        assert main(command.split()) == 0
    line: str = json.loads(output.getvalue())["for_policies"]
    return line


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepare a directory in which each command ends as expected."""
    directory = tmp_path_factory.mktemp("codes")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(directory)
        Path("settings.yaml").write_text(SETTINGS % "in.csv")
        Path("all-invalid.yaml").write_text(SETTINGS % "invalid.csv")
        Path("some-invalid.yaml").write_text(SETTINGS % "mixed.csv")
        Path("limited.yaml").write_text(f"{SETTINGS % 'mixed.csv'}fail_if: {{quarantined: 10%}}")
        Path("elsewhere.yaml").write_text(SETTINGS.replace("audit.db", "elsewhere.db") % "in.csv")
        Path("stopped.yaml").write_text(
            SETTINGS.replace("audit.db", "stopped.db").replace("out.csv", "s.csv") % "in.csv"
        )
        Path("malformed.yaml").write_text("datasource: {")
        Path("in.csv").write_text("id\n1\n2\n")
        Path("invalid.csv").write_text("id\nx\n")
        Path("mixed.csv").write_text("id\n1\nx\n")
        Path("foreign.db").write_text("no database\n" * 100)
        shutil.copy(LEGACY / "epoch4-rich.db", "old.db")
        commands = [
            "run -s some-invalid.yaml -x",
            "export latest -d audit.db -o earlier.jsonl",
            "run -s settings.yaml -x",
            "export latest -d audit.db -o export.jsonl",
            "export latest -d audit.db -o bag --format bag",
            "keys generate -o pair",
            "keys generate -o log --type ed25519",
            f"export latest -d audit.db -o signed --format bag --key pair/{PRIVATE_KEY}",
        ]
        assert [main(command.split()) for command in commands] == [0] * len(commands)
        Path("logs").write_text(f"{name_of_log()}\nquorum none\n")
        left = f"log: {{key: log/{PRIVATE_KEY}, after_run: [{{file: kept/}}]}}"
        Path("leaving.yaml").write_text((SETTINGS % "in.csv").replace('audit.db"', f'audit.db", {left}'))
        Path("sending.yaml").write_text(SETTINGS % "in.csv" + "openlineage: {transport: {type: console}}\n")
        monkeypatch.setattr(CsvSink, "publish", fail)
        assert main(["run", "-s", "stopped.yaml", "-x"]) == 1
    return directory


@pytest.mark.parametrize("case", CASES, ids=[f"{case[2]} -> {case[1]}" for case in CASES])
def test_each_command_ends_with_its_code_and_one_json_document(
    directory: Path, case: tuple[str, int, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row, code, command = case
    monkeypatch.chdir(directory)
    assert main([*command.split(), "--json"]) == code, row
    output, errors = capsys.readouterr()
    assert "Traceback" not in errors
    document = json.loads(output)
    if code:
        assert errors
    if "error" in document:
        assert list(document) == ["error"]
        assert list(document["error"]) == ["exit_code", "type", "message", "problems", "notes"]
        assert document["error"]["exit_code"] == code
        assert document["error"]["message"] in errors
    is_error = code == 2 or (code == 1 and command not in RESULTS_WITH_1)
    assert ("error" in document) is is_error
