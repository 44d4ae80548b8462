"""Runs that are resumed end like others, wherever they stopped."""

import math
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import chdir, closing
from functools import partialmethod
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL, make_url

from elspeth.contracts.enums import NodeType
from elspeth.contracts.environment import FINGERPRINT_KEY
from elspeth.contracts.plugins import PluginError, Transform, TransformOptions
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.contracts.schema import SchemaConfig
from elspeth.core.canonical import CANONICAL_VERSION
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.database.claim import RunClaimedError, claim_run
from elspeth.core.landscape.queries.recorded import count_rows
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.records.store import RecordStore
from elspeth.engine.errors import AccountingError, ResumeError
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.processor import RowProcessor
from elspeth.engine.publishing import SinkSet
from elspeth.plugins.csv import CsvSink, CsvSource
from elspeth.plugins.database_sink import PUBLICATIONS
from elspeth.plugins.staging import StagedFile
from tests.engine.drawn import ROWS, SINKS, graphs
from tests.engine.killing import Killed, Killer, begin_killed_run, run_with_kills, unfinished_run, work
from tests.engine.pipelines import (
    GivenSource,
    MarkTransform,
    Settings,
    assert_sound,
    build,
    csv_settings,
    graph_settings,
    groups_of,
    outcomes,
    trail,
    written,
)
from tests.engine.test_laws import ends_of, run_drawn
from tests.fixtures.databases import create_database, drop_database
from tests.fixtures.effort import law

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # a process that is killed closes nothing
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
INPUT = "id,kind\n" + "".join(f"{number},{'x' if number % 3 else 'y'}\n" for number in range(9))


DYNAMIC = SchemaConfig(mode=None, fields=None, is_dynamic=True)


KILLS = st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=3)


@law(30)
@given(data=st.data(), rows=ROWS, size=st.integers(1, 4), kills=KILLS)
def test_a_run_killed_anywhere_and_resumed_ends_as_an_undisturbed_one(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    rows: list[RowData],
    size: int,
    kills: list[tuple[int, bool]],
) -> None:
    calm, killed = tmp_path_factory.mktemp("calm"), tmp_path_factory.mktemp("killed")
    chosen = data.draw(graphs(calm, rows))
    chosen["sinks"] = {name: data.draw(sinks(calm, name)) for name in chosen["sinks"]}
    _, expected = run_drawn(calm, chosen)
    moved = relocated(chosen, calm, killed)
    with pytest.MonkeyPatch.context() as patch, chdir(killed):
        groups_of(patch, size)
        run_with_kills(killed, moved, kills)
    records = trail(killed)
    assert_sound(records, status="completed", resumed=True)
    assert ends_of(records) == ends_of(expected)
    assert outputs_of(killed) == outputs_of(calm)
    assert leftovers(killed) == []


@st.composite
def sinks(draw: st.DrawFn, directory: Path, name: str) -> Settings:
    """Draw a sink of any kind."""
    kind = draw(st.sampled_from(["jsonl", "json", "csv", "parquet", "database"]))
    if kind == "database":
        return {"plugin": kind, "options": {"url": f"sqlite:///{directory / 'target.db'}", "table": name}}
    return {"plugin": kind, "options": {"path": str(directory / f"{name}.{kind}")}}


def outputs_of(directory: Path) -> dict[str, object]:
    """Return the outputs of sinks.

    They are the bytes of files, and the rows of tables with those that say what was published.
    """
    found: dict[str, object] = {
        path.name: path.read_bytes() for path in directory.iterdir() if path.stem in {"out", *SINKS}
    }
    if (directory / "target.db").exists():
        with closing(sqlite3.connect(directory / "target.db")) as connection:
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                columns = "table_name, content_hash, row_count" if table == PUBLICATIONS else "rowid, *"
                found[table] = sorted(connection.execute(f"SELECT {columns} FROM {table}"))  # noqa: S608  our own names
    return found


def relocated(chosen: Settings, origin: Path, target: Path) -> Settings:
    """Return the settings for another directory."""
    moved: Settings = eval(repr(chosen).replace(str(origin), str(target)))  # noqa: S307  of our own making
    return moved


def leftovers(directory: Path) -> list[str]:
    """List files that only an unfinished run needs."""
    return [path.name for path in directory.rglob("*") if re.search(r"partial|\.lock$|\.rows", path.name)]


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Pipeline, str]:
    """Begin a run that is killed after six rows.

    It runs in the working directory, and its source has nine rows.
    """
    monkeypatch.chdir(tmp_path)
    groups_of(monkeypatch, 2)
    (tmp_path / "in.csv").write_text(INPUT)
    pipeline = build(tmp_path, csv_settings(tmp_path))
    run_id = begin_killed_run(pipeline, tmp_path, 14)
    assert len(trail(tmp_path)["row"]) == 6
    return build(tmp_path, csv_settings(tmp_path)), run_id


def test_every_attempt_has_operations_of_its_own(stopped: tuple[Pipeline, str], tmp_path: Path) -> None:
    _, run_id = stopped
    shared = build(tmp_path, csv_settings(tmp_path, concurrency={"workers": 2}))  # the number of workers may change
    work(shared, lambda each: each.resume(run_id))
    records = trail(tmp_path)
    assert_sound(records, status="completed", resumed=True)
    ends = sorted((each["operation_type"], each["status"], each["error_message"]) for each in records["operation"])
    ended = "the process ended before this was done; the run was taken up again"
    assert ends == [
        ("sink_write", "completed", None),
        ("sink_write", "completed", None),
        ("sink_write", "failed", ended),
        ("sink_write", "failed", ended),
        ("source_load", "completed", None),
        ("source_load", "failed", ended),
    ]
    assert (tmp_path / "out" / "x.csv").read_text() == "id,kind\n1,x\n2,x\n4,x\n5,x\n7,x\n8,x\n"
    assert [outcome for outcome, _ in outcomes(records)] == ["completed", "routed", "routed"] * 3


def test_a_run_is_not_resumed_with_a_changed_source(stopped: tuple[Pipeline, str], tmp_path: Path) -> None:
    pipeline, run_id = stopped
    (tmp_path / "in.csv").write_text(INPUT.replace("4,x", "4,z"))
    with pytest.raises(ResumeError, match=f"the source is not what run {run_id} read: row 4 has the hash "):
        work(pipeline, lambda each: each.resume(run_id))
    assert_sound(trail(tmp_path), status="interrupted")
    (tmp_path / "in.csv").write_text("id,kind\n0,y\n")
    with pytest.raises(ResumeError, match="it ends before row 1, of 6 that are recorded"):
        work(build(tmp_path, csv_settings(tmp_path)), lambda each: each.resume(run_id))
    (tmp_path / "in.csv").write_text(INPUT)
    work(build(tmp_path, csv_settings(tmp_path)), lambda each: each.resume(run_id))
    assert_sound(trail(tmp_path), status="completed", resumed=True)


class UnspeakableSource(GivenSource):
    """A source with a value that JSON does not have."""

    name = "unspeakable"

    def read(self) -> Iterator[RowData | InvalidRow]:
        """Yield the rows."""
        for number, row in enumerate(super().read()):
            yield {"ratio": math.nan} if number == 1 else row


def test_a_run_is_resumed_with_a_value_that_has_no_json_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups_of(monkeypatch, 2)
    chosen = graph_settings(tmp_path, [{"id": number} for number in range(6)])
    chosen["datasource"]["plugin"] = UnspeakableSource.name
    run_id = begin_killed_run(build(tmp_path, chosen, UnspeakableSource), tmp_path, 9)
    assert len(trail(tmp_path)["row"]) == 4
    work(build(tmp_path, chosen, UnspeakableSource), lambda each: each.resume(run_id))
    records = trail(tmp_path)
    assert_sound(records, status="completed", resumed=True)
    assert [outcome for outcome, _ in outcomes(records)] == ["completed", "quarantined", *["completed"] * 4]
    assert written(tmp_path, "out") == [{"id": number} for number in (0, 2, 3, 4, 5)]


def test_a_run_is_not_resumed_with_other_settings(stopped: tuple[Pipeline, str], tmp_path: Path) -> None:
    _, run_id = stopped
    other = csv_settings(tmp_path)
    other["gates"][0]["condition"] = "row['kind'] == 'y'"
    other["retry"] = {"max_attempts": 7}
    with pytest.raises(ResumeError) as caught:
        work(build(tmp_path, other), lambda each: each.resume(run_id))
    assert str(caught.value) == (
        f"run {run_id} began with other settings or plugins: gates[0].condition, retry.max_attempts; resume it with "
        "those that it began with, or run the pipeline again"
    )
    other["retry"] |= {"initial_delay_seconds": 2, "max_delay_seconds": 50, "exponential_base": 3}
    with pytest.raises(ResumeError, match=r"plugins: ([^, ]+, ){4}[^, ]+; resume it with"):
        work(build(tmp_path, other), lambda each: each.resume(run_id))
    other |= {"limit": 100, "labels": {"ticket": "1"}}
    with pytest.raises(ResumeError, match=r"plugins: ([^,]+, ){4}[^,]+ and 2 more; resume it with"):
        work(build(tmp_path, other), lambda each: each.resume(run_id))


def test_a_run_is_not_resumed_with_other_versions_of_plugins(
    stopped: tuple[Pipeline, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run_id = stopped
    with monkeypatch.context() as patch:
        patch.setattr(CsvSource, "plugin_version", "9.9.9")
        with pytest.raises(ResumeError) as caught:
            work(build(tmp_path, csv_settings(tmp_path)), lambda each: each.resume(run_id))
    assert str(caught.value) == (
        f"run {run_id} began with other settings or plugins: plugin csv was 1.2.0 and is 9.9.9; resume it with those "
        "that it began with, or run the pipeline again"
    )
    work(build(tmp_path, csv_settings(tmp_path)), lambda each: each.resume(run_id))
    assert_sound(trail(tmp_path), status="completed", resumed=True)


class KeyedOptions(TransformOptions):
    api_key: str


class KeyedTransform(Transform):
    name = "keyed"
    plugin_version = "1.0.0"
    options_model = KeyedOptions

    def process(self, row: RowData) -> RowData:
        return row


def with_secrets(directory: Path, url: URL, rows: str | None, secret: str, **parameters: str) -> Pipeline:
    """Return settings with secrets in all places.

    On PostgreSQL the rows go to another database of the server, called `rows`.
    """
    chosen = csv_settings(directory, gates=[], row_plugins=[{"plugin": "keyed", "options": {"api_key": secret}}])
    del chosen["sinks"]["x"]
    if url.get_backend_name() == "postgresql":
        url = url.set(password=secret).update_query_dict({"passfile": f"/{secret}", **parameters})
        where = {"url": url.set(database=rows).render_as_string(hide_password=False)}
        query = "SELECT id FROM generate_series(0, 5) AS id ORDER BY id"
        chosen["datasource"] = {"plugin": "sql", "options": {**where, "query": query}}
        chosen["sinks"] = {"rest": {"plugin": "database", "options": {**where, "table": "t"}}}
    chosen["landscape"]["url"] = url.render_as_string(hide_password=False)
    return build(directory, chosen, KeyedTransform)


@pytest.fixture
def rows_database(database_url: str) -> Iterator[str | None]:
    """Create a second database on the server; None on SQLite."""
    server = make_url(database_url)
    if server.get_backend_name() == "sqlite":
        yield None
        return
    url = create_database(server)
    yield url.database
    drop_database(server, url)


def test_a_run_is_resumed_with_other_secrets(
    database_url: str, rows_database: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def orchestrator(db: LandscapeDB, pipeline: Pipeline, key: str) -> Orchestrator:
        return Orchestrator(db, pipeline, load_run_keys(pipeline.settings, {FINGERPRINT_KEY: key}, source="s"))

    monkeypatch.chdir(tmp_path)
    groups_of(monkeypatch, 2)
    (tmp_path / "in.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(6)))
    url = make_url(database_url)
    first = with_secrets(tmp_path, url, rows_database, "the first password")
    with LandscapeDB.from_url(first.settings.landscape.url) as db, pytest.MonkeyPatch.context() as patch:
        killer = Killer(patch, 7, before=True)
        with pytest.raises(Killed):
            orchestrator(db, first, "the first key, long enough").run()
        killer.end_locks()
    second = with_secrets(tmp_path, url, rows_database, "another password")
    with LandscapeDB.from_url(second.settings.landscape.url) as db:
        (run,) = LandscapeRecorder(db).list_runs()
        assert (run.status.is_terminal, count_rows(db, run.run_id) > 0) == (False, True)
        if url.get_backend_name() == "postgresql":
            other = with_secrets(tmp_path, url, rows_database, "another password", sslmode="allow")
            with pytest.raises(
                ResumeError, match=r"other settings or plugins: datasource\.options\.url, landscape\.url,"
            ):
                orchestrator(db, other, "the first key, long enough").resume(run.run_id)
        result = orchestrator(db, second, "the second key, long enough").resume(run.run_id)
    assert (result.run_id, result.rows, result.rows_by_sink["rest"]) == (run.run_id, 6, 6)


def test_a_run_is_not_resumed_with_altered_staged_rows(stopped: tuple[Pipeline, str], tmp_path: Path) -> None:
    pipeline, run_id = stopped
    staging = tmp_path / "out" / f".x.csv.{run_id}.partial"
    content = staging.read_bytes()
    staging.write_bytes(content.replace(b"2,x", b"3,x"))
    with pytest.raises(Exception, match=r"\.partial is not what the run wrote: expected \d+ bytes with SHA-256"):
        work(pipeline, lambda each: each.resume(run_id))
    staging.unlink()
    with pytest.raises(PluginError) as caught:
        work(build(tmp_path, csv_settings(tmp_path)), lambda each: each.resume(run_id))
    assert str(caught.value) == (
        f"{staging} is gone, with 24 bytes that the run wrote: put it back, or put "
        f"{tmp_path / 'out' / 'x.csv'} back if it was moved after it was published; else give the run up, and run the "
        "pipeline again"
    )
    staging.write_bytes(content)
    work(build(tmp_path, csv_settings(tmp_path)), lambda each: each.resume(run_id))
    assert_sound(trail(tmp_path), status="completed", resumed=True)


def test_an_output_that_is_neither_staged_nor_in_place_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.csv").write_text(INPUT)
    pipeline = build(tmp_path, csv_settings(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(StagedFile, "publish", raise_killed)
        run_id = begin_killed_run(pipeline, tmp_path, 1_000)
    staging = tmp_path / "out" / f".x.csv.{run_id}.partial"
    staging.rename(tmp_path / "elsewhere")
    with pytest.raises(Exception, match=f"partial is gone, with .*put {tmp_path}/out/x.csv back if"):
        work(build(tmp_path, csv_settings(tmp_path)), lambda each: each.resume(run_id))
    (tmp_path / "elsewhere").rename(tmp_path / "out" / "x.csv")
    work(build(tmp_path, csv_settings(tmp_path)), lambda each: each.resume(run_id))
    assert_sound(trail(tmp_path), status="completed", resumed=True)


def test_an_output_completed_differently_than_recorded_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version of a plugin may end a file differently."""
    (tmp_path / "in.csv").write_text(INPUT)
    with monkeypatch.context() as patch:
        patch.setattr(StagedFile, "publish", raise_killed)
        run_id = begin_killed_run(build(tmp_path, csv_settings(tmp_path)), tmp_path, 1_000)
    with monkeypatch.context() as patch:
        patch.setattr(CsvSink, "ending", lambda _: b"the end\n")
        with pytest.raises(ResumeError, match=r"which is not there, and what is staged makes [0-9a-f]{64}; find out"):
            work(build(tmp_path, csv_settings(tmp_path)), lambda each: each.resume(run_id))
    assert not (tmp_path / "out" / "x.csv").exists()
    work(build(tmp_path, csv_settings(tmp_path)), lambda each: each.resume(run_id))
    assert_sound(trail(tmp_path), status="completed", resumed=True)


def test_the_last_rows_are_not_lost_when_a_resumed_run_stops_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.csv").write_text(INPUT)
    batch = {"name": "all", "plugin": "batch_replicate", "trigger": {}, "output_mode": "transform"}
    chosen = csv_settings(tmp_path, aggregations=[{**batch, "options": {"copies_field": "none"}}])
    with monkeypatch.context() as patch:
        patch.setattr(RowProcessor, "end", raise_killed)
        run_id = begin_killed_run(build(tmp_path, chosen), tmp_path, 1_000)
    with monkeypatch.context() as patch:
        patch.setattr(SinkSet, "publish", raise_killed)
        killer = Killer(patch, 1_000, before=True)
        with pytest.raises(Killed):
            work(build(tmp_path, chosen), lambda each: each.resume(run_id))
        killer.end_locks()
    result = work(build(tmp_path, chosen), lambda each: each.resume(run_id))
    assert_sound(trail(tmp_path), status="completed", resumed=True)
    assert result.rows_by_sink == {"rest": 3, "x": 6}
    assert (tmp_path / "out" / "rest.csv").read_text() == "id,kind,copy_index\n0,y,0\n3,y,0\n6,y,0\n"


def test_waiting_rows_keep_their_order_through_several_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting rows may be kept after others have gone."""
    groups_of(monkeypatch, 1)
    batch = {"name": "all", "plugin": "batch_replicate", "trigger": {"count": 3}, "output_mode": "transform"}
    chosen = graph_settings(tmp_path, [{"id": number} for number in range(6)], aggregations=[batch])

    def attempt() -> None:
        started = unfinished_run(tmp_path)
        work(build(tmp_path, chosen, GivenSource), lambda each: each.resume(started) if started else each.run())

    for rows in (4, 5):
        with monkeypatch.context() as patch:
            killer = Killer(patch, 1_000, before=True)
            patch.setattr(GivenSource, "read", partialmethod(_read_and_stop, rows))
            with pytest.raises(Killed):
                attempt()
            killer.end_locks()
    attempt()
    assert [row["id"] for row in written(tmp_path, "out")] == list(range(6))


def test_waiting_rows_keep_the_types_of_their_schema_through_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups_of(monkeypatch, 1)
    options = {"value_field": "id", "schema": {"mode": "free", "fields": ["id: int"]}}
    trigger = {"count": 4, "timeout_seconds": 1000}
    batch = {"name": "sum", "plugin": "batch_stats", "trigger": trigger, "output_mode": "single"}
    rows: list[RowData] = [{"id": str(number)} for number in range(4)]
    chosen = graph_settings(tmp_path, rows, aggregations=[{**batch, "options": options}])
    with monkeypatch.context() as patch:
        patch.setattr(GivenSource, "read", partialmethod(_read_and_stop, 2))
        run_id = begin_killed_run(build(tmp_path, chosen, GivenSource), tmp_path, 1_000)
    resume_by_another_clock(build(tmp_path, chosen, GivenSource), run_id)
    assert_sound(trail(tmp_path), status="completed", resumed=True)
    assert written(tmp_path, "out") == [{"count": 4, "sum": 6, "mean": 1.5}]


def resume_by_another_clock(pipeline: Pipeline, run_id: str) -> None:
    """Resume a run in a process with another clock."""
    keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
    with LandscapeDB.from_url(pipeline.settings.landscape.url) as db:
        Orchestrator(db, pipeline, keys, clock=lambda: 1e9).resume(run_id)


def test_a_branch_that_was_lost_before_a_stop_is_not_waited_for_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups_of(monkeypatch, 1)
    chosen = graph_settings(
        tmp_path,
        [{"id": number} for number in range(4)],
        gates=[
            {
                "name": "split",
                "condition": "row['id'] >= 0",
                "routes": {"true": "fork", "false": "continue"},
                "fork_to": ["a", "b", "c"],
            }
        ],
        row_plugins=[{"plugin": "mark", "branch": "b", "options": {"field": "b", "fail": [0, 1, 2, 3]}}],
        aggregations=[
            {
                "name": "pairs",
                "plugin": "batch_replicate",
                "branch": "c",
                "options": {"copies_field": "none"},
                "output_mode": "passthrough",
                "trigger": {"count": 2},
            }
        ],
        coalesce=[
            {"name": "meet", "branches": ["a", "b", "c"], "policy": "best_effort", "timeout_seconds": 1_000_000},
        ],
    )
    with monkeypatch.context() as patch:
        killer = Killer(patch, 1_000, before=True)
        patch.setattr(GivenSource, "read", partialmethod(_read_and_stop, 1))
        with pytest.raises(Killed):
            work(build(tmp_path, chosen, GivenSource, MarkTransform), lambda each: each.run())
        killer.end_locks()
    run_id = unfinished_run(tmp_path)
    assert run_id is not None
    resume_by_another_clock(build(tmp_path, chosen, GivenSource, MarkTransform), run_id)
    assert [row["id"] for row in written(tmp_path, "out")] == [0, 1, 2, 3]
    assert [each["context_json"] for each in trail(tmp_path)["token_outcome"] if each["context_json"]] == []


def test_a_branch_that_arrives_late_after_a_stop_fails_like_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups_of(monkeypatch, 1)
    split = {"name": "split", "condition": "row['id'] >= 0", "fork_to": ["a", "b", "c"]}
    late = {"name": "all", "plugin": "batch_replicate", "branch": "c", "trigger": {"count": 4}}
    chosen = graph_settings(
        tmp_path,
        [{"id": number} for number in range(4)],
        gates=[{**split, "routes": {"true": "fork", "false": "continue"}}],
        row_plugins=[{"plugin": "mark", "branch": "b", "options": {"field": "b", "fail": [0, 1, 2, 3]}}],
        aggregations=[{**late, "options": {"copies_field": "none"}, "output_mode": "passthrough"}],
        coalesce=[{"name": "meet", "branches": ["a", "b", "c"], "policy": "require_all", "timeout_seconds": 1}],
    )
    with monkeypatch.context() as patch:
        patch.setattr(GivenSource, "read", partialmethod(_read_and_stop, 2))
        run_id = begin_killed_run(build(tmp_path, chosen, GivenSource, MarkTransform), tmp_path, 1_000)
    work(build(tmp_path, chosen, GivenSource, MarkTransform), lambda each: each.resume(run_id))
    records = trail(tmp_path)
    assert_sound(records, status="completed", resumed=True)
    assert Counter(each["outcome"] for each in records["token_outcome"] if each["is_terminal"]) == {
        "forked": 4,
        "failed": 12,
    }


def test_a_branch_that_arrives_late_after_a_stop_belongs_to_the_earlier_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups_of(monkeypatch, 1)
    split = {"name": "split", "condition": "row['id'] >= 0", "fork_to": ["a", "b"]}
    late = {"name": "all", "plugin": "batch_replicate", "branch": "b", "trigger": {"count": 4}}
    chosen = graph_settings(
        tmp_path,
        [{"id": number} for number in range(4)],
        gates=[{**split, "routes": {"true": "fork", "false": "continue"}}],
        aggregations=[{**late, "options": {"copies_field": "none"}, "output_mode": "passthrough"}],
        coalesce=[{"name": "meet", "branches": ["a", "b"], "policy": "first"}],
    )
    with monkeypatch.context() as patch:
        patch.setattr(GivenSource, "read", partialmethod(_read_and_stop, 2))
        run_id = begin_killed_run(build(tmp_path, chosen, GivenSource), tmp_path, 1_000)
    work(build(tmp_path, chosen, GivenSource), lambda each: each.resume(run_id))
    records = trail(tmp_path)
    groups = [each["join_group_id"] for each in records["token"] if each["join_group_id"]]
    ended = Counter(each["join_group_id"] for each in records["token_outcome"] if each["outcome"] == "coalesced")
    assert (len(groups), ended) == (4, dict.fromkeys(groups, 2))


def _read_and_stop(source: GivenSource, rows: int) -> Iterator[RowData]:
    """Yield some rows, then end the process."""
    yield from map(dict, source._rows[:rows])
    raise Killed


@pytest.mark.parametrize("more", [-1, 1], ids=["fewer", "more"])
def test_a_sink_whose_rows_differ_from_the_trail_is_not_published(
    stopped: tuple[Pipeline, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    pipeline, run_id = stopped
    begin = SinkSet.open

    def forget_a_row(sinks: SinkSet, *arguments: Pipeline) -> None:
        begin(sinks, *arguments)
        for name in ("rest", "x"):
            sinks[name].rows += more

    monkeypatch.setattr(SinkSet, "open", forget_a_row)
    with pytest.raises(AccountingError) as caught:
        work(pipeline, lambda each: each.resume(run_id))
    assert str(caught.value) == (
        f"run {run_id}: sink 'rest' holds {3 + more} of 3 rows; sink 'x' holds {6 + more} of 6 rows"
    )
    assert list((tmp_path / "out").glob("*.csv")) == []
    assert trail(tmp_path)["run"][0]["status"] == "interrupted", "the process before may be the cause"


@pytest.mark.parametrize("reported", [OSError("the connection is lost"), KeyboardInterrupt()])
def test_a_commit_that_took_effect_and_is_reported_as_failed_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reported: BaseException
) -> None:
    groups_of(monkeypatch, 4)
    (tmp_path / "in.csv").write_text(INPUT)
    commit = RecordStore._commit
    commits = count(1)

    def commit_and_fail(store: RecordStore) -> None:
        commit(store)
        if next(commits) == 5:  # the run, three operations, and the first rows
            raise reported

    with monkeypatch.context() as patch:
        patch.setattr(RecordStore, "_commit", commit_and_fail)
        with pytest.raises(type(reported)) as caught:
            work(build(tmp_path, csv_settings(tmp_path)), lambda each: each.run())
    run_id = unfinished_run(tmp_path)
    assert run_id is not None
    assert caught.value.__notes__[-1] == f"To go on from row 4: elspeth resume {run_id} -s SETTINGS --execute"
    work(build(tmp_path, csv_settings(tmp_path)), lambda each: each.resume(run_id))
    assert_sound(trail(tmp_path), status="completed", resumed=True)
    assert (tmp_path / "out" / "x.csv").read_text() == "id,kind\n1,x\n2,x\n4,x\n5,x\n7,x\n8,x\n"


def raise_killed(*_: object) -> None:
    raise Killed


def test_a_run_that_another_process_records_is_left_alone(stopped: tuple[Pipeline, str], database_url: str) -> None:
    _, run_id = stopped
    with LandscapeDB.from_url(database_url) as db, claim_run(db, run_id):
        with pytest.raises(RunClaimedError) as caught, claim_run(db, run_id):
            pass
        assert str(caught.value) == (
            f"run {run_id} is being recorded by another process: wait for its end, or stop it first"
        )
        with claim_run(db, "another"):
            pass
    with LandscapeDB.from_url(database_url) as db, claim_run(db, run_id):
        pass


@pytest.mark.postgres
def test_commits_that_a_dead_process_left_to_the_server_come_first(postgresql_url: str) -> None:
    with LandscapeDB.from_url(postgresql_url) as db:
        recorder = LandscapeRecorder(db)
        run_id = recorder.begin_run({}, CANONICAL_VERSION).run_id
        impatient = make_url(postgresql_url).update_query_dict({"options": "-c lock_timeout=1"})
        with LandscapeDB.from_url(impatient.render_as_string(hide_password=False)) as other:
            with recorder.unit_of_work():
                recorder.register_node(run_id, "csv", NodeType.SOURCE, "1", {}, schema_config=DYNAMIC)
                assert recorder.get_nodes(run_id) != []  # sent, not committed
                with pytest.raises(LandscapeError, match="lock timeout"), claim_run(other, run_id):
                    pass
            with claim_run(other, run_id):
                pass


def test_a_run_that_has_ended_is_not_resumed(stopped: tuple[Pipeline, str], tmp_path: Path) -> None:
    pipeline, run_id = stopped
    work(pipeline, lambda each: each.resume(run_id))
    with pytest.raises(ResumeError) as caught:
        work(build(tmp_path, csv_settings(tmp_path)), lambda each: each.resume(run_id))
    assert str(caught.value) == f"run {run_id} is completed: only a run that has not ended can be resumed"
    with pytest.raises(ResumeError, match="run nowhere is not in this audit database"):
        work(build(tmp_path, csv_settings(tmp_path)), lambda each: each.resume("nowhere"))


def test_a_run_without_checkpoints_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups_of(monkeypatch, 2)
    (tmp_path / "in.csv").write_text(INPUT)
    chosen = csv_settings(tmp_path, checkpoint={"enabled": False})
    run_id = begin_killed_run(build(tmp_path, chosen), tmp_path, 17)
    with pytest.raises(ResumeError) as caught:
        work(build(tmp_path, chosen), lambda each: each.resume(run_id))
    assert str(caught.value) == (
        f"run {run_id} kept no checkpoints (checkpoint.enabled: false): run the pipeline again"
    )


@pytest.mark.parametrize(
    ("checkpoint", "expected"),
    [
        ({"frequency": "every_row"}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"frequency": "every_n", "checkpoint_interval": 4, "aggregation_boundaries": False}, [4, 8, 9]),
        ({"frequency": "aggregation_only"}, [3, 6, 9]),
        ({"frequency": "aggregation_only", "aggregation_boundaries": False}, [9]),
        ({}, [9]),
    ],
)
def test_checkpoints_are_as_frequent_as_the_settings_say(
    tmp_path: Path, checkpoint: dict[str, object], expected: list[int]
) -> None:
    (tmp_path / "in.csv").write_text(INPUT)
    batches = {"name": "threes", "plugin": "batch_replicate", "trigger": {"count": 3}, "output_mode": "transform"}
    batches["options"] = {"copies_field": "none"}
    chosen = csv_settings(tmp_path, checkpoint=checkpoint, aggregations=[batches])
    work(build(tmp_path, chosen), lambda each: each.run())
    records = trail(tmp_path)
    index = {row["row_id"]: row["row_index"] for row in records["row"]}
    last = {token["token_id"]: index[token["row_id"]] + 1 for token in records["token"]}
    found = [last[each["token_id"]] for each in records["checkpoint"]]
    assert sorted(found) == [*expected, 9]  # and one when the source has no more
