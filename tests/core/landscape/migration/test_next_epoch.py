"""The epoch after today's: the schema is changed, everything generated anew, and a database of today migrated to it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codegen.__main__ import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recorder import LandscapeRecorder
from elspeth_schema import EPOCH
from tests.fixtures.records import record_everything

ROOT = Path(__file__).parents[4]

NEXT = EPOCH + 1

CHANGES = {
    "landscape.yaml": {f'version: "{EPOCH}"': f'version: "{NEXT}"'},
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
""",
    },
}
"""A value more, a column renamed, one added, and one added that must have a value."""

IN_THE_NEXT_EPOCH = """
import sys
from pathlib import Path
from sqlalchemy import NullPool, create_engine, make_url
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.migration.migrate import migrate
from elspeth.core.landscape.migration.state import look
from tests.core.landscape.migration.reflection import reflected

url = make_url(sys.argv[1])
name = url.render_as_string(hide_password=False)
engine = create_engine(url, poolclass=NullPool)

def table(name, order):
    with engine.connect() as connection:
        return [dict(row) for row in connection.exec_driver_sql(f"SELECT * FROM {name} ORDER BY {order}").mappings()]

state = look(url)
print(state.kind, state.epoch, *state.differences)
before = table("rows", "row_index")
print("migrated from", migrate(name, no_backup=True).from_epoch)
for old, row in zip(before, table("rows", "row_index"), strict=True):
    old["content_ref"] = old.pop("source_data_ref")
    assert row == {**old, "line": None, "reader": "unknown: source"}
print([(step["from_epoch"], step["to_epoch"]) for step in table("schema_migrations", "to_epoch")])

shape = reflected(name)
if engine.name == "sqlite":
    Path(url.database).unlink()
else:
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
LandscapeDB(name).close()
assert reflected(name) == shape
"""


@pytest.fixture(scope="module")
def next_epoch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything generated from the changed schema."""
    directory = tmp_path_factory.mktemp("next")
    schema = shutil.copytree(ROOT / "schema", directory / "schema")
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
        record_everything(LandscapeRecorder(database), rows=3)
    environment = {**os.environ, "PYTHONPATH": f"{next_epoch}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-W", "error", "-c", IN_THE_NEXT_EPOCH, database_url]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        f"older {EPOCH} columns missing: rows.content_ref, rows.line, rows.reader",
        f"migrated from {EPOCH}",
        f"[(0, {EPOCH}), ({EPOCH}, {NEXT})]",
    ]
