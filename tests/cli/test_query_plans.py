"""Every query of a command is served by an index."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, literal, select
from sqlalchemy.engine.interfaces import DBAPICursor

from elspeth.cli import main
from elspeth.contracts.plugins import PluginError
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.lineage import explain
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.plugins.csv import CsvSink
from elspeth_schema import tables
from elspeth_schema.contracts import CallType
from tests.engine.pipelines import groups_of
from tests.fixtures.told_run import record_told_run

BIG = {
    *("rows", "tokens", "token_parents", "node_states", "routing_events", "token_outcomes", "calls", "batches"),
    *("batch_members", "batch_outputs", "validation_errors", "transform_errors"),
}
"""The tables that grow with the rows of a run."""

OTHER_RUNS = 4

SETTINGS = """\
datasource: {{plugin: csv, options: {{path: in.csv, schema: {{mode: strict, fields: ["id: int"]}},
  on_validation_failure: discard}}}}
gates:
  - {{name: split, condition: "True", routes: {{"true": fork, "false": continue}}, fork_to: [one, two, sums]}}
coalesce:
  - {{name: joined, branches: [one, two], policy: require_all, merge: union}}
aggregations:
  - {{name: total, branch: sums, plugin: batch_stats, trigger: {{count: 3}}, output_mode: transform,
     options: {{value_field: id}}}}
output_sink: out
sinks:
  out: {{plugin: csv, options: {{path: out.csv}}}}
  sums: {{plugin: csv, options: {{path: sums.csv}}}}
payload_store: {{base_path: payloads, retention_days: 1}}
landscape: {{url: "{url}"}}
"""

Parameters = Sequence[Any] | Mapping[str, Any]

Plans = dict[str, list[str]]
"""The steps of the plan of each statement."""


@contextmanager
def planned() -> Iterator[Plans]:
    """Collect the plans of all statements sent within the block."""
    plans: Plans = {}

    def explain_first(
        connection: Connection, _cursor: object, statement: str, parameters: Parameters, _context: object, many: bool
    ) -> None:
        if statement in plans or not re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", statement):
            return
        chosen = parameters[0] if many and isinstance(parameters, Sequence) else parameters
        with closing(connection.connection.cursor()) as cursor:
            reader = _read_sqlite if connection.dialect.name == "sqlite" else _read_postgresql
            plans[statement] = reader(cursor, statement, chosen)

    event.listen(Engine, "before_cursor_execute", explain_first)
    try:
        yield plans
    finally:
        event.remove(Engine, "before_cursor_execute", explain_first)


def _read_sqlite(cursor: DBAPICursor, statement: str, parameters: Parameters) -> list[str]:
    cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters or ())
    return [detail for *_, detail in cursor.fetchall()]


def _read_postgresql(cursor: DBAPICursor, statement: str, parameters: Parameters) -> list[str]:
    cursor.execute("SELECT set_config('enable_seqscan', 'off', false)")
    cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters or None)
    (((plan,),),) = cursor.fetchall()
    return list(_steps(plan["Plan"]))


def _steps(plan: Mapping[str, Any]) -> Iterator[str]:
    """Yield the steps of a PostgreSQL plan, worded like SQLite's."""
    condition, index = plan.get("Index Cond"), plan.get("Index Name")
    if table := plan.get("Relation Name"):
        if plan["Node Type"] == "Bitmap Heap Scan":
            condition, index = "", None  # its index is a step of its own
        if plan["Node Type"] != "ModifyTable":
            yield f"SCAN {table}" if condition is None else f"SEARCH {table} USING INDEX {index} ({condition})"
    elif index:
        yield f"SEARCH bitmap USING INDEX {index} ({condition})"
    for part in plan.get("Plans", ()):
        yield from _steps(part)


def full_scans(plans: Plans) -> list[tuple[str, str]]:
    """Return the steps that read a whole big table."""
    return [
        (statement, step)
        for statement, steps in plans.items()
        for step in steps
        if (found := re.match(r"SCAN (\w+)", step)) and _table_of(found[1], statement) in BIG
    ]


def _table_of(name: str, statement: str) -> str:
    """Return the table behind an alias in a statement."""
    aliased = re.search(rf"\b(\w+) AS {name}\b", statement)
    return aliased[1] if aliased else name


@pytest.fixture
def settings(own_directory: Path, database_url: str) -> Path:
    """Write the settings of a pipeline, and its input."""
    (own_directory / "settings.yaml").write_text(SETTINGS.format(url=database_url))
    (own_directory / "in.csv").write_text("id\nx\n" + "".join(f"{number}\n" for number in range(9)))
    return own_directory


def work_with_all_commands(directory: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run, resume, explain, report, export, check and purge."""
    sync, left = CsvSink.sync, iter([True, True, True])

    def fail_later(sink: CsvSink) -> None:
        if not next(left, False):
            raise PluginError("out.csv: the cable was pulled")
        sync(sink)

    groups_of(monkeypatch, 2)
    settings = ("-s", "settings.yaml", "--no-dotenv")
    with monkeypatch.context() as patch:
        patch.setattr(CsvSink, "sync", fail_later)
        assert main(["run", *settings, "-x"]) == 1
    assert main(["resume", "latest", *settings, "-x"]) == 0
    for arguments in (
        ["explain", "--row", "2", "-d", url],
        ["explain", "--row", "2", "-d", url, "--json"],
        ["export", "latest", "-d", url, "-o", "trail.jsonl"],
        ["export", "latest", "-d", url, "-o", "bag", "--format", "bag"],
        ["export", "latest", "-d", url, "-o", "parquet", "--format", "parquet"],
        ["rows", "-d", url, "--outcome", "completed", "--sink", "out"],
        ["outputs", "-d", url, "--check"],
        ["outputs", "-d", url, "--file", "out.csv"],
        ["diff", "latest", "latest", "-d", url],
        ["report", "latest", "-d", url, "-o", "report.html"],
        ["landscape", "runs", "-d", url],
    ):
        assert main(arguments) == 0, arguments
    assert main(["landscape", "check", "-d", url]) in (0, 1)
    assert main(["purge", *settings, "-x"]) in (0, 1)
    assert main(["landscape", "prune", "-d", url, "--before", "2999-01-01", "--archive", "bags", "-x"]) in (0, 1)
    assert directory.joinpath("out.csv").exists()


def check_references(url: str) -> None:
    """Search for references to a record as a deletion does.

    The plans of these checks are the engine's own, which shows them nowhere. SQLite makes them without statistics.
    """
    with LandscapeDB(url if url.startswith("postgresql") else "sqlite://") as db, db.connection() as connection:
        for table in tables.metadata.tables.values():
            for key in table.foreign_key_constraints:
                where = [table.c[name] == "x" for name in key.column_keys]
                connection.execute(select(literal(1)).select_from(table).where(*where))


def record_other_runs(url: str) -> None:
    """Record runs that no question is about."""
    with LandscapeDB.from_url(url) as db:
        for number in range(OTHER_RUNS):
            record_told_run(db, f"other-{number}")
        with db.engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE")


def ask_the_older_way(url: str) -> None:
    """Read a run with the calls of the older recorder."""
    with LandscapeDB.from_url(url) as db:
        told = record_told_run(db)
        recorder = LandscapeRecorder(db)
        for token_id in told.tokens.values():
            explain(recorder, told.run_id, token_id)
            recorder.get_token_outcome(token_id)
        recorder.find_call_by_request_hash(told.run_id, CallType.HTTP, "0" * 64)


def test_no_command_scans_a_large_table(settings: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record_other_runs(database_url)
    with planned() as plans:
        work_with_all_commands(settings, database_url, monkeypatch)
        ask_the_older_way(database_url)
        check_references(database_url)
    assert len(plans) > 50
    found = full_scans(plans)
    assert not found, "\n".join(f"{step}: {statement}" for statement, step in found)
    # A search by the run alone would be served by any index.
    used = {index for steps in plans.values() for step in steps for index in re.findall(r"\b(ix_\w+) \(.* AND ", step)}
    every = [index for table in tables.metadata.tables.values() for index in table.indexes]
    assert used >= {str(index.name) for index in every if not index.unique}
