"""Claims: a run belongs to one process at a time.

Whoever loses the claim records nothing more, and the next owner sees everything that was recorded.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import URL, NullPool, StaticPool, create_engine, make_url

from elspeth.contracts.enums import NodeType
from elspeth.contracts.schema import SchemaConfig
from elspeth.core.canonical import CANONICAL_VERSION
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.database import claim as claim_module
from elspeth.core.landscape.database.claim import ClaimLostError, RunClaimedError, claim_run, claimed_runs
from elspeth.core.landscape.database.connections import read_only_connection
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from tests.fixtures.landscapes import wait_until_blocked

DYNAMIC = SchemaConfig(mode=None, fields=None, is_dynamic=True)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim_module, "_PATIENCE_S", 0)


@pytest.fixture
def db(database_url: str) -> Iterator[LandscapeDB]:
    """Open a database that has one run."""
    with LandscapeDB(database_url) as database:
        LandscapeRecorder(database).begin_run({}, CANONICAL_VERSION, run_id="run")
        yield database


def lose_claims(url: str) -> None:
    """Release the claims of all processes without their knowledge."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        (lock,) = Path(str(parsed.database)).parent.glob("*.lock")
        lock.unlink()
        return
    with create_engine(url, poolclass=NullPool).connect() as connection:
        ended = connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        assert ended.scalars().all() == [True]


def register(recorder: LandscapeRecorder, node: str) -> None:
    recorder.register_node("run", node, NodeType.SOURCE, "1", {}, schema_config=DYNAMIC, node_id=node)


def nodes(url: str) -> list[str]:
    with LandscapeDB(url, create_tables=False) as database:
        return sorted(node.node_id for node in LandscapeRecorder(database).get_nodes("run"))


def test_a_run_belongs_to_one_process_at_a_time(db: LandscapeDB, database_url: str) -> None:
    with LandscapeDB(database_url) as other:
        with claim_run(db, "run"), claim_run(db, "another"):
            with pytest.raises(RunClaimedError) as caught, claim_run(other, "run"):
                pass
            assert str(caught.value) == (
                "run run is being recorded by another process: wait for its end, or stop it first"
            )
        with claim_run(other, "run"):
            pass


def test_records_under_a_claim_are_committed(db: LandscapeDB, database_url: str) -> None:
    recorder = LandscapeRecorder(db)
    with recorder.claimed("run"):
        register(recorder, "one")
        with recorder.unit_of_work():
            register(recorder, "two")
    register(recorder, "three")
    assert nodes(database_url) == ["one", "three", "two"]


def test_nothing_is_committed_when_the_claim_is_lost(db: LandscapeDB, database_url: str) -> None:
    recorder = LandscapeRecorder(db)
    with recorder.claimed("run") as claim:
        register(recorder, "before")
        lose_claims(database_url)
        with pytest.raises(LandscapeError):
            register(recorder, "after")
        with pytest.raises(ClaimLostError, match="this process no longer has the claim on run run, and"):
            register(recorder, "later")
        claim.renew()
        register(recorder, "renewed")
    assert nodes(database_url) == ["before", "renewed"]


def test_a_lost_claim_can_be_renewed_before_it_is_noticed(db: LandscapeDB, database_url: str) -> None:
    with claim_run(db, "run") as claim:
        lose_claims(database_url)
        claim.renew()
        with claim.write_transaction():
            pass
        with pytest.raises(RunClaimedError), claim_run(db, "run"):
            pass


@pytest.mark.postgres
def test_a_unit_during_which_the_claim_is_lost_commits_nothing(postgresql_url: str) -> None:
    with LandscapeDB(postgresql_url) as db:
        recorder = LandscapeRecorder(db)
        recorder.begin_run({}, CANONICAL_VERSION, run_id="run")
        unit = recorder.unit_of_work()
        with recorder.claimed("run"):
            unit.__enter__()
            register(recorder, "sent")
            assert [node.node_id for node in recorder.get_nodes("run")] == ["sent"]
            lose_claims(postgresql_url)
            with pytest.raises(LandscapeError):
                unit.__exit__(None, None, None)
    assert nodes(postgresql_url) == []


def test_a_process_that_lost_its_run_to_another_leaves_it_alone(db: LandscapeDB, database_url: str) -> None:
    recorder = LandscapeRecorder(db)
    with LandscapeDB(database_url) as other, ExitStack() as owner:
        with recorder.claimed("run") as claim:
            register(recorder, "first")
            lose_claims(database_url)
            owner.enter_context((taken_up := LandscapeRecorder(other)).claimed("run"))
            register(taken_up, "second")
            with pytest.raises(LandscapeError):
                register(recorder, "late")
            with pytest.raises(ClaimLostError):
                register(recorder, "later")
            with pytest.raises(RunClaimedError):
                claim.renew()
        # The end of the first process takes nothing from the second.
        register(taken_up, "third")
        with pytest.raises(RunClaimedError), claim_run(db, "run"):
            pass
    assert nodes(database_url) == ["first", "second", "third"]


def test_a_new_owner_sees_what_the_old_one_was_committing(sqlite_url: str) -> None:
    seen: list[list[str]] = []

    def take_up() -> None:
        with LandscapeDB(sqlite_url) as other, claim_run(other, "run"):
            seen.append(nodes(sqlite_url))

    with LandscapeDB(sqlite_url) as db:
        recorder = LandscapeRecorder(db)
        recorder.begin_run({}, CANONICAL_VERSION, run_id="run")
        thread = threading.Thread(target=take_up)
        with recorder.claimed("run"), recorder.unit_of_work():
            register(recorder, "sent")
            assert recorder.get_nodes("run") != []
            lose_claims(sqlite_url)
            thread.start()
            thread.join(0.2)
            assert seen == []
        thread.join()
    assert seen == [["sent"]]


@pytest.mark.postgres
def test_a_new_owner_waits_for_a_recorder_without_a_claim(postgresql_url: str) -> None:
    seen: list[list[str]] = []

    def take_up() -> None:
        with claim_run(other, "run"):
            seen.append(nodes(postgresql_url))

    with LandscapeDB(postgresql_url) as db, LandscapeDB(postgresql_url) as other:
        recorder = LandscapeRecorder(db)
        recorder.begin_run({}, CANONICAL_VERSION, run_id="run")
        thread = threading.Thread(target=take_up)
        with recorder.unit_of_work():
            register(recorder, "sent")
            assert recorder.get_nodes("run") != []
            thread.start()
            wait_until_blocked(db, thread)
            assert seen == []
        thread.join()
    assert seen == [["sent"]]


@pytest.mark.postgres
def test_a_session_with_a_claim_may_be_idle(postgresql_url: str) -> None:
    with LandscapeDB(postgresql_url) as db, claim_run(db, "run") as claim, claim.write_transaction() as connection:
        assert connection.exec_driver_sql("SHOW idle_session_timeout").scalar() == "0"


@pytest.mark.postgres
def test_a_session_shared_through_a_pooler_has_one_claim(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with LandscapeDB(postgresql_url) as db:
        db.close()
        monkeypatch.setattr(db, "_engine", create_engine(postgresql_url, poolclass=StaticPool))
        with claim_run(db, "run"), pytest.raises(RunClaimedError), claim_run(db, "run"):
            pass


def test_a_lock_file_cannot_be_used_to_change_another_file(sqlite_url: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("something")
    (tmp_path / "landscape.db.run.lock").symlink_to(victim)
    with LandscapeDB(sqlite_url) as db, pytest.raises(OSError, match=r"landscape\.db\.run\.lock"), claim_run(db, "run"):
        pass
    assert victim.read_text() == "something"


@pytest.mark.postgres
def test_the_session_of_a_claim_may_be_idle_for_any_time(postgresql_url: str) -> None:
    with create_engine(postgresql_url, poolclass=NullPool).begin() as connection:
        name = make_url(postgresql_url).database
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET idle_session_timeout = '1min'")
    limit = "SHOW idle_session_timeout"
    with LandscapeDB(postgresql_url) as database:
        with database.connection() as connection:
            assert connection.exec_driver_sql(limit).scalar() == "1min"
        with claim_run(database, "run") as claim, claim.write_transaction() as connection:
            assert connection.exec_driver_sql(limit).scalar() == "0"


def test_a_lock_file_that_a_crash_left_claims_nothing(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "landscape.db.run.lock").touch()
    with LandscapeDB(sqlite_url) as db, claim_run(db, "run"):
        pass
    assert list(tmp_path.glob("*.lock")) == []


def test_a_lock_file_that_cannot_be_opened_counts_as_a_claim(sqlite_url: str, tmp_path: Path) -> None:
    LandscapeDB(sqlite_url).close()
    (tmp_path / "landscape.db.run.lock").symlink_to("elsewhere")
    with read_only_connection(make_url(sqlite_url)) as connection:
        assert claimed_runs(connection, ["run", "another"]) == {"run"}


def test_the_runs_that_a_process_records_are_known(db: LandscapeDB, database_url: str) -> None:
    def at_work() -> frozenset[str]:
        with read_only_connection(make_url(database_url)) as connection:
            return claimed_runs(connection, ["run", "another", "third"])

    assert at_work() == frozenset()
    with claim_run(db, "run"), claim_run(db, "third"):
        assert at_work() == {"run", "third"}
    assert at_work() == frozenset()


def test_simultaneous_queries_are_not_taken_for_recorders(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LandscapeDB(sqlite_url).close()
    (tmp_path / "landscape.db.run.lock").touch()  # left by a crash
    lock = fcntl.flock
    answers: list[frozenset[str]] = []

    def ask() -> None:
        with read_only_connection(make_url(sqlite_url)) as connection:
            answers.append(claimed_runs(connection, ["run"]))

    def lock_and_ask_again(file: int, operation: int) -> None:
        lock(file, operation)
        monkeypatch.setattr(fcntl, "flock", lock)
        ask()

    monkeypatch.setattr(fcntl, "flock", lock_and_ask_again)
    ask()
    assert answers == [frozenset(), frozenset()]


@pytest.mark.parametrize(
    ("run_id", "high", "low"),
    [
        ("run", 0xACBA2551, 0x2100F80B),
        ("run-2026-01-01-a", 0xA3D807BB, 0xEB96DF1A),
        ("run-2026-01-01-b", 0x505159FF, 0xC26F9553),
    ],
)
def test_the_number_of_a_lock_is_the_beginning_of_the_hash_of_the_id(run_id: str, high: int, low: int) -> None:
    """Compare with `sha256sum`: all versions take the same lock."""
    assert claim_module._halves(claim_module._key(run_id)) == (high, low)


@pytest.mark.postgres
@pytest.mark.parametrize("run_id", ["run", "run-2026-01-01-a"])
def test_a_lock_of_the_server_is_taken_under_that_number(postgresql_url: str, run_id: str) -> None:
    held = "SELECT classid::bigint, objid::bigint, objsubid FROM pg_locks WHERE locktype = 'advisory' AND granted"
    with LandscapeDB(postgresql_url) as db, claim_run(db, run_id) as claim, claim.write_transaction() as connection:
        expected = (*claim_module._halves(claim_module._key(run_id)), 1)
        assert expected in connection.exec_driver_sql(held).all()


@pytest.mark.postgres
def test_other_locks_of_the_same_number_are_no_claims(postgresql_url: str, postgresql_server: URL) -> None:
    high, low = (each - 2**32 * (each >= 2**31) for each in claim_module._halves(claim_module._key("run")))
    url = make_url(postgresql_url)
    with LandscapeDB(postgresql_url) as db, ExitStack() as others:
        for place, statement in (
            (url, f"SELECT pg_advisory_lock({high}, {low})"),
            (postgresql_server, f"SELECT pg_advisory_lock({claim_module._key('run')})"),
        ):
            engine = create_engine(place, poolclass=NullPool)
            others.enter_context(engine.connect()).exec_driver_sql(statement)
        with read_only_connection(url) as connection:
            assert claimed_runs(connection, ["run"]) == frozenset()
        with claim_run(db, "run") as claim, claim.write_transaction():
            pass


@pytest.mark.postgres
def test_the_claim_of_another_process_is_not_taken_for_ones_own(postgresql_url: str) -> None:
    with LandscapeDB(postgresql_url) as db, LandscapeDB(postgresql_url) as other, claim_run(db, "run") as claim:
        lose_claims(postgresql_url)
        with claim_run(other, "run"):
            with pytest.raises(LandscapeError), claim.write_transaction():
                pass
            with pytest.raises(ClaimLostError) as caught, claim.write_transaction():
                pass
    assert str(caught.value) == (
        "this process no longer has the claim on run run, and records nothing more of it: the server ended the session"
        " that held it, or a pooler changed the session; another process may be recording the run now"
    )


def test_the_loss_of_a_file_is_named(sqlite_url: str, tmp_path: Path) -> None:
    with LandscapeDB(sqlite_url) as db, claim_run(db, "run") as claim:
        lose_claims(sqlite_url)
        with pytest.raises(ClaimLostError) as caught, claim.write_transaction():
            pass
    assert str(caught.value) == (
        "this process no longer has the claim on run run, and records nothing more of it: the file"
        f" {tmp_path}/landscape.db.run.lock was removed; another process may be recording the run now"
    )


@pytest.mark.postgres
def test_a_released_claim_records_nothing(postgresql_url: str) -> None:
    with LandscapeDB(postgresql_url) as db:
        with claim_run(db, "run") as claim:
            pass
        with pytest.raises(ClaimLostError) as caught, claim.write_transaction():
            pass
    assert str(caught.value) == (
        "this process no longer has the claim on run run, and records nothing more of it: it was released;"
        " another process may be recording the run now"
    )


def test_a_claim_does_not_depend_on_the_spelling_of_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "an audit.db"
    spellings = [f"sqlite:///{path}", "sqlite:///an audit.db", f"sqlite:///file:{tmp_path}/an%20audit.db?uri=true"]
    LandscapeDB(spellings[0]).close()
    for one in spellings:
        with LandscapeDB(one) as db, claim_run(db, "run"):
            assert (tmp_path / "an audit.db.run.lock").exists()
            for other in spellings:
                with LandscapeDB(other) as again, pytest.raises(RunClaimedError), claim_run(again, "run"):
                    pass


def test_databases_of_one_directory_have_claims_of_their_own(tmp_path: Path) -> None:
    one, other = (LandscapeDB(f"sqlite:///{tmp_path}/a.{suffix}") for suffix in ("db", "sqlite"))
    with one, other, claim_run(one, "run"), claim_run(other, "run"):
        pass


def test_a_lock_that_another_process_holds_for_a_moment_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim_module, "_PATIENCE_S", 60)
    monkeypatch.setattr(claim_module, "_RETRY_S", 0)
    answers = [False, False, True]
    claim_module._retry(lambda: answers.pop(0), "run")
    assert answers == []


def test_a_file_that_its_owner_removes_meanwhile_is_not_taken_for_a_claim(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, path = fcntl.flock, tmp_path / "landscape.db.run.lock"

    def lock_after_the_removal(file: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        path.unlink()
        lock(file, operation)

    monkeypatch.setattr(claim_module, "_PATIENCE_S", 60)
    with LandscapeDB(sqlite_url) as db, LandscapeDB(sqlite_url) as other:
        monkeypatch.setattr(fcntl, "flock", lock_after_the_removal)
        with claim_run(db, "run") as claim:
            assert path.exists()
            with claim.write_transaction():
                pass
            monkeypatch.setattr(claim_module, "_PATIENCE_S", 0)
            with pytest.raises(RunClaimedError), claim_run(other, "run"):
                pass


def test_a_claim_ends_with_its_block_whatever_ends_it(db: LandscapeDB, database_url: str) -> None:
    with LandscapeDB(database_url) as other:
        for error in (KeyError, KeyboardInterrupt):
            with pytest.raises(error), claim_run(db, "run"):
                raise error
            with claim_run(other, "run"):
                pass


def test_a_recorder_records_again_without_a_claim_after_an_error(db: LandscapeDB, database_url: str) -> None:
    recorder = LandscapeRecorder(db)
    with pytest.raises(KeyError), recorder.claimed("run"):
        raise KeyError
    register(recorder, "afterwards")
    assert nodes(database_url) == ["afterwards"]
