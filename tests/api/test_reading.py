"""Trails are read from Python, in databases and exports."""

from __future__ import annotations

import gc
import inspect
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import elspeth
from elspeth.api import tables
from elspeth.api.reading import AuditedRun, AuditTrail
from elspeth.cli.program import main
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.database.errors import RunNotFoundError
from elspeth.core.landscape.queries.story.model import story_json
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.records.store import RecordStore
from elspeth_schema.arrow import SCHEMAS
from elspeth_schema.records import RECORD_TYPES
from tests.fixtures.example_runs import ExampleRun
from tests.fixtures.legacy import LEGACY
from tests.fixtures.rich_run import recorded, rich_run

FORMS = ("database", "jsonl", "csv", "parquet", "bag")


@pytest.fixture(scope="module")
def places(example_run: ExampleRun, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return one run, in a database and in exports."""
    database = example_run("deaggregation").database
    directory = tmp_path_factory.mktemp("places")
    found = {"database": database}
    for form in FORMS[1:]:
        found[form] = directory / form
        assert main(["export", "latest", "-d", str(database), "--format", form, "-o", str(found[form])]) == 0
    return found


@pytest.fixture(params=FORMS)
def run(request: pytest.FixtureRequest, places: dict[str, Path]) -> AuditedRun:
    trail = elspeth.open(places[request.param])
    request.addfinalizer(trail.close)  # noqa: PT021
    return trail.run("latest")


def test_every_form_of_a_trail_gives_the_same_answers(run: AuditedRun, places: dict[str, Path]) -> None:
    with elspeth.open(str(places["database"])) as trail:
        expected = trail.run(run.run_id[:8])
        assert run.record == expected.record
        assert run._trail.run_records() == [run.record]
        with run.recorded() as (connection, run_id), run._trail.snapshot() as same:
            assert (run_id, same.engine.url) == (run.run_id, connection.engine.url)
        assert run.settings == expected.settings
        assert [*run.rows()] == [*expected.rows()]
        assert [*run.rows(outcome="completed")] != []
        assert {each.outcome for each in run.rows(outcome="completed")} == {"completed"}
        assert [*run.outputs()] == [*expected.outputs()]
        assert run.failures() == expected.failures()
        assert story_json(run.explain(1)) == story_json(expected.explain(1))
        for name in RECORD_TYPES:
            assert [*run.records(name)] == [*expected.records(name)]


def test_rows_are_selected_by_sink_step_and_reason(example_run: ExampleRun) -> None:
    with elspeth.open(example_run("error_routing").database) as trail:
        run = trail.run()
        every = list(run.rows())
        for found, is_selected in (
            (run.rows(sink="high"), lambda each: each.sink == "high"),
            (run.rows(step="field_mapper_1"), lambda each: each.step == "field_mapper_1"),
            (run.rows(reason="division"), lambda each: "division" in (each.reason or "")),
        ):
            expected = list(filter(is_selected, every))
            assert 0 < len(expected) < len(every)
            assert list(found) == expected
        failed = run.failures()
        html = run._repr_html_()
        assert f"<td>rows with failures</td><td>{failed.count}</td>" in html
        assert all(f"<td>{each.count} at {each.node_id}: {each.kind}: " in html for each in failed.reasons)


def test_tables_have_the_types_of_the_schema_and_the_values_of_the_records(run: AuditedRun) -> None:
    for name, schema in SCHEMAS.items():
        table = run.records(name).to_arrow()
        kept = [field for field in schema if field.name in table.schema.names]
        assert table.schema.equals(pa.schema(kept))
        times = {field.name for field in kept if pa.types.is_timestamp(field.type)}
        plain = [[value for key, value in row.items() if key not in times] for row in table.to_pylist()]
        assert plain == [[value for key, value in row.items() if key not in times] for row in run.records(name)]
    rows = run.rows()
    assert rows.to_arrow().to_pylist() == [asdict(row) for row in rows]
    assert {field.name for field in rows.to_arrow().schema if field.nullable} == {"sink", "step", "kind", "reason"}
    assert rows.to_pandas().to_dict("list") == rows.to_arrow().to_pydict()
    assert rows.to_polars().to_dicts() == rows.to_arrow().to_pylist()


def test_a_database_url_can_be_opened(database_url: str) -> None:
    with LandscapeDB.from_url(database_url) as db:
        run_id = recorded(db, rich_run())
    with elspeth.open(database_url) as trail:
        [run] = trail.runs()
        assert run.run_id == run_id
        states = run.records("node_state")
        assert states.to_arrow().column("state_id").to_pylist() == [each["state_id"] for each in states]
        errors = run.records("validation_error")
        assert [each.keys() for each in errors] == [{*errors.to_arrow().column_names}]
        assert "row_data_json" not in errors._repr_html_() + str(*errors)
        with pytest.raises(RunNotFoundError, match="holds no run 'other'"):
            trail.run("other")


def test_a_notebook_shows_runs_rows_and_records_escaped(
    example_run: ExampleRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    with elspeth.open(example_run("boolean_routing").database) as trail:
        run = trail.run()
        assert f"<td>{run.run_id}</td>" in trail._repr_html_()
        assert "<td>completed</td>" in run._repr_html_()
        assert run.record.started_at != run.record.completed_at
        assert f"<td>began</td><td>{run.record.started_at}</td>" in run._repr_html_()
        assert f"<td>ended</td><td>{run.record.completed_at}</td>" in run._repr_html_()
        html = run.records("node")._repr_html_()
        assert "<th>config_json</th>" in html
        assert "row[&#x27;" in html
        assert "row['" not in html
        monkeypatch.setattr(tables, "_SHOWN", 2)
        shown = run.records("node")._repr_html_()
        assert (shown.count("<tr>"), "(the first 2)" in shown) == (3, True)
        monkeypatch.setattr(tables, "_SHOWN", html.count("<tr>") - 1)
        assert run.records("node")._repr_html_() == html
        assert (repr(run.rows()), repr(run)) == (f"<rows of run {run.run_id}>", f"<run {run.run_id}>")


def test_unknown_runs_record_types_and_outcomes_are_refused(tmp_path: Path, places: dict[str, Path]) -> None:
    with pytest.raises(LandscapeError, match="nothing cannot be read: No such file or directory"):
        elspeth.open(tmp_path / "nothing")
    with elspeth.open(places["bag"]) as trail:
        with pytest.raises(RunNotFoundError, match=r"holds run .*, not 'other'"):
            trail.run("other")
        with pytest.raises(ValueError, match="unknown record type 'tokens': expected one of run, "):
            trail.run().records("tokens")
        with pytest.raises(ValueError, match="'lost' is not a valid RowOutcome"):
            trail.run().rows(outcome="lost")


@pytest.mark.parametrize("form", FORMS)
def test_a_trail_stays_open_as_long_as_its_runs_are_used(places: dict[str, Path], form: str) -> None:
    first = elspeth.open(places[form]).runs()[0]
    gc.collect()
    assert first.run_id == elspeth.open(places[form]).run("latest").record.run_id
    rows = elspeth.open(places[form]).run("latest").rows()
    gc.collect()
    assert [*rows] == [*first.rows()] != []


@pytest.mark.parametrize("form", FORMS)
def test_a_run_is_named_by_the_beginning_of_its_id(places: dict[str, Path], form: str) -> None:
    with elspeth.open(places[form]) as trail:
        run_id = trail.run().run_id
        for name in ("latest", run_id, run_id[:8]):
            assert (trail.run(name).run_id, repr(trail.run(name))) == (run_id, f"<run {run_id}>")
        for name in (run_id[1:9], run_id + "x", "x"):
            with pytest.raises(RunNotFoundError):
                trail.run(name)
        record = trail.run().record
        row = "".join(f"<td>{each}</td>" for each in (run_id, "completed", record.started_at, record.completed_at))
        assert row in trail._repr_html_()


def test_a_closed_trail_leaves_nothing(
    places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with elspeth.open(places["bag"]) as trail:
        assert [*tmp_path.iterdir()] != []
    assert ([*tmp_path.iterdir()], repr(trail)) == ([], f"<audit trail {places['bag']}>")


def test_a_run_of_an_older_database_keeps_its_copy(tmp_path: Path) -> None:
    shutil.copy(LEGACY / "epoch4-audit-export.db", tmp_path / "old.db")
    run = elspeth.open(tmp_path / "old.db").run()
    gc.collect()
    assert run.record.run_id == run.run_id


def test_an_export_that_was_changed_is_refused(tmp_path: Path, places: dict[str, Path]) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(places["bag"], changed)
    records = changed / "data" / "records.jsonl"
    records.write_bytes(records.read_bytes().replace(b'"completed"', b'"compl\\u0065ted"', 1))
    with pytest.raises(LandscapeError):
        elspeth.open(changed)


@pytest.mark.parametrize(
    ("module", "extra", "call"),
    [
        ("pyarrow", "parquet", lambda table: table.to_arrow()),
        ("pandas", "pandas", lambda table: table.to_pandas()),
        ("polars", "polars", lambda table: table.to_polars()),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    places: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    extra: str,
    call: Callable[[elspeth.Table[Any]], object],
) -> None:
    monkeypatch.setattr("elspeth.contracts.environment.find_spec", lambda name: None if name == module else tables)
    with elspeth.open(places["database"]) as trail, pytest.raises(LandscapeError) as caught:
        call(trail.run().rows())
    assert str(caught.value) == (
        f"the table needs {module}, which is not installed: in a checkout of elspeth, pip install '.[{extra}]'"
    )


PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")


NAME = attrgetter("__qualname__")


@pytest.mark.parametrize(
    "call", [elspeth.run, elspeth.resume, elspeth.open, AuditTrail.run, AuditedRun.explain], ids=NAME
)
def test_the_errors_of_a_call_can_be_caught(call: Callable[..., object]) -> None:
    named = re.findall(r"\b[A-Z]\w+Error\b", inspect.getdoc(call) or "")
    assert set(named) <= set(elspeth.__all__)
    assert named


def test_every_error_of_the_package_is_on_its_page() -> None:
    errors = [name for name in elspeth.__all__ if name.endswith("Error")]
    assert all(issubclass(getattr(elspeth, name), Exception) for name in errors)
    assert sorted(re.findall(r"^\| `(\w+Error)` \|", PAGE, re.MULTILINE)) == errors


def test_the_package_offers_the_api_without_importing_it() -> None:
    assert {"open", "run", "Table"} <= set(dir(elspeth))
    with pytest.raises(AttributeError, match="module 'elspeth' has no attribute 'nothing'"):
        elspeth.nothing  # noqa: B018
    program = "import sys, elspeth; print(sorted(name for name in sys.modules if name.startswith('elspeth')))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "['elspeth']\n"


def test_runs_are_listed_by_when_they_began_whatever_their_ids(tmp_path: Path) -> None:
    with LandscapeDB(f"sqlite:///{tmp_path}/audit.db") as database:
        for run_id in ("b", "a"):
            LandscapeRecorder(database).begin_run({}, "v1", run_id=run_id)
    with elspeth.open(tmp_path / "audit.db") as trail:
        assert [run.run_id for run in trail.runs()] == ["b", "a"]
        assert trail.run_records() == [run.record for run in trail.runs()]
        assert trail.run_records(newest=1) == [trail.run("a").record]


def test_runs_that_began_at_once_keep_one_order(tmp_path: Path) -> None:
    with LandscapeDB(f"sqlite:///{tmp_path}/audit.db") as database:
        for run_id in "cab":
            RecordStore(database).add(rich_run(run_id)[0])
    with elspeth.open(tmp_path / "audit.db") as trail:
        assert [run.run_id for run in trail.runs()] == ["a", "b", "c"]
        assert [each.run_id for each in trail.run_records()] == ["a", "b", "c"]
        assert [each.run_id for each in trail.run_records(newest=2)] == ["b", "c"]
        assert trail.run_records(newest=0) == []
        for run in trail.runs():
            assert (run.record.run_id, len([*run.records("run")])) == (run.run_id, 1)
