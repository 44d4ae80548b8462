"""`elspeth rows` from a database and from exports."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elspeth.cli import main, terminal
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.queries import comparison, endings
from elspeth.core.landscape.queries.endings import EndedToken
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth_schema import EPOCH
from tests.cli.messages import NO_DATABASE
from tests.fixtures.legacy import LEGACY

SETTINGS = """
datasource:
  plugin: csv
  options: {path: in.csv, schema: {mode: free, fields: ["id: int"]}, on_validation_failure: bad}
row_plugins:
  - {plugin: field_mapper, options: {computed: {share: "100 / row['id']"}, on_error: bad}}
  - {plugin: keyword_filter, options: {fields: [word], blocked_patterns: [spam]}}
gates:
  - {name: size, condition: "row['id'] > 3", routes: {"true": big, "false": continue}}
output_sink: out
sinks:
  out: {plugin: jsonl, options: {path: out.jsonl}}
  big: {plugin: jsonl, options: {path: big.jsonl}}
  bad: {plugin: jsonl, options: {path: bad.jsonl}}
landscape: {url: "sqlite:///audit.db"}
"""

EXPECTED = [
    (0, "completed", "out", None, None, None),
    (1, "quarantined", "bad", "csv", "ValueError", "line 3: field 'id': expected an integer, got text of 1 character"),
    (2, "failed", "bad", "field_mapper_0", "RowError", "100 / row['id']: division by zero"),
    (3, "failed", None, "keyword_filter_1", "RowError", "field 'word' contains the blocked pattern 'spam'"),
    (4, "routed", "big", None, None, None),
]
FORMS = ["trail.jsonl", "trail.json.gz", "parquet", "bag.zip"]


@pytest.mark.usefixtures("own_directory")
@pytest.mark.parametrize("command", [["rows"], ["diff", "latest", "latest"]])
def test_a_list_that_fails_midway_gives_one_json_document_with_the_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    def fail(*_: object, **__: object) -> Iterator[EndedToken]:
        yield EndedToken(row=0, token_id="t", outcome="failed", sink=None, step=None, kind=None, reason=None)
        raise LandscapeError("the disk is gone")

    monkeypatch.setattr(endings, "ended_tokens", fail)
    monkeypatch.setattr(comparison, "compare_rows", fail)
    with LandscapeDB("sqlite:///audit.db") as db:
        LandscapeRecorder(db).begin_run({}, "v1")
    assert main([*command, "-d", "audit.db", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["error"]["message"] == "the disk is gone"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run a pipeline, and export the run in every form."""
    directory = tmp_path_factory.mktemp("rows")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        Path("settings.yaml").write_text(SETTINGS)
        Path("in.csv").write_text("id,word\n1,a\nx,b\n0,c\n2,spam\n4,d\n")
        assert main(["run", "-s", "settings.yaml", "-x", "--no-dotenv"]) == 0
        for name in FORMS:
            form = [] if "." in name else ["--format", name]
            assert main(["export", "latest", "-d", "audit.db", "-o", name, *form]) == 0
    return directory


@pytest.fixture(autouse=True)
def _in_directory(directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(directory)
    capsys.readouterr()


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main(["rows", "-d", "audit.db", "--json", *arguments]) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    rows: list[dict[str, Any]] = json.loads(output)["rows"]
    return rows


def test_rows_are_listed_with_outcome_sink_and_reason(capsys: pytest.CaptureFixture[str]) -> None:
    rows = listed(capsys)
    assert list(rows[0]) == ["row", "token_id", "outcome", "sink", "step", "kind", "reason"]
    assert [tuple(value for name, value in row.items() if name != "token_id") for row in rows] == EXPECTED


@pytest.mark.parametrize(
    ("filters", "rows"),
    [
        (["--outcome", "failed"], [2, 3]),
        (["--outcome", "failed", "--outcome", "quarantined"], [1, 2, 3]),
        (["--sink", "bad"], [1, 2]),
        (["--sink", "bad", "--outcome", "failed"], [2]),
        (["--step", "keyword_filter_1"], [3]),
        (["--reason", "division by zero"], [2]),
        (["--reason", "RowError: field"], [3]),
        (["--reason", "expected an integer, got text of N characters"], [1]),
        (["--reason", "nothing"], []),
        (["--limit", "2"], [0, 1]),
        (["--outcome", "failed", "--limit", "1"], [2]),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_rows_are_found_by_how_they_ended(
    capsys: pytest.CaptureFixture[str], filters: list[str], rows: list[int]
) -> None:
    assert [row["row"] for row in listed(capsys, *filters)] == rows


@pytest.mark.parametrize("form", FORMS)
def test_an_export_lists_what_the_database_lists(capsys: pytest.CaptureFixture[str], form: str) -> None:
    options = ["--json"] if form == "bag.zip" else []
    found = []
    for source in (["-d", "audit.db"], ["--from", form]):
        assert main(["rows", "--outcome", "failed", *source, *options]) == 0
        found.append(capsys.readouterr())
    assert found[0] == found[1]
    assert "division by zero" in found[0].out


def test_the_table_is_aligned_below_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rows", "-d", "audit.db", "--step", "csv"]) == 0
    output, errors = capsys.readouterr()
    heading, row = output.splitlines()
    assert heading.split() == ["row", "token", "outcome", "sink", "step", "reason"]
    assert row.index("quarantined") == heading.index("outcome")
    assert row.endswith("  bad   csv   ValueError: line 3: field 'id': expected an integer, got text of 1 character")
    assert errors.endswith(": 1 row listed\n")


def test_a_long_table_is_aligned_page_by_page(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "_PAGE", 2)
    assert main(["rows", "-d", "audit.db"]) == 0
    output, errors = capsys.readouterr()
    assert [line.split()[0] for line in output.splitlines()] == ["row", "0", "1", "2", "3", "4"]
    assert errors.endswith(": 5 rows listed\n")


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        ([], 2, NO_DATABASE),
        (["-d", "audit.db", "--from", "bag.zip"], 2, "give -d or --from: either the audit database or an export"),
        (["-d", "audit.db", "--run", "zzz"], 1, "audit database sqlite:///audit.db holds no run 'zzz'"),
    ],
    ids=["neither", "both", "no such run"],
)
def test_a_run_that_cannot_be_read_is_an_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, error: str
) -> None:
    assert main(["rows", *arguments]) == code
    assert capsys.readouterr() == ("", f"error: {error}\n")


def test_an_unknown_step_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rows", "-d", "audit.db", "--sink", "bat", "--json"]) == 0
    output, errors = capsys.readouterr()
    assert json.loads(output)["rows"] == []
    assert errors == "--sink: the run has no step 'bat'; did you mean 'bad'?\n"
    assert main(["rows", "-d", "audit.db", "--sink", "bat", "--step", "zzz\x1b", "--json"]) == 0
    first, second = capsys.readouterr().err.splitlines()
    assert first == "--sink: the run has no step 'bat'; did you mean 'bad'?"
    assert second.startswith("--step: the run has no step 'zzz\\x1b'")
    assert main(["rows", "-d", "audit.db", "--sink", "big", "--step", "csv", "--json"]) == 0
    assert capsys.readouterr().err == ""


def test_an_export_holds_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rows", "--from", "trail.jsonl", "--run", "zzz"]) == 1
    assert capsys.readouterr().err.startswith("error: export trail.jsonl holds run ")


def test_an_altered_export_lists_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Path("altered.jsonl").write_bytes(Path("trail.jsonl").read_bytes().replace(b"division", b"addition"))
    assert main(["rows", "--from", "altered.jsonl"]) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("error: altered.jsonl")


def test_runs_recorded_by_other_programs_can_be_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = str(shutil.copy(LEGACY / f"epoch{EPOCH}-rich.db", tmp_path / "old.db"))
    export = str(LEGACY / f"epoch{EPOCH}-exports" / "signed.jsonl")
    run_id = json.loads(Path(export).read_text().partition("\n")[0])["run_id"]
    assert main(["rows", "-d", database, "--run", run_id]) == 0
    listed = capsys.readouterr()
    assert main(["rows", "--from", export]) == 0
    assert capsys.readouterr() == listed
    assert main(["diff", run_id, export, "-d", database]) == 0
    assert main(["outputs", run_id, "-d", database]) == 0
