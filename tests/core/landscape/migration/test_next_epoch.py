"""The epoch after today's, with everything generated again.

A database of today is migrated to it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from codegen.__main__ import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth_schema import EPOCH
from elspeth_schema.contracts import RunStatus
from tests.codegen.trees import copy_project
from tests.fixtures.records import record_everything

ROOT = Path(__file__).parents[4]

NEXT = EPOCH + 1

CHANGES = {
    "landscape.yaml": {
        f'version: "{EPOCH}"': f'version: "{NEXT}"',
        "\n      checkpoints:\n": """
      row_notes:
        description: What was said about rows.
        range: RowNote
        singular_name: row_note
        multivalued: true
        inlined_as_list: true
      checkpoints:
""",
    },
    "bookkeeping.yaml": {
        "  sealed_at:\n": f"""\
  occasion:
    description: Why it was sealed. Null in older seals.
    range: code
    annotations: {{since: {NEXT}}}
  sealed_at:
""",
        "envelope_json, sealed_at]": "envelope_json, sealed_at, occasion]",
    },
    "enums.yaml": {"      filesystem:\n": "      telepathy:\n        description: A guess.\n      filesystem:\n"},
    "rows.yaml": {
        "source_data_ref:\n": f"content_ref:\n    annotations: {{since: {NEXT}, renamed_from: source_data_ref}}\n",
        "source_data_ref, created_at]": "content_ref, created_at, line, reader]",
        "\nclasses:\n": f"""
  line:
    description: Line of the source file. Null in older records.
    range: count
    annotations: {{since: {NEXT}}}
  reader:
    description: What read the row.
    range: code
    required: true
    annotations:
      since: {NEXT}
      backfill:
        value: [{{epoch: {NEXT}, expression: "'unknown: ' || old.source_node_id"}}]

classes:
  RowNote:
    description: What was said about a row.
    slots: [run_id, row_id, line]
    unique_keys:
      primary_key:
        unique_key_slots: [run_id, row_id]
    annotations:
      since: {NEXT}
      lifecycle: immutable
      foreign_keys:
        value:
          - {{columns: [run_id], references: Run}}
          - {{columns: [run_id, row_id], references: Row}}

""",
    },
}
"""A value and a table more, a column renamed, two added, and one added that must have a value."""

IN_THE_NEXT_EPOCH = """
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from sqlalchemy import NullPool, create_engine, make_url
from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.migration.migrate import migrate
from elspeth.core.landscape.database.state import read_state
from elspeth.core.landscape.sealing.check import check_seals
from tests.core.landscape.sealing.test_seal import drop_guards
from tests.core.landscape.migration.reflection import reflected

url = make_url(sys.argv[1])
name = url.render_as_string(hide_password=False)
engine = create_engine(url, poolclass=NullPool)

def table(name, order):
    with engine.connect() as connection:
        return [dict(row) for row in connection.exec_driver_sql(f"SELECT * FROM {name} ORDER BY {order}").mappings()]

# Foreign tables do not count as ours, whatever is wrong with them.
with engine.begin() as connection:
    if engine.name == "sqlite":
        connection.exec_driver_sql("CREATE TABLE orders (customer REFERENCES customers (id))")
        connection.exec_driver_sql("INSERT INTO orders VALUES (1)")
    else:
        connection.exec_driver_sql("CREATE TABLE orders (customer XML)")

state = read_state(url)
print(state.kind, state.epoch, *state.differences)
before = table("rows", "row_index")

# An edit from before the migration is noticed after it. A rehearsal changes nothing.
with engine.begin() as connection:
    guard = "guard_rows_update" if engine.name == "sqlite" else "guard_rows_row ON rows"
    connection.exec_driver_sql(f"DROP TRIGGER {guard}")
    connection.exec_driver_sql("UPDATE rows SET source_data_ref = 'elsewhere' WHERE row_id = 'row-1'")
with redirect_stdout(StringIO()) as output, redirect_stderr(StringIO()) as errors:
    code = main(["landscape", "migrate", "-d", name, "--dry-run"])
print(code, output.getvalue().splitlines()[-1])
print(errors.getvalue().strip())
with engine.begin() as connection:
    value = next(row["source_data_ref"] for row in before if row["row_id"] == "row-1")
    assert value is None
    connection.exec_driver_sql("UPDATE rows SET source_data_ref = NULL WHERE row_id = 'row-1'")

report = migrate(name, no_backup=True)
print("migrated from", report.from_epoch)
print(report.seals.verdict)
for old, row in zip(before, table("rows", "row_index"), strict=True):
    old["content_ref"] = old.pop("source_data_ref")
    assert row == {**old, "line": None, "reader": "unknown: source"}
print([(step["from_epoch"], step["to_epoch"]) for step in table("schema_migrations", "to_epoch")])

with engine.begin() as connection:
    connection.exec_driver_sql("DROP TABLE orders")
shape = reflected(name)

with engine.begin() as connection:
    drop_guards(connection)

def fault_after(statement):
    with engine.connect() as connection:
        transaction = connection.begin()
        connection.exec_driver_sql(statement)
        report = check_seals(connection)
        transaction.rollback()
    return [str(fault) for fault in report.faults]

for statement in (
    "UPDATE rows SET content_ref = 'elsewhere' WHERE row_id = 'row-1'",
    "UPDATE rows SET line = 7 WHERE row_id = 'row-1'",
    "INSERT INTO row_notes (run_id, row_id, line) VALUES ('run', 'row-1', 7)",
):
    print(fault_after(statement))

if engine.name == "sqlite":
    Path(url.database).unlink()
else:
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
LandscapeDB(name).close()
assert reflected(name) == shape
"""


MISSING = ("rows.content_ref", "rows.line", "rows.reader", "seals.occasion")


@pytest.fixture(scope="module")
def next_epoch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory with all that the changed schema generates."""
    directory = tmp_path_factory.mktemp("next")
    schema = copy_project(directory).parent
    for name, changes in CHANGES.items():
        text = (schema / name).read_text(encoding="utf-8")
        for old, new in changes.items():
            assert text.count(old) == 1
            text = text.replace(old, new)
        (schema / name).write_text(text, encoding="utf-8")
    assert main(["--schema", str(schema / "landscape.yaml"), "--output", str(directory / "generated")]) == 0
    return directory / "generated"


def test_a_database_of_today_can_be_migrated_to_the_next_epoch(database_url: str, next_epoch: Path) -> None:
    with LandscapeDB(database_url) as database:
        recorder = LandscapeRecorder(database)
        record_everything(recorder, rows=3)
        recorder.complete_run("run", RunStatus.FAILED)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (next_epoch, next_epoch / "testing", ROOT)))}
    command = [sys.executable, "-W", "error", "-c", IN_THE_NEXT_EPOCH, database_url]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.stderr == ""
    fault = "run run is not what was sealed"
    edit = f"{fault}: rows run_id='run' row_id='row-1': is not the record that was sealed here"
    assert result.stdout.splitlines() == [
        f"older {EPOCH} tables missing: row_notes columns missing: {', '.join(MISSING)}",
        "1 seals                       0 of 1 sealed runs unchanged",
        f"{edit} (before the migration, which changed no value)",
        f"migrated from {EPOCH}",
        "1 of 1 sealed runs unchanged",
        f"[(0, {EPOCH}), ({EPOCH}, {NEXT})]",
        str([edit]),
        "[]",
        str([f"{fault}: row_notes: a record was added after the seal"]),
    ]
