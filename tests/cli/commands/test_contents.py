"""Contents of rows and calls, included in bags on request."""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
import zipfile
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from elspeth.cli import main
from elspeth.evidence.format import bag, limits
from elspeth.evidence.format.signatures import load_public_key
from elspeth.evidence.verifier.procedure import Status, Step, Verdict, Verification
from elspeth.evidence.verifier.verify import verify_bag
from tests.engine.pipelines import PLUGINS, build, execute, graph_settings
from tests.fixtures.browser import Tab
from tests.fixtures.resealing import resealed

Captured = pytest.CaptureFixture[str]
ROWS = [{"id": number, "text": f"the secret of row {number}"} for number in range(3)]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run a pipeline that keeps contents; return its directory."""
    directory = tmp_path_factory.mktemp("recorded")
    (directory / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    settings = graph_settings(
        directory,
        [],
        "high",
        datasource={"plugin": "jsonl", "options": {"path": str(directory / "in.jsonl")}},
        gates=[{"name": "g", "condition": "row['id'] > 1", "routes": {"true": "high", "false": "continue"}}],
        payload_store={"base_path": str(directory / "payloads")},
    )
    execute(build(directory, settings, *PLUGINS))
    assert main(["keys", "generate", "-o", str(directory / "keys")]) == 0
    return directory


def export(directory: Path, target: Path, *options: str) -> int:
    database = f"sqlite:///{directory / 'audit.db'}"
    return main(["export", "latest", "-d", database, "--format", "bag", "-o", str(target), *options])


def write(directory: Path, target: Path, *options: str) -> Path:
    key = str(directory / "keys" / "elspeth.key.pem")
    assert export(directory, target, "--key", key, *options) == 0
    return target


def verified(directory: Path, path: Path) -> Verification:
    return verify_bag(path, key=load_public_key(directory / "keys" / "elspeth.pub.pem"))


def contents_of(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in sorted((path / bag.CONTENTS).iterdir())}


def rows_in(contents: dict[str, bytes]) -> list[dict[str, Any]]:
    rows = [json.loads(each) for each in contents.values() if b"the secret of row" in each]
    return sorted(rows, key=lambda row: row["id"])


@pytest.fixture(scope="module")
def with_contents(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a signed bag with contents, for reading only."""
    return write(recorded, tmp_path_factory.mktemp("bags") / "bag", "--include-contents")


def test_a_bag_holds_contents_named_by_their_hashes(recorded: Path, with_contents: Path) -> None:
    contents = contents_of(with_contents)
    assert all(sha256(content).hexdigest() == name for name, content in contents.items())
    assert rows_in(contents) == ROWS
    result = verified(recorded, with_contents)
    assert result.verdict is Verdict.VERIFIED
    (references,) = (each for each in result.steps if each.step is Step.REFERENCES)
    assert references.detail.endswith(f"; {len(contents)} contents, each named by a record")
    assert (with_contents / bag.MANIFEST).read_text().count(bag.CONTENTS) == len(contents)


def test_without_the_option_no_contents_are_exported(recorded: Path, tmp_path: Path) -> None:
    path = write(recorded, tmp_path / "bag")
    assert not (path / bag.CONTENTS).exists()
    for file in path.rglob("*"):
        if file.is_file():
            assert b"the secret of row" not in file.read_bytes(), file
    assert verified(recorded, path).verdict is Verdict.VERIFIED


def test_an_archive_holds_contents_too(recorded: Path, with_contents: Path, tmp_path: Path) -> None:
    path = write(recorded, tmp_path / "bag.zip", "--include-contents")
    with zipfile.ZipFile(path) as archive:
        names = {name.removeprefix(f"bag/{bag.CONTENTS}") for name in archive.namelist() if bag.CONTENTS in name}
    assert names == contents_of(with_contents).keys()
    assert verified(recorded, path).verdict is Verdict.VERIFIED


def test_the_export_of_a_run_holds_contents_if_the_settings_say_so(tmp_path: Path) -> None:
    settings = graph_settings(tmp_path, ROWS, payload_store={"base_path": str(tmp_path / "payloads")})
    export = {"enabled": True, "path": str(tmp_path / "bag"), "format": "bag", "include_contents": True}
    settings["landscape"]["export"] = export
    execute(build(tmp_path, settings, *PLUGINS))
    assert rows_in(contents_of(tmp_path / "bag")) == ROWS


def test_only_a_bag_can_hold_contents(tmp_path: Path, capsys: Captured) -> None:
    database = f"sqlite:///{tmp_path / 'audit.db'}"
    assert main(["export", "latest", "-d", database, "-o", "trail.jsonl", "--include-contents"]) == 2
    assert "--include-contents: only with --format bag" in capsys.readouterr().err
    assert main(["export", "latest", "-d", database, "-o", "bag", "--format", "bag", "--payloads", "p"]) == 2
    assert "--payloads: only with --include-contents" in capsys.readouterr().err
    settings: dict[str, Any] = graph_settings(tmp_path, [], datasource={"plugin": "null"})
    settings["landscape"]["export"] = {"enabled": True, "path": "trail.jsonl", "include_contents": True}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings))
    assert main(["validate", "-s", str(tmp_path / "settings.yaml")]) == 2
    assert "landscape.export.include_contents: expected with format: bag only" in capsys.readouterr().err


# -- what is not there ----------------------------------------------------------------------------------------------


def test_purged_contents_are_reported(recorded: Path, tmp_path: Path, capsys: Captured) -> None:
    kept = tmp_path / "payloads"
    payloads = sorted(each for each in (recorded / "payloads").glob("??/*") if b"secret" in each.read_bytes())
    for each in payloads[1:]:
        (kept / each.parent.name).mkdir(parents=True)
        (kept / each.parent.name / each.name).write_bytes(each.read_bytes())
    path = write(recorded, tmp_path / "bag", "--include-contents", "--payloads", str(kept))
    said = capsys.readouterr().out
    assert f"contents  2, {1 + len(list((recorded / 'payloads').glob('??/*'))) - len(payloads)} that records" in said
    (references,) = (each for each in verified(recorded, path).steps if each.step is Step.REFERENCES)
    assert "2 contents, each named by a record, " in references.detail
    assert "more that records name are not in the bag" in references.detail
    shown = [main(["explain", "--row", str(row), "--from", str(path), "--show"]) for row in range(3)]
    assert shown == [0, 0, 0]
    told = capsys.readouterr().out
    assert f"content {payloads[0].name} is not here: it was purged" in told
    assert f"content {payloads[1].name}:" in told


def test_a_missing_store_has_no_contents(recorded: Path, tmp_path: Path, capsys: Captured) -> None:
    path = write(recorded, tmp_path / "bag", "--include-contents", "--payloads", str(tmp_path / "nowhere"), "--json")
    kept = len(list((recorded / "payloads").glob("??/*")))
    assert json.loads(capsys.readouterr().out)["contents"] == {"included": 0, "missing": kept}
    assert not (path / bag.CONTENTS).exists()
    assert not (tmp_path / "nowhere").exists()


def test_an_altered_payload_is_not_exported(recorded: Path, tmp_path: Path, capsys: Captured) -> None:
    payload = next(iter((recorded / "payloads").glob("??/*")))
    altered = tmp_path / "payloads" / payload.parent.name / payload.name
    altered.parent.mkdir(parents=True)
    altered.write_bytes(b"something else")
    assert export(recorded, tmp_path / "bag", "--include-contents", "--payloads", str(tmp_path / "payloads")) == 1
    assert f"expected SHA-256 {payload.name}" in capsys.readouterr().err
    assert not (tmp_path / "bag").exists()


def test_a_bag_has_at_most_as_many_contents_as_a_verifier_accepts(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    assert limits.MAX_CONTENTS < limits.MAX_FILES
    monkeypatch.setattr("elspeth.evidence.writer.bag.MAX_CONTENTS", 2)
    assert export(recorded, tmp_path / "bag", "--include-contents") == 1
    assert "data/contents/: expected at most 2 contents, got more" in capsys.readouterr().err
    assert not (tmp_path / "bag").exists()


# -- what an enemy may do --------------------------------------------------------------------------------------------


@pytest.fixture
def unsigned(recorded: Path, tmp_path: Path) -> Path:
    assert export(recorded, tmp_path / "bag", "--include-contents") == 0
    return tmp_path / "bag"


def faults(path: Path) -> dict[Step, str]:
    return {each.step: each.detail for each in verify_bag(path).steps if each.status is Status.FAILED}


def test_a_content_whose_hash_is_not_its_name_is_found(unsigned: Path) -> None:
    name = bag.CONTENTS + next(iter(contents_of(unsigned)))
    (detail,) = (found := faults(resealed(unsigned, {name: b'{"forged":true}'}))).values()
    assert list(found) == [Step.STATEMENT]
    assert detail.startswith(f"'{name}': expected the content whose SHA-256 is its name, got one with ")


def test_a_content_that_no_record_names_is_found(unsigned: Path) -> None:
    content = b'{"planted":true}'
    name = bag.CONTENTS + sha256(content).hexdigest()
    assert faults(resealed(unsigned, {name: content})) == {
        Step.REFERENCES: f"{name}: expected a record that names this content, got none"
    }


def test_a_content_that_is_left_out_is_counted(unsigned: Path) -> None:
    name = bag.CONTENTS + next(iter(contents_of(unsigned)))
    result = verify_bag(resealed(unsigned, {name: None}))
    assert result.verdict is Verdict.UNSIGNED
    (references,) = (each for each in result.steps if each.step is Step.REFERENCES)
    assert references.detail.endswith(", 1 more that records name are not in the bag")


def test_a_signed_bag_from_which_a_content_was_removed_is_not_verified(recorded: Path, tmp_path: Path) -> None:
    path = write(recorded, tmp_path / "bag", "--include-contents")
    next(iter((path / bag.CONTENTS).iterdir())).unlink()
    assert verified(recorded, path).verdict is Verdict.NOT_VERIFIED


# -- questions -------------------------------------------------------------------------------------------------------


def test_the_contents_of_a_row_are_shown(recorded: Path, with_contents: Path, capsys: Captured) -> None:
    database = f"sqlite:///{recorded / 'audit.db'}"
    told = []
    for place in (["--from", str(with_contents)], ["-d", database]):
        assert main(["explain", "--row", "1", *place, "--show"]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    assert '    "text": "the secret of row 1"\n' in told[0]
    assert "row 2" not in told[0]
    assert "─ id = 1 → false\n" in told[0]
    assert main(["explain", "--row", "2", "-d", database]) == 0
    assert "→" not in capsys.readouterr().out  # the store is not read
    assert main(["explain", "--row", "2", "-d", database, "--show"]) == 0
    assert "─ id = 2 → true\n" in capsys.readouterr().out
    assert main(["explain", "--row", "1", "--from", str(with_contents), "--show", "--json"]) == 0
    story = json.loads(capsys.readouterr().out)
    assert ROWS[1] in story["contents"].values()
    assert main(["explain", "--row", "1", "--from", str(with_contents), "--json"]) == 0
    assert "contents" not in json.loads(capsys.readouterr().out)


def test_the_documentation_shows_what_gates_saw(own_directory: Path, capsys: Captured) -> None:
    root = Path(__file__).parents[3]
    section = (root / "docs" / "explain.md").read_text(encoding="utf-8").partition("## Which values a gate saw")[2]
    shutil.copytree(root / "examples" / "threshold_gate", own_directory / "examples" / "threshold_gate")
    blocks = re.findall(r"^```(?:console|text)\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
    for command in blocks[0].splitlines():
        capsys.readouterr()
        assert main(shlex.split(command)[2:]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.partition("─ ")[2] for line in told if "→" in line] == blocks[1].splitlines()


def test_an_export_without_contents_shows_none(recorded: Path, tmp_path: Path, capsys: Captured) -> None:
    database = f"sqlite:///{recorded / 'audit.db'}"
    assert main(["export", "latest", "-d", database, "-o", str(tmp_path / "trail.jsonl")]) == 0
    capsys.readouterr()
    assert main(["explain", "--row", "1", "--from", str(tmp_path / "trail.jsonl"), "--show"]) == 0
    assert "is not here: it was purged, or the bag was made without contents" in capsys.readouterr().out
    assert main(["explain", "--row", "1", "-d", database, "--payloads", "x"]) == 2
    assert "--payloads: only with --show and a database" in capsys.readouterr().err
    assert main(["explain", "--row", "1", "-d", database, "--show", "--payloads", "hdfs://b/p"]) == 2
    assert "unknown scheme 'hdfs'" in capsys.readouterr().err


def test_a_run_that_kept_no_contents_shows_none(tmp_path: Path, capsys: Captured) -> None:
    execute(build(tmp_path, graph_settings(tmp_path, ROWS), *PLUGINS))
    assert export(tmp_path, tmp_path / "bag", "--include-contents") == 0
    assert "contents  0\n" in capsys.readouterr().out
    assert main(["explain", "--row", "1", "--from", str(tmp_path / "bag"), "--show"]) == 0
    assert capsys.readouterr().out.endswith("no content was kept of this row\n")


def report(page: Path, *arguments: str) -> str:
    assert main(["report", *arguments, "-o", str(page)]) == 0
    return page.read_text(encoding="utf-8")


def contents_in(page: str) -> dict[str, bytes]:
    """Return the contents in a page by their hashes."""
    found = re.findall(r'data-name="data/contents/([0-9a-f]+)">([^<]*)<', page)
    return {name: zlib.decompress(base64.b64decode(packed)) for name, packed in found}


def test_the_report_of_a_bag_has_its_contents(recorded: Path, with_contents: Path, tab: Tab, tmp_path: Path) -> None:
    key = str(recorded / "keys" / "elspeth.pub.pem")
    page = report(tmp_path / "report.html", str(with_contents), "--key", key)
    assert contents_in(page) == contents_of(with_contents)
    tab.open(tmp_path / "report.html")
    assert tab.wait_for("document.body.dataset.verdict") == "signed"
    tab.evaluate("location.hash = 'row=1'")
    tab.wait_for("document.querySelector('#told details.content') !== null")
    tab.evaluate("document.querySelector('#told details.content').open = true")
    tab.wait_for("document.querySelector('#told pre')?.textContent.includes('the secret of row 1')")
    assert tab.wait_for("document.querySelector('#told .seen')?.textContent") == "id = 1 → false"


def test_the_report_of_a_run_has_contents_only_by_choice(recorded: Path, with_contents: Path, tmp_path: Path) -> None:
    run = ("latest", "-d", f"sqlite:///{recorded / 'audit.db'}")
    assert contents_in(report(tmp_path / "report.html", *run)) == {}
    page = report(tmp_path / "report.html", *run, "--include-contents", "--payloads", str(recorded / "payloads"))
    assert contents_in(page) == contents_in(report(tmp_path / "report.html", *run, "--include-contents"))
    assert contents_in(page) == contents_of(with_contents)
    elsewhere = ("--include-contents", "--payloads", str(tmp_path / "nowhere"))
    assert contents_in(report(tmp_path / "report.html", *run, *elsewhere)) == {}


def test_contents_can_only_be_requested_of_runs_in_databases(
    with_contents: Path, tmp_path: Path, capsys: Captured
) -> None:
    page = str(tmp_path / "report.html")
    assert main(["report", str(with_contents), "-o", page, "--include-contents"]) == 2
    assert main(["report", "latest", "-o", page, "--payloads", "payloads"]) == 2
    assert capsys.readouterr().err == (
        "error: --include-contents: only of a run in a database: a page of a bag has the contents of the bag\n"
        "error: --payloads: only with --include-contents\n"
    )
