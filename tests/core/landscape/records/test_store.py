"""Units of work: atomic, readable, and clear about faults."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy import Connection, NullPool, create_engine, event, make_url, select
from sqlalchemy.exc import OperationalError

from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.recording.base import now
from elspeth.core.landscape.records import store as module
from elspeth.core.landscape.records.store import RecordStore
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import records
from elspeth_schema.contracts import (
    Batch,
    BatchStatus,
    Determinism,
    Edge,
    Node,
    NodeType,
    RoutingMode,
    Row,
    Run,
    RunStatus,
    Token,
)
from elspeth_schema.tables import runs_table
from tests.fixtures.landscapes import wait_until_blocked
from tests.fixtures.records import HASH


@pytest.fixture
def landscape(database_url: str) -> Iterator[LandscapeDB]:
    """Open a database that a second connection can see."""
    with LandscapeDB(database_url) as database:
        yield database


@pytest.fixture
def store(landscape: LandscapeDB) -> RecordStore:
    return RecordStore(landscape)


def run(run_id: str = "run") -> Run:
    return Run(
        run_id=run_id,
        started_at=now(),
        config_hash=HASH,
        settings_json="{}",
        canonical_version="v1",
        status=RunStatus.RUNNING,
    )


def node(node_id: str = "node", run_id: str = "run") -> Node:
    return Node(
        run_id=run_id,
        node_id=node_id,
        plugin_name="p",
        node_type=NodeType.SOURCE,
        plugin_version="1",
        determinism=Determinism.DETERMINISTIC,
        config_hash=HASH,
        config_json="{}",
        registered_at=now(),
    )


def edge(edge_id: str, to: str = "node", label: str = "continue") -> Edge:
    return Edge(
        run_id="run",
        edge_id=edge_id,
        from_node_id="node",
        to_node_id=to,
        label=label,
        default_mode=RoutingMode.MOVE,
        created_at=now(),
    )


def draft_batch(batch_id: str = "batch") -> Batch:
    return Batch(
        run_id="run",
        batch_id=batch_id,
        aggregation_node_id="node",
        attempt=0,
        status=BatchStatus.DRAFT,
        created_at=now(),
    )


def row(row_id: str, index: int = 0, source: str = "node") -> Row:
    return Row(
        run_id="run",
        row_id=row_id,
        source_node_id=source,
        row_index=index,
        source_data_hash=HASH,
        created_at=now(),
    )


def committed(landscape: LandscapeDB) -> list[str]:
    """Return the runs that another connection sees."""
    with landscape.connection() as connection:
        return list(connection.scalars(select(runs_table.c.run_id).order_by(runs_table.c.run_id)))


# -- units -----------------------------------------------------------------------------------------------------------


def test_outside_a_unit_each_call_commits(landscape: LandscapeDB, store: RecordStore) -> None:
    store.add(run())
    assert committed(landscape) == ["run"]


def test_the_records_of_a_unit_are_committed_together(landscape: LandscapeDB, store: RecordStore) -> None:
    with store.unit():
        store.add(run("a"))
        store.add(run("b"))
        assert committed(landscape) == []
    assert committed(landscape) == ["a", "b"]


def test_an_error_discards_the_whole_unit(landscape: LandscapeDB, store: RecordStore) -> None:
    with pytest.raises(KeyError):
        record_and_fail(store)
    assert committed(landscape) == []
    store.add(run("next"))
    assert committed(landscape) == ["next"]


def record_and_fail(store: RecordStore) -> None:
    with store.unit():
        store.add(run("sent"))
        assert store.get(records.RUN, "sent") is not None
        store.select(records.RUN)  # sends what waits
        store.add(run("waiting"))
        raise KeyError


def test_payloads_are_durable_before_the_records_of_a_unit_and_forgotten_with_them(
    landscape: LandscapeDB, store: RecordStore
) -> None:
    told: list[tuple[str, list[str]]] = []

    class Payloads:
        def sync(self) -> None:
            told.append(("sync", committed(landscape)))

        def forget(self) -> None:
            told.append(("forget", committed(landscape)))

    store.commit_after(Payloads())
    store.add(run("kept"))
    assert told == [("sync", [])]
    with pytest.raises(KeyError):
        add_and_fail(store)
    assert told[1:] == [("forget", ["kept"])]


def add_and_fail(store: RecordStore) -> None:
    with store.unit():
        store.add(run("waiting"))
        raise KeyError


def test_the_payloads_of_every_store_are_durable_before_the_records(landscape: LandscapeDB, store: RecordStore) -> None:
    told: list[tuple[str, list[str]]] = []

    class Payloads:
        def __init__(self, name: str) -> None:
            self._name = name

        def sync(self) -> None:
            told.append((self._name, committed(landscape)))

        def forget(self) -> None:
            told.append((f"forget {self._name}", committed(landscape)))

    first, second = Payloads("first"), Payloads("second")
    for payloads in (first, second, first):
        store.commit_after(payloads)
    store.add(run())
    assert told == [("first", []), ("second", [])]
    told.clear()
    with pytest.raises(KeyError):
        add_and_fail(store)
    assert told == [("forget first", ["run"]), ("forget second", ["run"])]


def test_a_server_that_fails_after_the_commit_does_not_fail_the_unit(
    landscape: LandscapeDB, store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyzed: list[str] = []

    def fail(connection: Connection, _: object) -> None:
        analyzed.append(connection.dialect.name)
        raise OperationalError("ANALYZE runs", None, Exception("the server is shutting down"))

    monkeypatch.setattr(module, "GROWN", 2)
    monkeypatch.setattr(module, "analyze_grown_tables", fail)
    for names in (["a"], ["b", "c"], ["d"]):
        with store.unit():
            store.add(*(run(name) for name in names))
    assert committed(landscape) == ["a", "b", "c", "d"]
    assert len(analyzed) == 1


def test_a_unit_knows_the_record_types_that_it_sent(store: RecordStore) -> None:
    begun = run()
    store.add(begun)
    with store.unit():
        store.add(node())
        store.change(begun, replace(begun, status=RunStatus.FAILED, completed_at=now()))
        assert store.changed == set()
        store.flushed_connection()
        assert store.changed == {"node", "run"}
    assert store.changed == set()
    with store.unit():
        store.add(run("other"))
        store.flushed_connection()
        assert store.changed == {"run"}


def test_an_addition_that_failed_is_not_committed_in_part(landscape: LandscapeDB, store: RecordStore) -> None:
    with pytest.raises(LandscapeError, match=r"^nothing of this unit was recorded: a call in it failed half-way"):
        hide_a_repeated_key(store)
    assert committed(landscape) == []


def hide_a_repeated_key(store: RecordStore) -> None:
    with store.unit(), suppress(AuditIntegrityError):
        store.add(run("first"), run("twice"), run("twice"))


def test_changes_of_a_discarded_unit_are_forgotten(store: RecordStore) -> None:
    begun = run()
    store.add(begun)
    with pytest.raises(KeyError):
        change_and_fail(store, begun)
    store.add(run("next"))
    assert store.get(records.RUN, "run") == begun


def change_and_fail(store: RecordStore, begun: Run) -> None:
    with store.unit():
        store.change(begun, replace(begun, status=RunStatus.FAILED, completed_at=now()))
        raise KeyError


@pytest.mark.postgres
def test_times_do_not_depend_on_the_zone_of_the_server(postgresql_url: str) -> None:
    url = make_url(postgresql_url)
    with create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool).connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {url.database} SET timezone TO 'Asia/Kathmandu'")
    begun = run()
    ended = replace(begun, status=RunStatus.FAILED, completed_at=now())
    with LandscapeDB(postgresql_url) as landscape:
        RecordStore(landscape).add(begun, run("another"))
        RecordStore(landscape).change(begun, ended)
        assert RecordStore(landscape).get(records.RUN, "run") == ended


def test_the_outermost_unit_decides(landscape: LandscapeDB, store: RecordStore) -> None:
    with store.unit():
        with store.unit():
            store.add(run("inner"))
        assert committed(landscape) == []
        store.add(run("outer"))
    assert committed(landscape) == ["inner", "outer"]


def test_a_unit_in_which_a_call_failed_half_way_is_not_committed(landscape: LandscapeDB, store: RecordStore) -> None:
    with pytest.raises(LandscapeError) as caught:
        record_and_hide_an_error(store)
    assert str(caught.value) == (
        "nothing of this unit was recorded: a call in it failed half-way, and its error was not passed on."
        " Let the error end the unit."
    )
    assert committed(landscape) == []
    store.add(run("next"))
    assert committed(landscape) == ["next"]


def record_and_hide_an_error(store: RecordStore) -> None:
    with store.unit(), suppress(KeyError), store.unit():
        store.add(run("half"))
        raise KeyError


def test_a_unit_without_records_sends_nothing(landscape: LandscapeDB, store: RecordStore) -> None:
    statements: list[str] = []
    event.listen(landscape.engine, "before_cursor_execute", lambda *arguments: statements.append(str(arguments[2])))
    with store.unit():
        pass
    assert statements == []


def test_a_unit_sends_one_statement_per_table(landscape: LandscapeDB, store: RecordStore) -> None:
    statements: list[str] = []
    event.listen(
        landscape.engine,
        "before_cursor_execute",
        lambda *arguments: statements.append(str(arguments[2]).split(" (")[0]),
    )
    with store.unit():
        store.add(run(), node())
        store.add(*(row(f"row-{index}", index) for index in range(100)))
    inserts = [statement for statement in statements if statement.startswith(("INSERT", "COPY"))]
    several = "COPY rows" if landscape.engine.dialect.name == "postgresql" else "INSERT INTO rows"
    assert inserts == ["INSERT INTO runs", "INSERT INTO nodes", several]


def test_records_may_precede_the_records_they_refer_to(store: RecordStore) -> None:
    with store.unit():
        store.add(row("row"))
        store.add(node())
        store.add(run())
    assert store.get(records.ROW, "row", run_id="run") is not None


def test_threads_take_turns(landscape: LandscapeDB, store: RecordStore) -> None:
    inside, other_done = threading.Event(), threading.Event()

    def record() -> None:
        inside.wait()
        store.add(run("second"))
        other_done.set()

    thread = threading.Thread(target=record)
    thread.start()
    with store.unit():
        store.add(run("first"))
        inside.set()
        assert not other_done.is_set()
        assert [each.run_id for each in store.select(records.RUN)] == ["first"]
    thread.join()
    assert committed(landscape) == ["first", "second"]


def test_a_database_in_memory_serves_every_thread() -> None:
    with LandscapeDB.in_memory() as landscape:
        store = RecordStore(landscape)
        thread = threading.Thread(target=store.add, args=[run()])
        thread.start()
        thread.join()
        assert committed(landscape) == ["run"]


# -- reading before the end ------------------------------------------------------------------------------------------


def test_reads_see_waiting_records(store: RecordStore) -> None:
    first = run()
    with store.unit():
        store.add(first)
        assert store.get(records.RUN, "run") == first
        assert store.select(records.RUN) == [first]


def test_reads_see_waiting_changes(store: RecordStore) -> None:
    begun = run()
    ended = replace(begun, status=RunStatus.COMPLETED, completed_at=now())
    store.add(begun)
    with store.unit():
        store.change(begun, ended)
        assert store.get(records.RUN, "run") == ended
        assert store.select(records.RUN) == [ended]
    assert store.select(records.RUN) == [ended]


def test_a_record_may_change_before_it_is_sent(store: RecordStore) -> None:
    begun = run()
    ended = replace(begun, status=RunStatus.COMPLETED, completed_at=now())
    with store.unit():
        store.add(begun)
        store.change(begun, ended)
    assert store.select(records.RUN) == [ended]


def test_a_record_may_change_twice_in_a_unit(store: RecordStore) -> None:
    store.add(run(), node())
    draft = draft_batch()
    store.add(draft)
    executing = replace(draft, status=BatchStatus.EXECUTING)
    failed = replace(executing, status=BatchStatus.FAILED, completed_at=now())
    with store.unit():
        store.change(draft, executing)
        store.change(executing, failed)
    assert store.get(records.BATCH, "batch") == failed


# -- one run among several -------------------------------------------------------------------------------------------


def test_a_key_that_one_run_uses_needs_no_run(store: RecordStore) -> None:
    store.add(run("a"), run("b"), node(run_id="b"))
    found = store.get(records.NODE, "node")
    assert found is not None
    assert found.run_id == "b"
    assert store.get(records.NODE, "node", run_id="a") is None


def test_a_key_that_several_runs_use_needs_the_run(store: RecordStore) -> None:
    store.add(run("b"), run("a"), node(run_id="a"), node(run_id="b"))
    with pytest.raises(AuditIntegrityError) as caught:
        store.get(records.NODE, "node")
    assert str(caught.value) == (
        "nodes node_id='node': node_id: expected a key that one run uses; pass run_id, got 'runs a, b'"
    )
    assert store.require(records.NODE, "node", run_id="a").run_id == "a"


def test_a_part_of_a_key_names_no_record(store: RecordStore) -> None:
    store.add(run(), node())
    assert store.get_by_key(records.NODE, "run", "node") is not None
    for key in (("run",), ("run", "node", "more")):
        with pytest.raises(ValueError, match=r"^zip\(\) argument 2 is (shorter|longer) than argument 1$"):
            store.get_by_key(records.NODE, *key)


def test_records_are_selected_in_the_order_of_exports(store: RecordStore) -> None:
    store.add(run("b"), run("a"), *(node(name, run_id) for run_id in "ba" for name in ("second", "first")))
    found = [(each.run_id, each.node_id) for each in store.select(records.NODE)]
    assert found == [("a", "first"), ("a", "second"), ("b", "first"), ("b", "second")]


def test_a_record_that_is_required_and_missing_is_named(store: RecordStore) -> None:
    for key, run_id in (("node_id='node'", None), ("run_id='run' node_id='node'", "run")):
        with pytest.raises(AuditIntegrityError) as caught:
            store.require(records.NODE, "node", run_id=run_id)
        assert str(caught.value) == f"nodes {key}: node_id: expected an existing record, got None"


# -- what the database refuses ---------------------------------------------------------------------------------------


def refused(store: RecordStore, *new: Run | Node | Edge | Row | Token) -> str:
    with pytest.raises(AuditIntegrityError) as caught:
        store.add(*new)
    return str(caught.value)


def test_the_record_with_a_dangling_reference_is_named(store: RecordStore) -> None:
    assert refused(store, run(), node(), row("fine"), row("astray", 1, source="nowhere"), row("after", 2)) == (
        "rows run_id='run' row_id='astray': source_node_id: expected an existing node of the same run, got 'nowhere'"
    )
    assert store.select(records.RUN) == []


def test_a_reference_into_another_run_is_dangling(store: RecordStore) -> None:
    store.add(run("other"), node(run_id="other"), run())
    assert refused(store, row("astray")) == (
        "rows run_id='run' row_id='astray': source_node_id: expected an existing node of the same run, got 'node'"
    )


def test_a_record_without_its_run_is_named(store: RecordStore) -> None:
    assert refused(store, node()) == "nodes run_id='run' node_id='node': run_id: expected an existing run, got 'run'"


def test_the_record_whose_key_exists_already_is_named(store: RecordStore) -> None:
    store.add(run())
    expected = "runs run_id='run': run_id: expected a key that is not yet used, got 'run'"
    assert refused(store, run("new"), run()) == expected
    expected = "runs run_id='twice': run_id: expected a key that is not yet used, got 'twice'"
    assert refused(store, run("twice"), run("twice")) == expected


def test_the_record_that_repeats_unique_values_is_named(store: RecordStore) -> None:
    store.add(run(), node(), edge("first"))
    assert refused(store, edge("other", label="other"), edge("second")) == (
        "edges run_id='run' edge_id='second': from_node_id, label:"
        " expected what no other edge of the same run has, got ['node', 'continue']"
    )
    assert refused(store, row("first", 7), row("second", 7)) == (
        "rows run_id='run' row_id='second': row_index: expected what no other row of the same run has, got 7"
    )


def test_a_change_to_a_dangling_reference_is_named(store: RecordStore) -> None:
    store.add(run(), node())
    batches = [draft_batch("fine"), draft_batch("astray")]
    store.add(*batches)
    with pytest.raises(AuditIntegrityError) as caught:
        change_both(store, *batches)
    assert str(caught.value) == (
        "batches run_id='run' batch_id='astray': aggregation_state_id:"
        " expected an existing node_state of the same run, got 'nowhere'"
    )
    assert store.get(records.BATCH, "fine") == batches[0]


def change_both(store: RecordStore, fine: Batch, astray: Batch) -> None:
    with store.unit():
        store.change(fine, replace(fine, trigger_reason="count"))
        store.change(astray, replace(astray, aggregation_state_id="nowhere"))


def test_rows_sent_earlier_count_in_the_search_for_the_culprit(store: RecordStore) -> None:
    with pytest.raises(AuditIntegrityError) as caught:
        send_twice(store)
    assert str(caught.value) == (
        "rows run_id='run' row_id='astray': source_node_id: expected an existing node of the same run, got 'nowhere'"
    )
    assert store.select(records.RUN) == []


def send_twice(store: RecordStore) -> None:
    with store.unit():
        store.add(run(), node())
        store.select(records.RUN)
        store.add(row("fine"), row("astray", 1, source="nowhere"))


def test_a_swallowed_refusal_is_raised_again_when_the_unit_ends(landscape: LandscapeDB, store: RecordStore) -> None:
    with pytest.raises(AuditIntegrityError, match=r"^nodes run_id='run' node_id='node': run_id: expected an existing"):
        hide_a_refusal(store)
    assert committed(landscape) == []


def hide_a_refusal(store: RecordStore) -> None:
    with store.unit():
        store.add(run("fine"))
        store.add(node())
        with suppress(AuditIntegrityError):
            store.select(records.RUN)


# -- what may not change ---------------------------------------------------------------------------------------------


def test_a_record_without_a_lifecycle_never_changes(store: RecordStore) -> None:
    first = row("row")
    store.add(run(), node(), first)
    with pytest.raises(AuditIntegrityError) as caught:
        store.change(first, replace(first, row_index=1))
    assert str(caught.value) == (
        "rows run_id='run' row_id='row': row_index: expected 0, unchanged after it was recorded, got 1"
    )
    assert store.get(records.ROW, "row") == first


def test_an_open_record_keeps_the_values_of_its_beginning(store: RecordStore) -> None:
    begun = run()
    store.add(begun)
    with pytest.raises(AuditIntegrityError) as caught:
        store.change(begun, replace(begun, settings_json="[]"))
    assert str(caught.value) == (
        "runs run_id='run': settings_json: expected '{}', unchanged while status is running, got '[]'"
    )


def test_a_finished_record_changes_only_where_the_schema_says_so(store: RecordStore) -> None:
    ended = replace(run(), status=RunStatus.FAILED, completed_at=now())
    store.add(ended)
    store.change(ended, exported := replace(ended, export_format="json"))
    with pytest.raises(AuditIntegrityError) as caught:
        store.change(exported, replace(exported, status=RunStatus.RUNNING))
    assert str(caught.value) == (
        "runs run_id='run': status: expected 'failed', unchanged while status is failed, got 'running'"
    )
    assert store.get(records.RUN, "run") == exported


def test_a_record_finished_by_another_recorder_cannot_be_finished_again(
    landscape: LandscapeDB, store: RecordStore
) -> None:
    begun = run()
    store.add(begun)
    failed = replace(begun, status=RunStatus.FAILED, completed_at=now())
    RecordStore(landscape).change(begun, failed)
    with pytest.raises(AuditIntegrityError) as caught:
        store.change(begun, replace(begun, status=RunStatus.COMPLETED, completed_at=failed.completed_at))
    assert str(caught.value) == (
        "runs run_id='run': status: expected 'failed', unchanged while status is failed, got 'completed'"
    )
    assert store.get(records.RUN, "run") == failed


def test_a_run_that_ended_after_a_failed_unit_accepts_no_records(landscape: LandscapeDB, store: RecordStore) -> None:
    begun = run()
    store.add(begun)
    with pytest.raises(KeyError):
        send_and_fail(store)
    RecordStore(landscape).change(begun, replace(begun, status=RunStatus.FAILED, completed_at=now()))
    assert refused(store, node("late")) == (
        "nodes run_id='run': run_id: expected a run that has not ended, got 'failed'"
    )
    assert store.select(records.NODE) == []


def test_a_run_that_ended_after_a_committed_unit_accepts_no_records(landscape: LandscapeDB, store: RecordStore) -> None:
    begun = run()
    store.add(begun, run("open"))
    store.add(node("early"))
    RecordStore(landscape).change(begun, replace(begun, status=RunStatus.FAILED, completed_at=now()))
    said = "nodes run_id='run': run_id: expected a run that has not ended, got 'failed'"
    assert refused(store, node("late")) == said
    assert refused(store, node("one", "open"), node("late")) == said
    assert refused(store, node("late"), node("one", "open")) == said
    assert [each.node_id for each in store.select(records.NODE)] == ["early"]


def test_no_record_of_an_ended_run_changes(landscape: LandscapeDB, store: RecordStore) -> None:
    begun = run()
    draft = draft_batch()
    store.add(begun, node(), draft)
    RecordStore(landscape).change(begun, replace(begun, status=RunStatus.FAILED, completed_at=now()))
    with pytest.raises(AuditIntegrityError) as caught:
        store.change(draft, replace(draft, status=BatchStatus.EXECUTING))
    assert str(caught.value) == "batches run_id='run': run_id: expected a run that has not ended, got 'failed'"
    assert store.get(records.BATCH, "batch") == draft


@pytest.mark.postgres
def test_a_run_cannot_end_while_its_records_are_committed(postgresql_url: str) -> None:
    begun = run()
    ended = replace(begun, status=RunStatus.FAILED, completed_at=now())
    with LandscapeDB(postgresql_url) as landscape, LandscapeDB(postgresql_url) as other:
        store = RecordStore(landscape)
        store.add(begun)
        thread = threading.Thread(target=lambda: RecordStore(other).change(begun, ended))
        with store.unit():
            store.add(node())
            store.flushed_connection()
            thread.start()
            wait_until_blocked(landscape, thread)
            assert thread.is_alive()
        thread.join()
        assert store.get(records.RUN, "run") == ended


def send_and_fail(store: RecordStore) -> None:
    with store.unit():
        store.add(node("discarded"))
        store.select(records.NODE)  # sends what waits
        raise KeyError
