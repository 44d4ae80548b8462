"""`elspeth explain` from a database and from exports."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings

from elspeth.cli import main
from elspeth.cli.story_text import story_text
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.files import ExportFormat, write_export
from elspeth.core.landscape.exporting.format import READABLE
from elspeth.core.landscape.queries.story import _index_cache
from elspeth.core.landscape.queries.story.reader import row_story
from elspeth.core.landscape.queries.story.trail import DatabaseTrail
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.records.store import RecordStore
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import AuditRecord, Row
from elspeth_strategies import whole_runs
from tests.cli.messages import NO_DATABASE
from tests.fixtures import told_run
from tests.fixtures.ids import ID
from tests.fixtures.landscapes import in_memory
from tests.fixtures.told_run import ROWS, ToldRun, record_told_run

FIRST_RELEASE = Path(__file__).parents[2] / "data" / "first_release"


@pytest.fixture
def landscape(database_url: str) -> Iterator[LandscapeDB]:
    """Open an empty audit database."""
    with LandscapeDB(database_url) as db:
        yield db


@pytest.fixture(scope="module")
def told_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Record the told run in SQLite, for reading only."""
    url = f"sqlite:///{tmp_path_factory.mktemp('told') / 'landscape.db'}"
    with LandscapeDB(url) as db:
        record_told_run(db)
    return url


@pytest.fixture
def run(landscape: LandscapeDB) -> ToldRun:
    return record_told_run(landscape)


@pytest.fixture
def export(landscape: LandscapeDB, run: ToldRun, tmp_path: Path) -> Path:
    path = tmp_path / "export.jsonl"
    write_export(landscape, run.run_id, path, format=ExportFormat.JSONL)
    return path


def explain(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run the command successfully and return its output."""
    assert main(["explain", *map(str, arguments)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def fail_to_explain(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 1) -> str:
    """Run the command unsuccessfully and return its message."""
    assert main(["explain", *map(str, arguments)]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def shorten_ids(text: str) -> str:
    """Replace each id by its number in order of appearance."""
    ids = list(dict.fromkeys(re.findall(ID, text)))
    return re.sub(ID, lambda found: f"#{ids.index(found[0])}", text)


TREES = {
    told_run.ROUTED: """\
run told: completed
└─ row 0 from source (source 1.0.0): 4fc8388f57b1
   ├─ source_load: completed in 4.0 ms
   │  └─ call 0 filesystem: success in 0.5 ms, request bbcba34dcf75, answer a992b77e5658
   └─ token #0
      ├─ step 0 at source (source 1.0.0): completed in 0.1 ms, input 4fc8388f57b1, output the same
      ├─ step 1 at gate (gate 1.0.0): completed in 1.5 ms, input d6f4db5c42f2, output the same
      │  ├─ because {"condition":"row['amount'] > 10","result":true}
      │  └─ sent along true to high (high 1.0.0), mode move, reason 39d160e97e2b, kept as kept/elsewhere
      ├─ step 2 at high (high 1.0.0): completed in 1.5 ms, input d6f4db5c42f2, output the same
      │  ├─ sink_write: completed in 2.0 ms
      │  └─ file /out/high.csv: 42 bytes, b57c4299afe3
      └─ outcome: routed, to sink high
""",
    told_run.MERGED: """\
run told: completed
└─ row 1 from source (source 1.0.0): b9e87cb1e290
   ├─ source_load: completed in 4.0 ms
   │  └─ call 0 filesystem: success in 0.5 ms, request bbcba34dcf75, answer a992b77e5658
   └─ token #0
      ├─ step 0 at source (source 1.0.0): completed in 0.1 ms, input b9e87cb1e290, output the same
      ├─ step 1 at gate (gate 1.0.0): completed in 1.5 ms, input d6f4db5c42f2, output the same
      │  ├─ sent along left to enrich (enrich 1.0.0), mode copy, reason bcddde836bbd
      │  └─ sent along right to join (join 1.0.0), mode copy, reason bcddde836bbd
      ├─ outcome: forked, fork #1, expected ["left","right"]
      ├─ token #2, on branch left, by fork #1
      │  ├─ step 2 at enrich (enrich 1.0.0): completed in 1.5 ms, input ae0bb4101ad9, output 2f1d616b2f8c
      │  │  ├─ call 0 http: error, request 6ae0f660046d, error {"code":503}
      │  │  └─ call 1 http: success in 12.2 ms, request 6ae0f660046d, answer 7e8059f49558, answer kept as kept
      │  ├─ step 3 at join (join 1.0.0): completed in 1.5 ms, input e57a7ca8e44e, output the same
      │  ├─ outcome: coalesced, merge #3
      │  └─ token #4, by merge #3, made from #2, #5
      │     ├─ step 4 at output (output 1.0.0): completed in 1.5 ms, input d6f4db5c42f2, output the same
      │     │  ├─ sink_write: completed in 2.0 ms
      │     │  └─ file /out/output.csv: 42 bytes, 4bbb1f9446ff
      │     └─ outcome: completed, to sink output
      └─ token #5, on branch right, by fork #1
         ├─ step 3 at join (join 1.0.0): completed in 1.5 ms, input 2a877bed396b, output the same
         ├─ outcome: coalesced, merge #3
         └─ merged into token #4, shown under its first parent
""",
    told_run.EXPANDED: """\
run told: completed
└─ row 2 from source (source 1.0.0): a18cf4adcdb4
   ├─ source_load: completed in 4.0 ms
   │  └─ call 0 filesystem: success in 0.5 ms, request bbcba34dcf75, answer a992b77e5658
   └─ token #0
      ├─ step 0 at source (source 1.0.0): completed in 0.1 ms, input a18cf4adcdb4, output the same
      ├─ step 1 at enrich (enrich 1.0.0): completed in 1.5 ms, input d6f4db5c42f2, output the same
      ├─ outcome: expanded, expansion #1, expected {"count":3}
      ├─ token #2, by expansion #1
      │  ├─ step 2 at output (output 1.0.0): completed in 1.5 ms, input d6f4db5c42f2, output the same
      │  │  ├─ sink_write: completed in 2.0 ms
      │  │  ├─ report /out/report.txt: 6 bytes, 8d0ccb734a26
      │  │  └─ file /out/output.csv: 42 bytes, 4bbb1f9446ff
      │  └─ outcome: completed, to sink output
      ├─ token #3, by expansion #1
      │  ├─ step 2 at output (output 1.0.0): completed in 1.5 ms, input d6f4db5c42f2, output the same
      │  │  ├─ sink_write: completed in 2.0 ms
      │  │  ├─ report /out/report.txt: 6 bytes, 8d0ccb734a26
      │  │  └─ file /out/output.csv: 42 bytes, 4bbb1f9446ff
      │  └─ outcome: completed, to sink output
      └─ token #4, by expansion #1
         ├─ not processed at enrich, sent to discard: {"reason":"no such customer"}
         └─ outcome: failed, error c30df9da3f26
""",
    told_run.BATCHED_TOO: """\
run told: completed
└─ row 4 from source (source 1.0.0): be3bd1541127
   ├─ source_load: completed in 4.0 ms
   │  └─ call 0 filesystem: success in 0.5 ms, request bbcba34dcf75, answer a992b77e5658
   ├─ token #0
   │  ├─ step 0 at source (source 1.0.0): completed in 0.1 ms, input be3bd1541127, output the same
   │  ├─ step 1 at sums (sums 1.0.0): completed in 1.5 ms, input d6f4db5c42f2, output the same
   │  ├─ went into batch #1 of sums (sums 1.0.0): failed, triggered by count
   │  │  ├─ member 0: token #2 of row 3: consumed_in_batch, batch #3
   │  │  └─ member 1: token #0 of row 4: consumed_in_batch, batch #3
   │  ├─ went into batch #3 of sums (sums 1.0.0): completed, attempt 1, triggered by count, because count=2
   │  │  ├─ member 0: token #2 of row 3: consumed_in_batch, batch #3
   │  │  ├─ member 1: token #0 of row 4: consumed_in_batch, batch #3
   │  │  ├─ output: token #4 of row 4: completed, to sink output
   │  │  ├─ output: report /out/report.txt: 6 bytes, 8d0ccb734a26
   │  │  └─ output: token a token that was never recorded, which is not in the run
   │  ├─ outcome: buffered, batch #1
   │  └─ outcome: consumed_in_batch, batch #3
   └─ token #4
      ├─ came out of batch #3 of sums (sums 1.0.0): completed, attempt 1, triggered by count, because count=2
      │  ├─ member 0: token #2 of row 3: consumed_in_batch, batch #3
      │  ├─ member 1: token #0 of row 4: consumed_in_batch, batch #3
      │  ├─ output: token #4 of row 4: completed, to sink output
      │  ├─ output: report /out/report.txt: 6 bytes, 8d0ccb734a26
      │  └─ output: token a token that was never recorded, which is not in the run
      ├─ step 2 at output (output 1.0.0): completed in 1.5 ms, input d6f4db5c42f2, output the same
      │  ├─ sink_write: completed in 2.0 ms
      │  └─ report /out/report.txt: 6 bytes, 8d0ccb734a26
      └─ outcome: completed, to sink output
""",
    told_run.QUARANTINED: """\
run told: completed
└─ row 5 from source (source 1.0.0): 98e884b11930
   ├─ source_load: completed in 4.0 ms
   │  └─ call 0 filesystem: success in 0.5 ms, request bbcba34dcf75, answer a992b77e5658
   ├─ invalid, sent to high: amount: expected int\\n\\x1b[31mgot str
   └─ token #0
      ├─ step 0 at source (source 1.0.0): failed in 0.1 ms, input 98e884b11930, no output
      │  └─ sent along __quarantine__ to high (high 1.0.0), mode divert
      └─ outcome: quarantined, error bf8be0777c7b
""",
    told_run.RETRIED: """\
run told: completed
└─ row 7 from source (source 1.0.0): bf2eea68570b
   ├─ source_load: completed in 4.0 ms
   │  └─ call 0 filesystem: success in 0.5 ms, request bbcba34dcf75, answer a992b77e5658
   └─ token #0
      ├─ step 0 at source (source 1.0.0): completed in 0.1 ms, input bf2eea68570b, output the same
      ├─ step 1 at enrich (enrich 1.0.0): failed in 7.0 ms, input bf2eea68570b, no output
      │  └─ error {"exception":"timed out","type":"TimeoutError"}
      ├─ step 1 at enrich (enrich 1.0.0), attempt 1: completed in 1.5 ms, input d6f4db5c42f2, output the same
      ├─ step 2 at output (output 1.0.0): completed in 1.5 ms, input d6f4db5c42f2, output the same
      │  ├─ sink_write: completed in 2.0 ms
      │  ├─ report /out/report.txt: 6 bytes, 8d0ccb734a26
      │  └─ file /out/output.csv: 42 bytes, 4bbb1f9446ff
      └─ outcome: completed, to sink output
""",
    told_run.INTERRUPTED: """\
run told: completed
└─ row 8 from source (source 1.0.0): 55e1fafb22bd
   ├─ source_load: completed in 4.0 ms
   │  └─ call 0 filesystem: success in 0.5 ms, request bbcba34dcf75, answer a992b77e5658
   └─ token #0
      ├─ step 0 at source (source 1.0.0): completed in 0.1 ms, input 55e1fafb22bd, output the same
      ├─ outcome: has not ended
      ├─ token #1, on branch left, by fork #2
      │  ├─ step 1 at enrich (enrich 1.0.0): pending in 3.0 ms, input 55e1fafb22bd, no output
      │  └─ outcome: has not ended
      └─ token #3, on branch right, by fork #2
         ├─ step 1 at join (join 1.0.0): open, input 55e1fafb22bd
         └─ outcome: has not ended
""",
}


@pytest.mark.smoke
@pytest.mark.parametrize("index", TREES)
def test_a_row_is_explained_as_a_tree(capsys: pytest.CaptureFixture[str], told_url: str, index: int) -> None:
    assert shorten_ids(explain(capsys, "--run", "latest", "--row", index, "-d", told_url)) == TREES[index]


def test_an_export_is_explained_as_the_same_tree(
    capsys: pytest.CaptureFixture[str], database_url: str, export: Path
) -> None:
    tree = explain(capsys, "--row", told_run.MERGED, "-d", database_url)
    assert shorten_ids(tree) == TREES[told_run.MERGED]
    assert explain(capsys, "--row", told_run.MERGED, "--from", export) == tree


def test_the_documentation_shows_a_tree_as_it_is_printed() -> None:
    text = (Path(__file__).parents[3] / "docs" / "explain.md").read_text(encoding="utf-8")
    assert f"```text\n{TREES[told_run.MERGED]}```" in text


@given(run=whole_runs())
@settings(max_examples=30)
def test_a_tree_is_printable_whatever_the_records_hold(run: list[AuditRecord]) -> None:
    with in_memory() as db:
        RecordStore(db).add(*run)
        with db.snapshot() as connection:
            trail = DatabaseTrail(connection, run[0].run_id)
            for row in (record for record in run if isinstance(record, Row)):
                with suppress(AuditIntegrityError):  # a token that was made from itself
                    assert all(line.isprintable() for line in story_text(row_story(trail, row.row_index)).split("\n"))


def test_the_database_and_the_export_give_the_same_json(
    capsys: pytest.CaptureFixture[str], database_url: str, export: Path
) -> None:
    for index in range(ROWS):
        text = explain(capsys, "--run", "told", "--row", index, "-d", database_url, "--json")
        assert explain(capsys, "--run", "told", "--row", index, "--from", export, "--json") == text
        story = json.loads(text)
        assert story["row"]["record_type"] == "row"
        assert story["row"]["row_index"] == index
        assert text == json.dumps(story, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"


@pytest.mark.parametrize("form", [*sorted(READABLE), "zip", "records.jsonl"])
def test_exports_of_every_form_can_be_explained(
    capsys: pytest.CaptureFixture[str], told_url: str, tmp_path: Path, form: str
) -> None:
    path = tmp_path / "export"
    written = ExportFormat.BAG if form in {"zip", "records.jsonl"} else ExportFormat(form)
    with LandscapeDB(told_url) as db:
        write_export(db, told_run.RUN_ID, path, format=written, archive=form == "zip")
    named = path / "data" / form if form == "records.jsonl" else path
    told = explain(capsys, "--row", told_run.MERGED, "-d", told_url, "--json")
    assert explain(capsys, "--row", told_run.MERGED, "--from", named, "--json") == told
    assert list(tmp_path.iterdir()) == [path]


def test_the_records_of_a_bag_without_the_bag_are_not_an_export(
    capsys: pytest.CaptureFixture[str], told_url: str, tmp_path: Path
) -> None:
    with LandscapeDB(told_url) as db:
        write_export(db, told_run.RUN_ID, tmp_path / "bag", format=ExportFormat.BAG)
    alone = (tmp_path / "bag" / "data" / "records.jsonl").rename(tmp_path / "records.jsonl")
    total = alone.read_bytes().count(b"\n")
    problem = "expected the manifest, got the end: the export is incomplete"
    assert fail_to_explain(capsys, "--row", 0, "--from", alone) == f"error: {alone}, after line {total}: {problem}\n"


def test_salted_records_of_an_earlier_bag_are_not_an_export(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    alone = tmp_path / "records.jsonl"
    with zipfile.ZipFile(FIRST_RELEASE / "failed.zip") as bag:
        (name,) = [each for each in bag.namelist() if each.endswith("data/records.jsonl")]
        alone.write_bytes(bag.read(name))
    problem = "holds the records of a bag, which without its statement are not an export: name the bag"
    assert fail_to_explain(capsys, "--row", 0, "--from", alone) == f"error: {alone}: {problem}\n"


def test_an_index_of_a_large_export_is_kept_unless_unwanted(
    capsys: pytest.CaptureFixture[str], export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_index_cache, "_SMALL_BYTES", 0)
    index = export.with_name("export.jsonl.index")
    told = explain(capsys, "--row", 0, "--from", export, "--no-index")
    assert not index.exists()
    assert explain(capsys, "--row", 0, "--from", export) == told
    assert index.exists()


def test_a_token_is_explained_with_its_row(
    capsys: pytest.CaptureFixture[str], run: ToldRun, database_url: str, export: Path
) -> None:
    arguments = ("--token", run.tokens["total"], "--json")
    text = explain(capsys, *arguments, "-d", database_url)
    assert explain(capsys, *arguments, "--from", export) == text
    story = json.loads(text)
    assert story["row"]["row_index"] == told_run.BATCHED_TOO
    assert [token["token"]["token_id"] for token in story["tokens"]] == [run.tokens["total"]]


def test_long_lists_are_shortened_in_the_tree_only(
    capsys: pytest.CaptureFixture[str], landscape: LandscapeDB, database_url: str
) -> None:
    record_told_run(landscape, ended=False)
    recorder = LandscapeRecorder(landscape)
    batch = recorder.create_batch("told", "sums")
    for ordinal in range(12):
        row = recorder.create_row("told", "source", 100 + ordinal, {})
        recorder.add_batch_member(batch.batch_id, recorder.create_token(row.row_id).token_id, ordinal)
    tree = explain(capsys, "--row", 100, "-d", database_url)
    assert re.findall("member [0-9]+|and .*", tree) == [
        *(f"member {number}" for number in range(10)),
        "and 2 more, in the JSON form",
    ]
    story = json.loads(explain(capsys, "--row", 100, "-d", database_url, "--json"))
    assert len(story["tokens"][0]["batches"][0]["members"]) == 12


def test_a_database_can_be_named_by_its_path(capsys: pytest.CaptureFixture[str], told_url: str) -> None:
    assert explain(capsys, "--row", 0, "-d", told_url.removeprefix("sqlite:///")).startswith("run told: completed")


def test_latest_names_the_run_that_began_last(
    capsys: pytest.CaptureFixture[str], landscape: LandscapeDB, database_url: str
) -> None:
    for run_id in ("z", "a"):
        record_told_run(landscape, run_id)
    assert explain(capsys, "--row", 0, "-d", database_url).startswith("run a: completed")


def test_missing_rows_tokens_and_runs_are_reported(capsys: pytest.CaptureFixture[str], export: Path) -> None:
    assert fail_to_explain(capsys, "--row", 9, "--from", export) == (
        "error: run told has no row 9: rows are counted from 0, in the order of reading\n"
    )
    assert fail_to_explain(capsys, "--token", "nobody", "--from", export) == (
        "error: run told has no token nobody: give the whole id, as elspeth rows lists it\n"
    )
    assert fail_to_explain(capsys, "--run", "other", "--row", 0, "--from", export) == (
        f"error: export {export} holds run 'told', not 'other'\n"
    )


def test_an_unknown_run_and_a_missing_database_are_reported(
    capsys: pytest.CaptureFixture[str], landscape: LandscapeDB, database_url: str, tmp_path: Path
) -> None:
    assert fail_to_explain(capsys, "--run", "other", "--row", 0, "-d", database_url) == (
        f"error: audit database {landscape.url} holds no run 'other'\n"
    )
    missing = tmp_path / "missing.db"
    assert fail_to_explain(capsys, "--row", 0, "-d", missing) == f"error: audit database {missing} does not exist\n"
    assert not missing.exists()


def test_an_altered_export_is_refused(capsys: pytest.CaptureFixture[str], export: Path) -> None:
    text = export.read_text()
    export.write_text(text.replace('"sink_name":"high"', '"sink_name":"nigh"'))
    message = fail_to_explain(capsys, "--row", 0, "--from", export)
    assert message.startswith(f"error: {export}, line {len(text.splitlines())}: manifest: final_hash: expected ")


def test_an_unreadable_export_is_reported(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "missing.jsonl"
    assert fail_to_explain(capsys, "--row", 0, "--from", path) == (
        f"error: {path}: cannot be read: No such file or directory\n"
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["-d", "x.db"], "give --row or --token: either the row's position or a token's id"),
        (
            ["-d", "x.db", "--row", "1", "--token", "t"],
            "give --row or --token: either the row's position or a token's id",
        ),
        (["--row", "1"], NO_DATABASE),
        (["--row", "1", "-d", "x.db", "--from", "y"], "give -d or --from: either the audit database or an export"),
        (
            ["--row", "1", "--from", "y", "--show", "--payloads", "p"],
            "--payloads: only with --show and a database: contents of a bag are in the bag",
        ),
    ],
)
def test_wrong_usage_ends_with_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    assert fail_to_explain(capsys, *arguments, code=2).splitlines()[-1] == f"error: {problem}"
