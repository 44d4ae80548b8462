"""`elspeth report` of databases and exports."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth_schema import EPOCH
from tests.fixtures.told_run import RUN_ID, record_told_run

EXPORTS = {
    "trail.jsonl": [],
    "trail.json.gz": [],
    "csv": ["--format", "csv"],
    "bag.zip": [],
    "bag": ["--format", "bag"],
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record the told run and export it in every form."""
    directory = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        with LandscapeDB("sqlite:///audit.db") as db:
            record_told_run(db)
        for name, form in EXPORTS.items():
            assert main(["export", "latest", "-d", "audit.db", "-o", name, *form]) == 0
    return directory


@pytest.fixture(autouse=True)
def _in_directory(directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(directory)
    capsys.readouterr()


def report(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """Write a report; return the JSON that the command prints."""
    assert main(["report", *map(str, arguments), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def without_time(page: Path) -> list[str]:
    return [line for line in page.read_text(encoding="utf-8").splitlines() if not line.startswith("<p>Made by")]


def facts_of(page: Path) -> dict[str, Any]:
    """Return the facts that a page passes to its script."""
    text = page.read_text(encoding="utf-8").partition('id="facts">')[2]
    found: dict[str, Any] = json.loads(text.partition("</script>")[0])
    return found


def test_the_summary_says_where_the_report_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert main(["report", "latest", "-d", "audit.db", "-o", str(page)]) == 0
    captured = capsys.readouterr()
    records = report(capsys, "latest", "-d", "audit.db", "-o", page)["records"]
    size = page.stat().st_size
    assert captured.out == f"run     {RUN_ID}\nreport  {page} ({size:,} bytes, {records:,} of {records:,} records)\n"
    assert captured.err == ""
    assert facts_of(page)["seal"].keys() == {"payload", "envelope", "columns"}
    assert main(["report", "latest", "-d", "audit.db", "-o", str(page), "--embed", "none"]) == 0
    assert f" bytes, 0 of {records:,} records)\n" in capsys.readouterr().out
    facts = facts_of(page)
    assert (facts["runId"], facts["epoch"], facts["key"]) == (RUN_ID, EPOCH, None)
    assert (facts["embed"], facts["embedded"], facts["total"]) == ("none", 0, records)


def test_an_export_gives_the_report_of_its_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    expected = report(capsys, RUN_ID[:3], "-d", "audit.db", "-o", tmp_path / "report.html")
    for name in EXPORTS:
        found = report(capsys, name, "-o", tmp_path / "report.html")
        assert {**found, "size_bytes": None} == {**expected, "size_bytes": None}
        assert facts_of(tmp_path / "report.html")["seal"] is None


def test_an_earlier_report_is_replaced(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    report(capsys, "latest", "-d", "audit.db", "-o", page)
    first = without_time(page)
    report(capsys, "latest", "-d", "audit.db", "-o", page)
    assert without_time(page) == first


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("other.html", "is not a report, which a new one may replace: name another file, or use --force"),
        ("audit.db", "is the audit database, which no output may touch: name another path"),
        ("bag/report.html", "lies in the bag {}, to which nothing may be added: name another path"),
    ],
)
def test_a_file_that_is_not_a_report_is_kept(
    name: str, problem: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(name)
    if not path.exists() and path.parent == Path():
        path.write_text("<!doctype html>\n<p>mine")
    before = path.read_bytes() if path.exists() else None
    assert main(["report", "latest", "-d", "audit.db", "-o", name]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"error: {name}: {problem.format(directory / 'bag')}\n"
    assert (path.read_bytes() if path.exists() else None) == before


def test_force_replaces_another_file_and_never_a_database(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    other = tmp_path / "other.html"
    other.write_text("mine")
    assert report(capsys, "latest", "-d", "audit.db", "-o", other, "--force")["size_bytes"] == other.stat().st_size
    assert main(["report", "latest", "-d", "audit.db", "-o", "audit.db", "--force"]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nobody", "-d", "audit.db"], 1, "audit database sqlite:///audit.db holds no run 'nobody'"),
        (["trail.jsonl", "-d", "audit.db"], 2, "trail.jsonl is an export: give either an export, or a run with -d"),
        (["latest", "-d", "missing.db"], 1, None),
    ],
)
def test_a_run_that_cannot_be_read_is_refused(
    arguments: list[str], code: int, message: str | None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    assert main(["report", *arguments, "-o", str(page)]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {message or ''}")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_export_leaves_no_report(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    export = tmp_path / "trail.jsonl"
    export.write_bytes(Path("trail.jsonl").read_bytes().replace(b'"row_index":1', b'"row_index":8', 1))
    assert main(["report", str(export), "-o", str(tmp_path / "report.html")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {export}")
    assert list(tmp_path.iterdir()) == [export]


def test_the_page_of_a_bag_holds_the_code_that_checks_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["keys", "generate", "-o", str(tmp_path / "keys")]) == 0
    private, public = tmp_path / "keys" / "elspeth.key.pem", tmp_path / "keys" / "elspeth.pub.pem"
    bag, page = tmp_path / "bag.zip", tmp_path / "report.html"
    assert main(["export", "latest", "-d", "audit.db", "-o", str(bag), "--key", str(private)]) == 0
    capsys.readouterr()
    report(capsys, bag, "-o", page, "--key", public)
    text = page.read_text(encoding="utf-8")
    assert facts_of(page)["key"] == public.read_text()
    packed = text.partition('data-name="statement.dsse.json">')[2].partition("</script>")[0]
    assert json.loads(zlib.decompress(base64.b64decode(packed))).keys() == {"payload", "payloadType", "signatures"}
    assert main(["report", str(bag), "-o", str(public), "--key", str(public), "--force"]) == 1
    assert capsys.readouterr().err == f"error: {public}: is a key, which no output may touch: name another path\n"
    assert main(["report", str(bag), "-o", str(page), "--key", str(private)]) == 2
    assert capsys.readouterr().err == (
        f"error: {private}: expected a public key in PEM; this is a private key, its public half is needed\n"
    )


def test_the_page_without_data_is_written_with_its_hash(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "viewer.html"
    assert main(["report", "--viewer", "-o", str(page)]) == 0
    digest = hashlib.sha256(page.read_bytes()).hexdigest()
    assert capsys.readouterr().out == f"viewer   {page}\nSHA-256  {digest}\n"
    assert report(capsys, "--viewer", "-o", page) == {"path": str(page), "sha256": digest}


def test_the_page_without_data_replaces_nothing_else(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    report(capsys, "latest", "-d", "audit.db", "-o", page)
    before = page.read_bytes()
    assert main(["report", "--viewer", "-o", str(page)]) == 1
    assert "is not a page that checks bags" in capsys.readouterr().err
    assert page.read_bytes() == before
    report(capsys, "--viewer", "-o", page, "--force")
    assert page.read_bytes() != before


@pytest.mark.parametrize(
    "arguments",
    [
        ["latest", "--viewer"],
        ["--viewer", "-d", "audit.db"],
        ["--viewer", "--key", "key.pem"],
        ["--viewer", "--embed", "all"],
        ["--viewer", "--payloads", "payloads"],
        ["--viewer", "--include-contents"],
        [],
    ],
)
def test_a_page_has_one_subject(arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["report", *arguments, "-o", str(tmp_path / "page.html")]) == 2
    captured = capsys.readouterr()
    assert "--viewer" in captured.err
    assert captured.out == ""
    assert not (tmp_path / "page.html").exists()
