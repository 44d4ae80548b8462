"""`elspeth diff` compares runs in databases and exports."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from elspeth.cli import main
from elspeth.cli.commands.diff import _journey, _value
from elspeth.core.landscape.queries.comparison import RowJourney

SETTINGS = """
datasource:
  plugin: csv
  options: {path: in.csv, schema: {mode: free, fields: ["id: int"]}, on_validation_failure: discard}
row_plugins: [{plugin: keyword_filter, options: {fields: [word], blocked_patterns: [%s]}}]
gates:
  - {name: size, condition: "row['id'] > %d", routes: {"true": big, "false": continue}}
output_sink: out
sinks:
  out: {plugin: jsonl, options: {path: out.jsonl}}
  big: {plugin: jsonl, options: {path: big.jsonl}}
landscape: {url: "sqlite:///audit.db"}
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run a pipeline twice, with different settings."""
    directory = tmp_path_factory.mktemp("diff")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        Path("in.csv").write_text("id,word\n1,a\nx,b\n5,c\n2,spam\n")
        for name, word, limit in [("one", "spam", 3), ("two", "ham", 9)]:
            Path("settings.yaml").write_text(SETTINGS % (word, limit))
            if name == "two":
                Path("in.csv").write_text("id,word\n1,a\nx,b\n5,c\n2,spam\n7,e\n")
            assert main(["run", "-s", "settings.yaml", "-x", "--no-dotenv"]) == 0
            assert main(["export", "latest", "-d", "audit.db", "-o", f"{name}.jsonl"]) == 0
            shutil.copy("audit.db", f"after_{name}.db")
        assert main(["export", "latest", "-d", "audit.db", "-o", "two.zip"]) == 0
    return directory


@pytest.fixture(autouse=True)
def ids(directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Change to the directory; return the runs' ids."""
    monkeypatch.chdir(directory)
    capsys.readouterr()
    lines = {name: Path(f"{name}.jsonl").read_text().partition("\n")[0] for name in ("one", "two")}
    return {name: json.loads(line)["run_id"] for name, line in lines.items()}


def compared(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 1) -> dict[str, Any]:
    assert main(["diff", *arguments, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_run_does_not_differ_from_its_export(capsys: pytest.CaptureFixture[str], ids: dict[str, str]) -> None:
    assert main(["diff", ids["one"], "one.jsonl", "-d", "audit.db"]) == 0
    first = second = ids["one"]
    assert capsys.readouterr() == (
        f"first   {first}\nsecond  {second}\n",
        f"runs {first} and {second}: 0 differing rows\n",
    )


def test_the_differences_of_two_runs_are_listed(capsys: pytest.CaptureFixture[str], ids: dict[str, str]) -> None:
    assert main(["diff", ids["one"], ids["two"], "-d", "audit.db"]) == 1
    output, errors = capsys.readouterr()
    assert [" ".join(line.split()) for line in output.splitlines()[2:]] == [
        "settings gates[0].condition: row['id'] > 3 -> row['id'] > 9",
        "row_plugins[0].options.blocked_patterns[0]: spam -> ham",
        "counts completed to out: 1 -> 4",
        "failed: 1 -> 0",
        "routed to big: 1 -> 0",
        "row differs first second",
        "2 outcomes, route routed to big, size true completed to out, size false",
        "3 outcomes, route, failed_at failed, failed at keyword_filter_0 completed to out, size false",
        "4 presence none completed to out, size false",
    ]
    assert errors == f"runs {ids['one']} and {ids['two']}: 3 differing rows\n"


def test_databases_exports_and_bags_give_the_same_answer(
    capsys: pytest.CaptureFixture[str], ids: dict[str, str]
) -> None:
    expected = compared(capsys, ids["one"], "latest", "-d", "audit.db")
    assert [row["row"] for row in expected["rows"]] == [2, 3, 4]
    assert expected["rows"][1]["first"] == {
        "outcomes": [["failed", None]],
        "route": [],
        "failed_at": ["keyword_filter_0"],
    }
    assert (expected["first"], expected["second"]) == (ids["one"], ids["two"])
    assert compared(capsys, "one.jsonl", "two.zip") == expected
    assert compared(capsys, "one.jsonl", ids["two"], "-d", "audit.db") == expected
    assert compared(capsys, ids["one"], ids["two"], "-d", "after_one.db", "-d", "after_two.db") == expected
    swapped = compared(capsys, ids["two"], "latest", "-d", "after_two.db", "-d", "after_one.db")
    assert (swapped["first"], swapped["second"]) == (ids["two"], ids["one"]), "latest is that of its own database"
    assert [each["path"] for each in expected["settings"]][:1] == ["gates[0].condition"]
    assert [each["path"] for each in expected["steps"]] == []
    assert expected["counts"][0] == {"outcome": "completed", "sink": "out", "first": 1, "second": 4}


def test_the_list_of_rows_can_be_limited(capsys: pytest.CaptureFixture[str], ids: dict[str, str]) -> None:
    assert [row["row"] for row in compared(capsys, "one.jsonl", "two.jsonl", "--limit", "2")["rows"]] == [2, 3]
    assert main(["diff", "one.jsonl", "two.jsonl", "--limit", "2"]) == 1
    assert capsys.readouterr().err == f"runs {ids['one']} and {ids['two']}: 2 differing rows or more\n"
    assert main(["diff", "one.jsonl", "two.jsonl", "--limit", "4"]) == 1
    assert capsys.readouterr().err == f"runs {ids['one']} and {ids['two']}: 3 differing rows\n"


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["a", "b", *(["-d", "audit.db"] * 3)], 2, "-d: give one database, or one for each of the two runs"),
        (["one.jsonl", "zzz", "-d", "audit.db"], 1, "audit database sqlite:///audit.db holds no run 'zzz'"),
    ],
    ids=["three databases", "no such run"],
)
def test_a_run_that_cannot_be_read_is_an_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, error: str
) -> None:
    assert main(["diff", *arguments]) == code
    assert capsys.readouterr() == ("", f"error: {error}\n")


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "none"), (0, "0"), (False, "false"), ("", ""), ([], "[]"), ("a\nb", "a b")]
)
def test_a_value_of_a_setting_is_shown_unless_there_is_none(value: object, shown: str) -> None:
    assert _value(value) == shown


def test_a_journey_shows_the_decisions_of_steps_but_not_internal_ones() -> None:
    route = (("size", "true"), ("keywords", "__error__"))
    assert _journey(RowJourney(outcomes=(), route=route, failed_at=("keywords",))) == (
        "has not ended, size true, failed at keywords"
    )
