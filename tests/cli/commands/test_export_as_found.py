"""`elspeth export --as-found`, and its exports in other commands."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
import subprocess
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.cli.commands import _record_exports
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.format import READABLE
from tests.cli.messages import NO_DATABASE
from tests.fixtures.rich_run import recorded, rich_run
from tests.fixtures.untouched import untouched

Captured = pytest.CaptureFixture[str]

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a directory with an unknown database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ELSPETH_SIGNING_KEY", raising=False)
    with closing(sqlite3.connect("old.db")) as lite:
        lite.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1), ('x'), (x'00')")
    return tmp_path


def run(capsys: Captured, *arguments: str) -> tuple[int, str, str]:
    """Run `elspeth`; return its exit code, output and errors."""
    code = main([*arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


FORMS = sorted(form.value for form in READABLE)


@pytest.mark.parametrize("form", FORMS)
def test_any_database_can_be_exported_and_verified(project: Path, capsys: Captured, form: str) -> None:
    (project / "out").mkdir()
    with untouched(project / "old.db"):
        code, out, err = run(capsys, "export", "--as-found", "old.db", "-o", f"out/{form}", "--format", form)
    assert (code, err) == (0, "")
    assert out == (
        "database  old.db, as found: 2 tables and views, 4 rows\n"
        f"export    out/{form} ({form}, 7 records, not signed)\n"
    )
    code, out, err = run(capsys, "verify", f"out/{form}", "--json")
    result = json.loads(out)
    assert (code, result["verdict"], result["run_id"]) == (1, "CONSISTENT BUT UNSIGNED", None)
    assert result["scope"].startswith("states every record of the sqlite database 'old.db' as found at ")
    assert "says nothing about what the database should have held" in err


@pytest.mark.usefixtures("project")
def test_a_bag_is_signed_and_verified_with_a_key(capsys: Captured) -> None:
    assert run(capsys, "keys", "generate", "-o", "keys")[0] == 0
    arguments = ("--format", "bag", "--key", "keys/elspeth.key.pem")
    code, out, _ = run(capsys, "export", "--as-found", "old.db", "-o", "bag", *arguments, "--json")
    what = {"path": "bag", "format": "bag", "compress": None}
    assert (code, json.loads(out)) == (
        0,
        {"database": "old.db", "tables": 2, "rows": 4, **what, "records": 7, "signed": True},
    )
    code, _, err = run(capsys, "verify", "bag", "--key", "keys/elspeth.pub.pem", "--workers", "2")
    assert code == 0
    assert "11 verdict                 VERIFIED  states every record of the sqlite database 'old.db'" in err
    assert run(capsys, "export", "--as-found", "old.db", "-o", "bag.zip", "--key", "keys/elspeth.key.pem")[0] == 0
    assert Path("bag.zip").is_file()
    assert run(capsys, "verify", "bag.zip", "--key", "keys/elspeth.pub.pem")[0] == 0
    code, _, err = run(
        capsys, "export", "--as-found", "old.db", "-o", "late", *arguments, "--tsa", "http://127.0.0.1:1"
    )
    assert (code, "http://127.0.0.1:1" in err, Path("late").exists()) == (1, True, False)
    code, out, _ = run(capsys, "prove", "bag", "row", "main/t/2", "-o", "proof.json")
    assert (code, "row main/t/2" in out) == (0, True)
    assert run(capsys, "verify", "proof.json", "--key", "keys/elspeth.pub.pem")[0] == 0


@pytest.mark.usefixtures("project")
def test_the_commands_in_the_documentation_work(capsys: Captured) -> None:
    text = (Path(__file__).parents[3] / "docs" / "export.md").read_text(encoding="utf-8")
    commands = re.findall(
        r"^\$ elspeth (.*)$", text.partition("## A database as found")[2].partition("\n## ")[0], re.MULTILINE
    )
    assert len(commands) == 2
    assert run(capsys, "keys", "generate", "-o", "keys")[0] == 0
    for command in commands:
        assert run(capsys, *shlex.split(command))[0] == 0


def test_the_lines_of_a_bag_cannot_be_verified_alone(project: Path, capsys: Captured) -> None:
    assert run(capsys, "export", "--as-found", "old.db", "-o", "bag", "--format", "bag")[0] == 0
    code, _, err = run(capsys, "verify", "bag/data/records.jsonl")
    assert code == 1
    assert err == (
        f"error: bag/data/records.jsonl: is a part of a bag, which is verified as a whole: name {project / 'bag'}\n"
    )


def test_the_instructions_in_a_bag_verify_it(project: Path, capsys: Captured) -> None:
    assert run(capsys, "keys", "generate", "-o", "keys")[0] == 0
    assert (
        run(capsys, "export", "--as-found", "old.db", "-o", "bag", "--format", "bag", "--key", "keys/elspeth.key.pem")[
            0
        ]
        == 0
    )
    text = (project / "bag" / "VERIFY.txt").read_text()
    assert text.startswith("How to check this bag, the sqlite database 'old.db' as found at 20")
    commands = [line.removeprefix("    ") for line in text.splitlines() if line.startswith("    ")]
    script = "\n".join(["set -e", *commands]).replace("/path/to/PUBLIC.pem", str(project / "keys" / "elspeth.pub.pem"))
    subprocess.run(["bash", "-c", script], cwd=project / "bag", check=True, capture_output=True)


@pytest.mark.usefixtures("project")
def test_progress_is_shown(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(_record_exports, "record_display", lambda *_: nullcontext(told.append))
    assert run(capsys, "export", "--as-found", "old.db", "-o", "x.jsonl")[0] == 0
    assert told[-1] > 0


def test_lines_are_signed_with_hmac(project: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSPETH_SIGNING_KEY", SECRET)
    assert run(capsys, "export", "--as-found", "old.db", "-o", "x.jsonl", "--hmac")[0] == 0
    assert run(capsys, "verify", "x.jsonl", "--hmac")[0] == 0
    assert run(capsys, "verify", "x.jsonl")[0] == 1
    lines = (project / "x.jsonl").read_bytes().replace(b'"a":1', b'"a":2')
    (project / "x.jsonl").write_bytes(lines)
    code, _, err = run(capsys, "verify", "x.jsonl", "--hmac")
    assert (code, "NOT VERIFIED" in err) == (1, True)


@pytest.mark.usefixtures("project")
def test_an_export_goes_to_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["export", "--as-found", "old.db", "-o", "-"]) == 0
    captured = capfdbinary.readouterr()
    assert captured.out.count(b"\n") == 8
    assert b"4 rows" in captured.err


def test_a_database_as_found_has_no_rdf_form(project: Path, capsys: Captured) -> None:
    code, _, err = run(capsys, "export", "--as-found", "old.db", "-o", "x.nt")
    assert code == 2
    assert "--as-found: not with --format nt, which holds a run without signatures" in " ".join(err.split())
    assert not (project / "x.nt").exists()


def test_an_export_as_found_cannot_be_imported_or_explained(project: Path, capsys: Captured) -> None:
    run(capsys, "export", "--as-found", "old.db", "-o", "x.jsonl")
    run(capsys, "export", "--as-found", "old.db", "-o", "bag", "--format", "bag")
    run(capsys, "export", "--as-found", "old.db", "-o", "csv", "--format", "csv")
    for path, place in (("x.jsonl", "x.jsonl"), ("csv", "csv"), ("bag", "bag, statement")):
        for command in (("import", path, "-d", "new.db"), ("explain", "--from", path, "--row", "0")):
            code, out, err = run(capsys, *command)
            assert (code, out) == (1, "")
            assert err == (
                f"error: {place}: is a database that was exported as found, which holds no run that could be imported"
                " or explained: elspeth verify checks it\n"
            )
    assert not (project / "new.db").exists()


@pytest.mark.usefixtures("project")
def test_an_export_as_found_replaces_its_own_kind_only(capsys: Captured) -> None:
    with LandscapeDB("sqlite:///audit.db") as db:
        recorded(db, rich_run())
    assert run(capsys, "export", "latest", "-d", "audit.db", "-o", "run.jsonl")[0] == 0
    assert run(capsys, "export", "--as-found", "old.db", "-o", "found.jsonl")[0] == 0
    assert run(capsys, "export", "--as-found", "old.db", "-o", "found.jsonl")[0] == 0
    code, _, err = run(capsys, "export", "--as-found", "old.db", "-o", "run.jsonl")
    assert code == 1
    assert err == (
        "error: run.jsonl: is not an export of a database as found, which a new one may replace:"
        " name another file, or use --force\n"
    )
    assert run(capsys, "export", "--as-found", "old.db", "-o", "run.jsonl", "--force")[0] == 0
    assert json.loads(run(capsys, "verify", "run.jsonl", "--json")[1])["run_id"] is None
    code, _, err = run(capsys, "export", "latest", "-d", "audit.db", "-o", "found.jsonl")
    assert (code, "is not an export, which a new one may replace" in err) == (1, True)
    code, _, err = run(capsys, "export", "--as-found", "old.db", "-o", "old.db", "--format", "jsonl", "--force")
    assert (code, "is the" in err) == (1, True)
    code, _, err = run(capsys, "export", "--as-found", "audit.db", "-o", "audit.jsonl")
    assert code == 0
    assert main(["verify", "audit.jsonl"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "RUN missing: name a run, or any database with --as-found"),
        (("latest",), NO_DATABASE),
        (("-d", "old.db"), "RUN missing: name a run, or any database with --as-found"),
        (
            (
                *("latest", "--as-found", "old.db", "-d", "old.db", "--include-withheld", "--include-contents"),
                *("--contact-name", "n", "--contact-email", "e", "--workers", "2", "--base", "b"),
            ),
            (
                "RUN, --database, --include-withheld, --include-contents, --contact-name, --contact-email, --workers,"
                " --base: not with --as-found, which exports the whole database in one process"
            ),
        ),
        (
            ("--as-found", "old.db", "--cluster", "tcp://127.0.0.1:9"),
            "--cluster: not with --as-found, which exports the whole database in one process",
        ),
        (
            ("latest", "-d", "old.db", "--workers", "2", "--cluster", "tcp://127.0.0.1:9"),
            "--workers and --cluster contradict each other: give one of them",
        ),
        (("--as-found", "old.db", "--format", "bag", "--hmac"), "--hmac: not with --format bag"),
        (("--as-found", "old.db", "--key", "k.pem"), "--key: only with --format bag"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    project: Path, capsys: Captured, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = run(capsys, "export", *arguments, "-o", "x")
    assert (code, out, err) == (2, "", f"error: {message}\n")
    assert not (project / "x").exists()


@pytest.mark.parametrize("url", ["missing.db", "text.txt", "sqlite:///missing.db", "."])
def test_a_file_that_is_not_a_database_is_refused(project: Path, capsys: Captured, url: str) -> None:
    (project / "text.txt").write_text("not a database " * 100)
    code, out, err = run(capsys, "export", "--as-found", url, "-o", "x.jsonl")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: database ")
    assert sorted(path.name for path in project.iterdir() if not path.name.startswith(".")) == ["old.db", "text.txt"]
