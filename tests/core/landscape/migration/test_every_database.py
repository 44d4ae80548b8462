"""Every database of the predecessor is read without loss."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, insert, make_url, select

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.state import StateKind, read_state
from elspeth.core.landscape.database.tables import snapshot_tables
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.migration.adoption import adopt
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.sealing.check import check_seals
from elspeth.evidence.format.signatures import PRIVATE_KEY, PUBLIC_KEY, generate_keys
from elspeth.schema.predecessor import Shape
from elspeth.schema.snapshots import ColumnSnapshot, Snapshot
from elspeth_schema.contracts import RunStatus
from tests.core.landscape.migration.test_adoption import require_every_value
from tests.fixtures.legacy import rows_of
from tests.fixtures.predecessor import EPOCHS_BY_DATE, SHAPES, create_filled, length_of
from tests.fixtures.untouched import untouched

RELEASED = (
    "0125__batch_aggregation",
    "0129__json_explode",
    "0.3.3-0302__error_routing",
    "0.3.3-0302__fork_coalesce",
    "0.3.4-0310__batch_aggregation",
    "0.5.1-0511__batch_aggregation",
    "rc2-0202__deaggregation",
    "rc21-0203__schema_contracts_demo",
    "rc4-0326__error_routing",
    "rc5-0403__fork_coalesce",
)

SAMPLE = "rc5-0403__fork_coalesce"


@pytest.mark.postgres
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == SAMPLE else pytest.mark.thorough) for name in (*SHAPES, *RELEASED)]
)
def test_each_database_is_migrated_without_loss(
    name: str, predecessor_files: Path, tmp_path: Path, postgresql_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old" / "audit.db", f"sqlite:///{tmp_path / 'new.db'}"
    old.parent.mkdir()
    if name in SHAPES:
        create_filled(f"sqlite:///{old}", SHAPES[name])
    else:
        shutil.copy(predecessor_files / f"{name}.db", old)
    state, rows = read_state(make_url(f"sqlite:///{old}")), rows_of(old)
    # Filled databases have no checks, as epoch 4 has.
    is_epoch = name in EPOCHS_BY_DATE and not any(table.checks for table in SHAPES[name].tables)
    assert state.kind is (StateKind.OLDER if is_epoch else StateKind.PREDECESSOR)
    shape = SHAPES[state.shape or name]
    assert columns_of(shape) == columns_of(SHAPES.get(name, shape))
    with untouched(old):
        _require_exported(old, tmp_path / "bag", rows, capsys)
        done = adopt(f"sqlite:///{old}", new)
        assert adopt(f"sqlite:///{old}", new).rows == {}
    assert done.rows == {table.name: len(rows[table.name]) for table in shape.tables}
    with LandscapeDB(new, create_tables=False) as db:
        require_every_value(rows, db, shape)
        exported = _exported(db)
        _require_recordable(db)
    assert set(exported) == {run["run_id"] for run in rows["runs"]}
    if fits(rows, shape):
        copy_rows(old, shape, postgresql_url)
        again = f"sqlite:///{tmp_path / 'again.db'}"
        assert adopt(postgresql_url, again).rows == done.rows
        with LandscapeDB(again, create_tables=False) as db:
            assert _exported(db) == exported


def _require_exported(
    old: Path, bag: Path, rows: dict[str, list[dict[str, object]]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Export a database as found, signed, and verify that."""
    keys = bag.with_name("keys")
    generate_keys(keys)
    key = ("-k", str(keys / PRIVATE_KEY))
    assert main(["export", "--as-found", str(old), "--format", "bag", "-o", str(bag), *key]) == 0
    assert main(["verify", str(bag), "-k", str(keys / PUBLIC_KEY)]) == 0
    lines = sum(len(path.read_bytes().splitlines()) for path in bag.rglob("records.jsonl"))
    assert lines >= sum(map(len, rows.values())), capsys.readouterr()


def _exported(db: LandscapeDB) -> dict[str, list[str]]:
    """Return the records of all runs, as lines of exports."""
    with db.connection() as connection:
        runs = connection.exec_driver_sql("SELECT run_id FROM runs ORDER BY run_id").scalars().all()
    exporter = LandscapeExporter(db)
    return {run: [json.dumps(record, sort_keys=True) for record in exporter.export_run(run)] for run in runs}


def _require_recordable(db: LandscapeDB) -> None:
    recorder = LandscapeRecorder(db)
    recorder.begin_run({}, "v1", run_id="another")
    recorder.complete_run("another", RunStatus.COMPLETED)
    with db.snapshot() as connection:
        assert check_seals(connection).faults == ()


def columns_of(shape: Shape) -> set[tuple[str, ColumnSnapshot]]:
    """Return the columns, which the filled databases keep."""
    return {(table.name, column) for table in shape.tables for column in table.columns}


def fits(rows: dict[str, list[dict[str, object]]], shape: Shape) -> bool:
    """Return whether PostgreSQL can hold the rows.

    SQLite takes texts that are longer than their columns, and the predecessor wrote some.
    """
    return all(
        len(str(row[column.name] or "")) <= length
        for table in shape.tables
        for column in table.columns
        if (length := length_of(column)) is not None
        for row in rows[table.name]
    )


def copy_rows(old: Path, shape: Shape, url: str) -> None:
    """Copy a SQLite database to PostgreSQL.

    It gets no references and checks: SQLite enforced neither.
    """
    tables = tuple(replace(table, foreign_keys=(), checks=()) for table in shape.tables)
    created = snapshot_tables(Snapshot(epoch=0, tables=tables))
    reading = create_engine(f"sqlite:///{old}", poolclass=NullPool)
    with reading.connect() as source, create_engine(url, poolclass=NullPool).begin() as target:
        created.create_all(target)
        for table in created.tables.values():
            for row in source.execute(select(table)).mappings():
                values = {n: v.replace(tzinfo=UTC) if isinstance(v, datetime) else v for n, v in row.items()}
                target.execute(insert(table), values)
