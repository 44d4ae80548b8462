"""Events as files, written by `elspeth export --format openlineage`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import yaml

from elspeth.cli import main
from tests.engine.pipelines import build, csv_settings, execute
from tests.openlineage.receiver import receiving
from tests.openlineage.specification import assert_valid

Captured = pytest.CaptureFixture[str]
PAGE = (Path(__file__).parent.parent.parent / "docs" / "lineage.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with an audit database and its bag."""
    directory = tmp_path_factory.mktemp("lineage")
    (directory / "in.csv").write_text("id,kind\n1,x\n2,y\n3,y\n")
    (directory / "runs").mkdir()
    url = f"sqlite:///{directory / 'runs' / 'audit.db'}"
    execute(build(directory, {**csv_settings(directory), "landscape": {"url": url}}))
    with chdir(directory):
        assert main(["export", "latest", "-d", url, "-o", "evidence.zip"]) == 0
        assert main(["export", "latest", "-d", url, "-o", "trail.jsonl"]) == 0
    return directory


@pytest.fixture
def project(ran: Path, capsys: Captured) -> Iterator[Path]:
    with chdir(ran):
        capsys.readouterr()
        yield ran


def exported(path: str) -> list[dict[str, Any]]:
    text = Path(path).read_text(encoding="utf-8")
    events = [json.loads(line) for line in text.splitlines()]
    assert text == "".join(f"{json.dumps(each, sort_keys=True, separators=(',', ':'))}\n" for each in events)
    for event in events:
        assert_valid(event)
    return events


def test_the_commands_of_the_page_write_events(project: Path, capsys: Captured) -> None:
    commands = re.findall(r"^\$ elspeth (.+ openlineage .+)$", PAGE, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert main(command.split()) == 0
    out, err = capsys.readouterr()
    assert err.startswith("run     ")
    assert err.endswith("export  standard output (openlineage, 2 events)\n")
    assert out.startswith("run     ")
    assert f"export  events.ndjson (openlineage, 2 events)\n{Path('events.ndjson').read_text()[:40]}" in out
    assert [each["eventType"] for each in exported("events.ndjson")] == ["START", "COMPLETE"]
    assert project == Path.cwd()


def test_a_run_with_the_settings_of_the_page_sends_or_warns_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("CATALOGUE_KEY", "hush")
    monkeypatch.setenv("ELSPETH_FINGERPRINT_KEY", "k" * 32)
    [text] = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    [send] = re.findall(r"^\$ elspeth (landscape send-events .+)$", PAGE, re.MULTILINE)
    Path("in.csv").write_text("id,kind\n1,x\n")
    for status, warnings in ((201, []), (500, ["2 of 2 lineage events were not sent: the server answered 500"])):
        with receiving(status) as catalogue:
            settings = csv_settings(tmp_path) | yaml.safe_load(text.replace("https://catalogue.example", catalogue.url))
            settings["openlineage"]["transport"]["retry"] = {"total": 0}
            Path("settings.yaml").write_text(yaml.safe_dump(settings))
            assert main(["run", "-s", "settings.yaml", "--execute", "--no-dotenv", "--json"]) == 0
            out, err = capsys.readouterr()
            assert main(["landscape", "status", "-d", "audit.db", "--json"]) == 0
            assert [each["problem"] for each in json.loads(capsys.readouterr().out)["unsent_events"]] == warnings
            catalogue.status = 201
            assert main([*send.split(), "--no-dotenv"]) == 0
        assert [line for line in err.splitlines() if "lineage" in line] == [f"warning: {each}" for each in warnings]
        assert json.loads(out)["unsent_events"] == warnings
        assert [each["job"]["name"] for each in catalogue.events] == ["daily_orders"] * 2


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("export", ["evidence.zip", "trail.jsonl"])
def test_an_export_gives_the_events_of_the_database(export: str, capsys: Captured) -> None:
    assert main(["export", "latest", "-d", "runs/audit.db", "--format", "openlineage", "-o", "1.ndjson"]) == 0
    assert main(["export", export, "--format", "openlineage", "-o", "2.ndjson", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.partition("events)\n")[2])
    assert (summary["format"], summary["events"], summary["path"]) == ("openlineage", 2, "2.ndjson")
    ours, theirs = exported("1.ndjson"), exported("2.ndjson")
    seal = ours[-1]["run"]["facets"]["elspeth_evidence"].pop("seal")
    bag = theirs[-1]["run"]["facets"]["elspeth_evidence"].pop("bag", None)
    assert ours == theirs
    assert (bag is not None) == (export == "evidence.zip")
    if bag is not None:
        assert bag["record_count"] == seal["record_count"]
        assert bag["root"] != seal["root"], "the leaves of a bag are salted"


@pytest.mark.usefixtures("project")
def test_events_name_the_root_that_verification_computes(capsys: Captured) -> None:
    assert main(["export", "evidence.zip", "--format", "openlineage", "-o", "3.ndjson"]) == 0
    capsys.readouterr()
    assert main(["verify", "evidence.zip", "--json"]) == 1  # unsigned
    root = exported("3.ndjson")[-1]["run"]["facets"]["elspeth_evidence"]["bag"]["root"]
    assert root in capsys.readouterr().out


@pytest.mark.usefixtures("project")
def test_only_a_file_of_events_may_be_replaced(capsys: Captured) -> None:
    command = ["export", "latest", "-d", "runs/audit.db", "--format", "openlineage", "-o"]
    for _ in range(2):
        assert main([*command, "4.ndjson"]) == 0
    Path("notes.txt").write_text("mine")
    Path("other.ndjson").write_text('{"producer": "https://example.org"}\n')
    Path("list.txt").write_text("[]\n")
    for name in ("notes.txt", "other.ndjson", "list.txt", "runs/audit.db"):
        before = Path(name).read_bytes()
        capsys.readouterr()
        assert main([*command, name]) == 1
        assert Path(name).read_bytes() == before
    assert main([*command, "notes.txt", "--force"]) == 0
    assert exported("notes.txt")
    assert main([*command, "runs/audit.db", "--force"]) == 1, "the audit database is never replaced"
    assert main(["export", "latest", "-d", "runs/audit.db", "-o", "trail.jsonl"]) == 0
    before = Path("trail.jsonl").rename("trail").read_bytes()
    assert main(["export", "trail", "--format", "openlineage", "-o", "trail", "--force"]) == 1
    assert Path("trail").read_bytes() == before, "nor is the export that is read"


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("latest", "--hmac"), "--hmac: not with --format openlineage, which exports no records"),
        (
            (
                *("latest", "--public", "p", "--zip", "--tsa", "t", "--certificate", "c", "--include-contents"),
                *("--contact-name", "n", "--contact-email", "e", "--include-withheld", "--base", "b"),
            ),
            (
                "--public, --zip, --tsa, --certificate, --include-contents, --contact-name, --contact-email,"
                " --include-withheld, --base: not with --format openlineage"
            ),
        ),
        (("latest", "--cluster", "x"), "--cluster: not with --format openlineage"),
        (("latest", "--workers", "2"), "--workers: not with --format openlineage"),
        (("--as-found", "runs/audit.db"), "--format openlineage: not with --as-found"),
        (("latest", "--key", "k.pem"), "--key: not with --format openlineage"),
        (("latest", "--compress", "gzip"), "--compress gzip: lineage events are few, and not compressed"),
        (("evidence.zip", "-d", "runs/audit.db"), "evidence.zip is an export: give either an export, or a run with -d"),
        ((), "RUN missing: name a run, or any database with --as-found"),
        (("latest", "-o", "x.csv"), "the name ends in .csv, as of the format csv, and the format is openlineage"),
    ],
)
def test_options_of_exported_records_are_refused(options: tuple[str, ...], problem: str, capsys: Captured) -> None:
    output = () if "-o" in options else ("-o", "5.ndjson")
    assert main(["export", *options, *output, "--format", "openlineage"]) == 2
    assert problem in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not Path("5.ndjson").exists()
