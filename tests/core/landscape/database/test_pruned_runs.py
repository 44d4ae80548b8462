"""What the database keeps about runs that left it."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, NullPool, create_engine

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.pruned_runs import (
    PrunedRun,
    PrunedRunError,
    add_pruned_run,
    has_pruned_runs,
    read_pruned_runs,
    require_not_pruned,
)
from elspeth.core.landscape.database.tables import epoch_tables
from elspeth_schema.tables import pruned_runs_table

FIRST = PrunedRun(
    run_id="z",
    status="completed",
    started_at="2026-01-01T00:00:00.000001Z",
    completed_at="2026-01-01T00:00:02.000000Z",
    row_count=3,
    record_count=40,
    outputs_json='["out/a_1.csv","50%.csv"]',
    bag_path="/bags of/z.zip",
    bag_hash="0" * 64,
    bag_root="1" * 64,
    pruned_at="2026-02-03T00:00:00.000000Z",
    tool="elspeth 0.1.0",
)
SECOND = replace(
    FIRST,
    run_id="a",
    started_at="2026-01-02T00:00:00.000000Z",
    pruned_at="2026-02-02T00:00:00.000000Z",
    outputs_json='["out/aX1.csv","500.csv"]',
)
SAME_START = replace(SECOND, run_id="b", pruned_at="2026-02-01T00:00:00.000000Z", outputs_json="[]")


@pytest.fixture
def pruned(landscape: LandscapeDB) -> LandscapeDB:
    """Keep three pruned runs."""
    with landscape.write_transaction() as connection:
        for run in (SAME_START, SECOND, FIRST):
            add_pruned_run(connection, run)
    return landscape


def found(connection: Connection, *texts: str) -> list[str]:
    return [run.run_id for run in read_pruned_runs(connection, holding=texts)]


def test_pruned_runs_are_read_as_they_were_kept_in_the_order_in_which_they_began(pruned: LandscapeDB) -> None:
    with pruned.snapshot() as connection:
        assert read_pruned_runs(connection) == [FIRST, SECOND, SAME_START]
        assert read_pruned_runs(connection, run_id="a") == [SECOND]
        assert read_pruned_runs(connection, run_id="out") == []


def test_pruned_runs_are_found_by_any_of_their_outputs(pruned: LandscapeDB) -> None:
    with pruned.snapshot() as connection:
        assert found(connection, "out/a_1.csv") == ["z"]
        assert found(connection, "50%.csv") == ["z"]
        assert found(connection, "out/a_1.csv", "500.csv") == ["z", "a"]
        assert found(connection, "other") == []


def test_a_stored_value_that_is_no_time_is_returned_as_it_is(landscape: LandscapeDB) -> None:
    odd = "infinity" if landscape.engine.dialect.name == "postgresql" else "a word"
    with landscape.write_transaction() as connection:
        add_pruned_run(connection, FIRST)
        for name in ("started_at", "completed_at", "pruned_at"):
            kept = [each.name for each in pruned_runs_table.c if each.name not in {"run_id", name}]
            connection.exec_driver_sql(
                f"INSERT INTO pruned_runs (run_id, {name}, {', '.join(kept)})"  # noqa: S608 - names of the schema
                f" SELECT '{name}', '{odd}', {', '.join(kept)} FROM pruned_runs WHERE run_id = 'z'"
            )
    with landscape.snapshot() as connection:
        for name in ("started_at", "completed_at", "pruned_at"):
            (run,) = read_pruned_runs(connection, run_id=name)
            assert asdict(run) == asdict(FIRST) | {"run_id": name, name: odd}


def test_only_the_run_itself_is_known_as_pruned(pruned: LandscapeDB) -> None:
    with pruned.snapshot() as connection:
        for other in ("zz", "out/a_1.csv", ""):
            require_not_pruned(connection, other)
        with pytest.raises(PrunedRunError) as caught:
            require_not_pruned(connection, "z")
    assert str(caught.value) == (
        "run z was pruned at 2026-02-03T00:00:00.000000Z: its records left this database for /bags of/z.zip. Read them"
        " there: --from '/bags of/z.zip' with explain, rows, outputs and differences; in place of the run with report"
        " and diff"
    )


def test_a_database_of_an_older_epoch_has_no_table_of_pruned_runs(landscape: LandscapeDB, tmp_path: Path) -> None:
    with landscape.snapshot() as connection:
        assert has_pruned_runs(connection)
    with create_engine(f"sqlite:///{tmp_path}/old.db", poolclass=NullPool).begin() as connection:
        epoch_tables(4).create_all(connection)
        assert not has_pruned_runs(connection)
