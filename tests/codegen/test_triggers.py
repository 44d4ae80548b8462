"""The text of the triggers for each kind of lifecycle.

Other tests run them in databases.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from codegen.triggers import Guards, postgresql_guards, sqlite_guards
from elspeth.schema.snapshots import LifecycleSnapshot
from tests.codegen.snapshots import column, snapshot, table

IMMUTABLE = LifecycleSnapshot(status=None, final=(), while_open=(), afterwards=())
OPEN = LifecycleSnapshot(status="status", final=("done", "failed"), while_open=("status", "result"), afterwards=())
LATER = LifecycleSnapshot(
    status="status", final=("done",), while_open=("status", "result", "export"), afterwards=("export",)
)
ONLY_LATER = LifecycleSnapshot(status=None, final=(), while_open=(), afterwards=("export",))


def guards(lifecycle: LifecycleSnapshot | None, engine: str) -> Guards:
    jobs = table("jobs", column("status"), column("result"), column("export"))
    make = {"sqlite": sqlite_guards, "postgresql": postgresql_guards}[engine]
    return make(snapshot(1, replace(jobs, lifecycle=lifecycle)))


@pytest.mark.parametrize(
    ("lifecycle", "forbidden"),
    [
        (IMMUTABLE, ""),
        (
            OPEN,
            (
                " WHEN NEW.id IS NOT OLD.id OR NEW.export IS NOT OLD.export OR (OLD.status IN ('done', 'failed') AND"
                " (NEW.status IS NOT OLD.status OR NEW.result IS NOT OLD.result))"
            ),
        ),
        (
            LATER,
            (
                " WHEN NEW.id IS NOT OLD.id OR (OLD.status IN ('done') AND"
                " (NEW.status IS NOT OLD.status OR NEW.result IS NOT OLD.result))"
            ),
        ),
        (
            ONLY_LATER,
            " WHEN NEW.id IS NOT OLD.id OR NEW.status IS NOT OLD.status OR NEW.result IS NOT OLD.result",
        ),
    ],
    ids=["immutable", "open until final", "some columns later", "some columns at any time"],
)
def test_sqlite_refuses_forbidden_changes(lifecycle: LifecycleSnapshot, forbidden: str) -> None:
    kept = guards(lifecycle, "sqlite").kept
    assert kept["guard_jobs_update"] == (
        f"CREATE TRIGGER guard_jobs_update BEFORE UPDATE ON jobs{forbidden} BEGIN"
        " SELECT RAISE(ABORT, 'jobs: a recorded value cannot be changed'); END"
    )
    assert kept["guard_jobs_delete"] == (
        "CREATE TRIGGER guard_jobs_delete BEFORE DELETE ON jobs BEGIN"
        " SELECT RAISE(ABORT, 'jobs: a record cannot be deleted'); END"
    )


def test_postgresql_refuses_forbidden_changes() -> None:
    refuse = "RAISE EXCEPTION USING MESSAGE = {}, ERRCODE = 'integrity_constraint_violation';"
    deleted = refuse.format("'jobs: a record cannot be deleted'")
    changed = refuse.format("'jobs: a recorded value cannot be changed'")
    assert guards(IMMUTABLE, "postgresql").kept["guard_jobs_row"] == (
        f"BEGIN IF TG_OP = 'DELETE' THEN {deleted} END IF; {changed} END"
    )
    assert guards(ONLY_LATER, "postgresql").kept["guard_jobs_row"] == (
        f"BEGIN IF TG_OP = 'DELETE' THEN {deleted} END IF; IF NEW.id IS DISTINCT FROM OLD.id OR NEW.status IS DISTINCT"
        f" FROM OLD.status OR NEW.result IS DISTINCT FROM OLD.result THEN {changed} END IF; RETURN NEW; END"
    )
    truncated = refuse.format("TG_TABLE_NAME || ': a record cannot be deleted'")
    assert guards(IMMUTABLE, "postgresql").kept["guard_jobs_truncate"] == f"BEGIN {truncated} END"


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_records_of_a_released_run_can_be_deleted(engine: str) -> None:
    tables = [
        replace(table("jobs", column("status")), lifecycle=IMMUTABLE, record_type="job"),
        replace(table("notes", column("text")), lifecycle=IMMUTABLE),
        replace(table("marks", column("text")), lifecycle=IMMUTABLE),
        replace(table("gone"), lifecycle=IMMUTABLE, releases=("notes",)),
    ]
    make = {"sqlite": sqlite_guards, "postgresql": postgresql_guards}[engine]
    kept = make(snapshot(1, *tables)).kept
    is_gone = "EXISTS (SELECT 1 FROM gone WHERE gone.run_id = OLD.run_id)"
    conditions = {
        "sqlite": f" WHEN NOT {is_gone} BEGIN SELECT RAISE",
        "postgresql": f"THEN IF {is_gone} THEN RETURN OLD; END IF; RAISE",
    }
    with_condition = {name for name, text in kept.items() if conditions[engine] in text}
    ending = {"sqlite": "delete", "postgresql": "row"}[engine]
    assert with_condition == {f"guard_jobs_{ending}", f"guard_notes_{ending}"}


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_table_without_lifecycle_has_no_triggers(engine: str) -> None:
    assert [name for name in guards(None, engine).kept if "jobs" in name] == []


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_trigger_that_exists_is_dropped_before_it_is_created(engine: str) -> None:
    made = guards(OPEN, engine)
    for name in made.kept:
        (dropped,) = (
            number for number, each in enumerate(made.statements) if each.startswith(f"DROP TRIGGER IF EXISTS {name}")
        )
        assert made.statements[dropped + 1].startswith(f"CREATE TRIGGER {name} ")


def test_every_trigger_of_postgresql_is_always_on() -> None:
    made = guards(OPEN, "postgresql")
    enabled = [each for each in made.statements if each.startswith("ALTER TABLE")]
    assert [each.rpartition(" ")[2] for each in enabled] == list(made.kept)
    assert all(" ENABLE ALWAYS TRIGGER " in each for each in enabled)
