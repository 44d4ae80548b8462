"""Generated migrations over data: renamed, filled, widened and new columns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from codegen.__main__ import main
from tests.codegen.trees import copy_case

CASE = Path(__file__).parent / "cases" / "good_second_epoch"

CHANGES = {
    'version: "2"': 'version: "3"',
    "steps: {description: The steps., range: Step, singular_name: step,": (
        "visits: {description: The steps., range: Step, singular_name: step,"
    ),
    "    annotations:\n      lifecycle:\n        value: {status: status": (
        "    annotations:\n      since: 3\n      renamed_from: steps\n      lifecycle:\n        value: {status: status"
    ),
    "output_id, note]": "result_id, note, weight]",
    "while_open: [status, output_id]": "while_open: [status, result_id]",
    "  output_id:\n    description: What came out. Null if nothing did.\n    range: identifier\n": """\
  result_id:
    description: What came out. Null if nothing did.
    range: identifier
    annotations: {since: 3, renamed_from: output_id}
  weight:
    description: How much the step counts.
    range: count
    required: true
    annotations:
      since: 3
      backfill:
        value: [{epoch: 3, expression: "(SELECT count(*) FROM runs WHERE runs.run_id = old.run_id) + old.position"}]
""",
}
"""The table and a column renamed, and a column filled from another table."""

IN_EPOCH_3 = """
import sys
from alembic.migration import MigrationContext
from alembic.operations import Operations
import elspeth_schema.tables
from sqlalchemy import MetaData, NullPool, Table, create_engine, inspect, select
# The schema of the case has none of the tables that the engine imports.
elspeth_schema.tables.__getattr__ = lambda name: Table(name, MetaData())
from elspeth.core.landscape.database.tables import epoch_tables, load_step
from elspeth.core.landscape.migration._steps import rebuild
from elspeth_schema import EPOCH
from elspeth_schema.tables import visits_table

def step(connection, epoch):
    rebuild(Operations(MigrationContext.configure(connection)), epoch_tables(epoch), load_step(epoch))

engine = create_engine(sys.argv[1], poolclass=NullPool)
with engine.begin() as connection:
    step(connection, 1)
    tables = epoch_tables(1).tables
    connection.execute(tables["runs"].insert(), [{"run_id": "r"}])
    steps = [
        {"run_id": "r", "step_id": f"s{n}", "position": n, "status": "open", "input_id": None, "output_id": f"o{n}"}
        for n in range(3)
    ]
    connection.execute(tables["steps"].insert(), steps)
for epoch in range(2, EPOCH + 1):
    with engine.begin() as connection:
        step(connection, epoch)
with engine.connect() as connection:
    print(*sorted(inspect(connection).get_table_names()))
    for row in connection.execute(select(visits_table).order_by(visits_table.c.position)):
        print(*row)
"""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what codegen generates from the changed schema."""
    directory = tmp_path_factory.mktemp("steps")
    schema = copy_case(CASE, directory)
    output = ["--output", str(directory / "generated")]
    assert main(["--schema", str(schema), *output]) == 0
    text = schema.read_text(encoding="utf-8")
    for old, new in CHANGES.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    schema.write_text(text, encoding="utf-8")
    assert main(["--schema", str(schema), *output]) == 0
    return directory / "generated"


def test_every_value_is_where_the_schema_says(generated: Path, database_url: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(generated)}
    command = [sys.executable, "-W", "error", "-c", IN_EPOCH_3, database_url]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "runs visits",
        "r s0 0 open None o0 None 1",
        "r s1 1 open None o1 None 2",
        "r s2 2 open None o2 None 3",
    ]
