"""Imports restore a run exactly, or change nothing.

The message says where the export is wrong.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import create_engine, func, inspect, make_url, select

from elspeth.core.canonical import canonical_bytes
from elspeth.core.landscape.database import LandscapeDB, LandscapeError, SchemaCompatibilityError
from elspeth.core.landscape.database.errors import RunNotFoundError
from elspeth.core.landscape.exporting import importer
from elspeth.core.landscape.exporting.exporter import LandscapeExporter, ManifestBuilder
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.forms import ExportError
from elspeth.core.landscape.exporting.importer import import_export, import_into, open_migrated
from elspeth.core.landscape.exporting.reader import read_export
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.sealing.check import check_seals
from elspeth.core.landscape.sealing.seal import read_secret
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import AuditRecord, RunStatus
from elspeth_schema.records import RECORD_TYPES
from elspeth_schema.tables import metadata
from tests.core.landscape.sealing.test_seal import drop_guards
from tests.fixtures.effort import some_of
from tests.fixtures.kept import exports_of
from tests.fixtures.landscapes import NewLandscape, in_memory
from tests.fixtures.rich_run import export_to, recorded, rich_run

FIRST_RELEASE = Path(__file__).parents[3] / "data" / "first_release"

LOSSLESS = [ExportFormat.JSONL, ExportFormat.JSON, ExportFormat.PARQUET, ExportFormat.CSV]
RUNS = {
    "rich": rich_run(),
    "running": rich_run(status=RunStatus.RUNNING),
    "without rows": rich_run()[:1],
}


def content(path: Path) -> dict[str, bytes]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {file.name if path.is_dir() else "": file.read_bytes() for file in files}


def record_counts(db: LandscapeDB) -> dict[str, int]:
    with db.snapshot() as connection:
        counts = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (record_type.table for record_type in RECORD_TYPES.values())
        }
    return {name: count for name, count in counts.items() if count}


def written(path: Path, lines: Sequence[bytes]) -> Path:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def edited(tmp_path: Path, record_type: str, key: str, **changes: object) -> Path:
    """Write an export with a changed record and fitting manifest.

    Without changes the record is removed.
    """
    lines = export_to(tmp_path / "original", ExportFormat.JSONL).read_bytes().splitlines()
    builder, kept = ManifestBuilder(), list[bytes]()
    for line in lines[:-1]:
        record = json.loads(line)
        if record["record_type"] == record_type and key in record.values():
            if not changes:
                continue
            record |= changes
        kept.append(canonical_bytes(record))
        builder.add(record, kept[-1])
    manifest = builder.manifest(signed=False, include_payloads=False)
    return written(tmp_path / "edited.jsonl", [*kept, canonical_bytes(manifest)])


def line_of(path: Path, record_type: str, key: str) -> int:
    """Return the line number of a record."""
    records = map(json.loads, path.read_bytes().splitlines())
    numbered = enumerate(records, start=1)
    return next(number for number, each in numbered if each["record_type"] == record_type and key in each.values())


def refusal(db: LandscapeDB, path: Path) -> str:
    with pytest.raises(ExportError) as refused:
        import_export(db, path)
    assert record_counts(db) == {}
    return str(refused.value).removeprefix(f"{path}, ")


# -- there and back ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "run", "key", "include_payloads"),
    some_of(
        [
            pytest.param(form, run, key, key is not None, id=f"{form}-{name}-{key is not None}")
            for form in LOSSLESS
            for name, run in RUNS.items()
            for key in (None, b"key")
        ],
        1,
    ),
)
def test_exporting_an_import_gives_the_same_export(
    landscape: LandscapeDB,
    tmp_path: Path,
    form: ExportFormat,
    run: list[AuditRecord],
    key: bytes | None,
    *,
    include_payloads: bool,
) -> None:
    first = export_to(tmp_path / "first", form, run, signing_key=key, include_payloads=include_payloads)
    summary = import_export(landscape, first, signing_key=key)
    again = tmp_path / "again"
    write_export(landscape, run[0].run_id, again, format=form, signing_key=key, include_payloads=include_payloads)
    assert content(again) == content(first)
    assert (summary.run_id, summary.record_count) == ("run-1", len(run))
    assert (summary.signed, summary.signatures_checked) == (key is not None, key is not None)


@pytest.mark.postgres
@pytest.mark.parametrize("form", LOSSLESS)
def test_a_run_round_trips_through_the_other_database(
    on_postgresql: NewLandscape, tmp_path: Path, form: ExportFormat
) -> None:
    first = export_to(tmp_path / "first", form)
    with on_postgresql() as server:
        import_export(server, first)
        write_export(server, "run-1", tmp_path / "second", format=form)
    with in_memory() as db:
        import_export(db, tmp_path / "second")
        write_export(db, "run-1", tmp_path / "third", format=form)
    assert content(first) == content(tmp_path / "second") == content(tmp_path / "third")


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_an_import_does_not_depend_on_the_number_of_rows_inserted_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(importer, "_ROWS", size)
    first = export_to(tmp_path / "first", ExportFormat.JSONL)
    with in_memory() as db:
        import_export(db, first)
        write_export(db, "run-1", tmp_path / "again", format=ExportFormat.JSONL)
    assert content(tmp_path / "again") == content(first)


def test_an_older_export_is_imported_whole_however_few_rows_are_inserted_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "_ROWS", 1)
    older, again = exports_of(5) / "trail.jsonl", tmp_path / "again.jsonl"
    with in_memory() as db:
        write_export(db, import_export(db, older).run_id, again, format=ExportFormat.JSONL)
    before, after = (json.loads(path.read_bytes().splitlines()[-1]) for path in (older, again))
    assert after["counts"] == before["counts"]


@pytest.mark.parametrize(
    ("path", "has_secret"),
    [
        (exports_of(5) / "trail.jsonl", True),
        (exports_of(5) / "parquet", True),
        (exports_of(5) / "bag", False),
        (FIRST_RELEASE / "recorded-in-epoch1.zip", False),
    ],
    ids=["lines", "parquet", "bag", "bag of the first release"],
)
def test_only_runs_recorded_before_seals_get_no_secret(landscape: LandscapeDB, path: Path, has_secret: bool) -> None:
    run_id = import_export(landscape, path).run_id
    with landscape.snapshot() as connection:
        assert (read_secret(connection, run_id) is not None) is has_secret


def test_a_migrated_copy_is_known_by_the_path_of_the_export() -> None:
    older = exports_of(5) / "trail.jsonl"
    with open_migrated(read_export(older)) as database:
        assert (database.url, database.is_copy) == (str(older), True)
        with pytest.raises(RunNotFoundError) as refused:
            list(LandscapeExporter(database).export_run("nowhere"))
    assert str(refused.value) == f"run 'nowhere' is not in the audit database {older}"


def test_withheld_columns_stay_empty(landscape: LandscapeDB, tmp_path: Path) -> None:
    import_export(landscape, export_to(tmp_path / "export", ExportFormat.JSONL))
    table = metadata.tables["validation_errors"]
    with landscape.snapshot() as connection:
        assert connection.execute(select(table.c.row_data_json)).scalars().all() == [None]


def test_an_ended_run_is_sealed_as_it_is_imported(landscape: LandscapeDB, tmp_path: Path) -> None:
    import_export(landscape, export_to(tmp_path / "export", ExportFormat.JSONL))
    with landscape.snapshot() as connection:
        report = check_seals(connection)
        assert (report.verdict, report.faults, report.unsealed) == ("1 of 1 sealed runs unchanged", (), ())
        assert read_secret(connection, "run-1") is not None
    with landscape.write_transaction() as connection:
        drop_guards(connection)
        connection.exec_driver_sql("UPDATE nodes SET plugin_version = '9' WHERE sequence_in_pipeline = 0")
    with landscape.snapshot() as connection:
        (fault,) = check_seals(connection).faults
    assert fault.table == "nodes"


def test_a_run_that_has_not_ended_gets_no_seal(landscape: LandscapeDB, tmp_path: Path) -> None:
    with in_memory() as db:
        recorded(db, rich_run(status=RunStatus.RUNNING))
        write_export(db, "run-1", tmp_path / "export", format=ExportFormat.JSONL)
    import_export(landscape, tmp_path / "export")
    with landscape.snapshot() as connection:
        report = check_seals(connection)
        assert (report.faults, report.unfinished) == ((), {"run-1": "running"})
        assert read_secret(connection, "run-1") is None


def test_content_with_another_hash_is_refused(landscape: LandscapeDB, tmp_path: Path) -> None:
    path = tmp_path / "export"
    with in_memory() as db:
        recorder = LandscapeRecorder(db)
        recorder.begin_run({}, "v1", run_id="run")
        recorder.record_validation_error("run", None, {"name": "Ada"}, "refused", "dynamic", "discard")
        recorder.complete_run("run", "completed")
        write_export(db, "run", path, format=ExportFormat.JSONL, include_payloads=True)
        import_into(f"sqlite:///{tmp_path / 'whole.db'}", path)
        with db.write_transaction() as connection:
            drop_guards(connection)
            connection.exec_driver_sql("UPDATE validation_errors SET row_data_json = '{}'")
            connection.exec_driver_sql("DELETE FROM run_secrets")
        write_export(db, "run", path, format=ExportFormat.JSONL, include_payloads=True)
    with pytest.raises(AuditIntegrityError, match="row_data_json: expected the content with the SHA-256"):
        import_export(landscape, path)
    assert sum(record_counts(landscape).values()) == 0


def test_progress_counts_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "_ROWS", 2)
    counts: list[int] = []
    with in_memory() as db:
        import_export(db, export_to(tmp_path / "export", ExportFormat.JSONL), progress=counts.append)
    assert counts[:5] == [1, 2, 3, 5, 6]  # a run, a secret, a process, three nodes
    assert counts[-1] == 37


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.postgres
def test_the_message_about_a_database_with_runs_hides_its_password(postgresql_url: str, tmp_path: Path) -> None:
    path = export_to(tmp_path / "export", ExportFormat.JSONL)
    url = make_url(postgresql_url).set(password="hidden")
    import_into(url.render_as_string(hide_password=False), path)
    with pytest.raises(LandscapeError) as refused:
        import_into(url.render_as_string(hide_password=False), path)
    assert str(refused.value).startswith(f"audit database {url.render_as_string()} already holds runs: ")


def test_a_database_with_runs_is_refused(landscape: LandscapeDB, tmp_path: Path) -> None:
    path = export_to(tmp_path / "export", ExportFormat.JSONL)
    recorded(landscape, rich_run("run-2"))
    before = record_counts(landscape)
    with pytest.raises(LandscapeError) as refused:
        import_export(landscape, path)
    assert str(refused.value) == (
        f"audit database {landscape.url} already holds runs: an export is imported into a database without any."
        " Nothing was changed. Name another database."
    )
    assert record_counts(landscape) == before


def mutations() -> Iterator[tuple[str, list[bytes], str]]:
    """Yield damaged exports: name, lines, and where it is noticed."""
    with in_memory() as db:
        recorded(db, rich_run())
        recorded(db, rich_run("run-2"))
        lines, others = (list(LandscapeExporter(db).export_lines(run_id)) for run_id in ("run-1", "run-2"))
    records, middle = len(lines) - 1, next(at for at, line in enumerate(lines) if b'"record_type":"call"' in line)
    before, line, after = lines[:middle], lines[middle], lines[middle + 1 :]
    yield "lost", [*before, *after], f"line {records}: manifest: record_count:"
    yield "repeated", [*before, line, line, *after], f"line {middle + 2}: "
    yield "swapped", [*before, after[0], line, *after[1:]], f"line {middle + 2}: "
    yield "cut-off", before, f"after line {middle}: "
    yield "without-manifest", lines[:-1], f"after line {records}: "
    yield "of-another-run", [*before, others[middle], *after], f"line {middle + 1}: run_id: "
    altered = [each.replace(b'"size_bytes":0', b'"size_bytes":1') for each in lines]
    yield "altered", altered, f"line {records + 1}: manifest: final_"
    yield "not-JSON", [*before, b"?", *after], f"line {middle + 1}: "
    yield "unknown-field", [lines[0].replace(b'"config_hash"', b'"conf":1,"config_hash"'), *lines[1:]], "line 1: runs "
    yield (
        "unknown-type",
        [lines[0], lines[1].replace(b"secret_res", b"secrets_re"), *lines[2:]],
        "line 2: record_type: ",
    )


@pytest.mark.parametrize(("lines", "where"), [pytest.param(*rest, id=name) for name, *rest in mutations()])
def test_a_damaged_export_leaves_nothing(
    landscape: LandscapeDB, tmp_path: Path, lines: list[bytes], where: str
) -> None:
    assert refusal(landscape, written(tmp_path / "export", lines)).startswith(where)


def test_a_dangling_reference_is_refused(landscape: LandscapeDB, tmp_path: Path) -> None:
    path = edited(tmp_path, "edge", "edge-2", to_node_id="node-9")
    problem = (
        "edges run_id='run-1' edge_id='edge-2': to_node_id: expected an existing node of the same run, got 'node-9'"
    )
    assert refusal(landscape, path) == f"line {line_of(path, 'edge', 'edge-2')}: {problem}"


def test_a_reference_to_a_lost_record_is_refused(landscape: LandscapeDB, tmp_path: Path) -> None:
    path = edited(tmp_path, "edge", "edge-1")
    expected = "edge_id: expected an existing edge of the same run, got 'edge-1'"
    problem = f"routing_events run_id='run-1' event_id='event-1': {expected}"
    assert refusal(landscape, path) == f"line {line_of(path, 'routing_event', 'event-1')}: {problem}"


def test_a_value_that_must_be_unique_is_refused(landscape: LandscapeDB, tmp_path: Path) -> None:
    path = edited(tmp_path, "batch_member", "token-4", ordinal=1)
    expected = "batch_id, ordinal: expected what no other batch_member of the same run has, got ['batch-1', 1]"
    problem = f"batch_members run_id='run-1' batch_id='batch-1' token_id='token-4': {expected}"
    assert refusal(landscape, path) == f"line {line_of(path, 'batch_member', 'token-4')}: {problem}"


# -- the database to import into ---------------------------------------------------------------------------------------


def table_names(url: str) -> list[str]:
    engine = create_engine(url)
    try:
        return inspect(engine).get_table_names()
    finally:
        engine.dispose()


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Write an export without its manifest."""
    path = export_to(tmp_path / "damaged.jsonl", ExportFormat.JSONL)
    return written(path, path.read_bytes().splitlines()[:-1])


def test_a_new_file_is_removed_when_the_import_fails(tmp_path: Path, damaged: Path) -> None:
    with pytest.raises(ExportError):
        import_into(f"sqlite:///{tmp_path / 'new.db'}", damaged)
    assert list(tmp_path.iterdir()) == [damaged]


def test_a_database_without_tables_has_none_when_the_import_fails(database_url: str, damaged: Path) -> None:
    assert table_names(database_url) == []  # SQLite: the file is there now
    with pytest.raises(ExportError):
        import_into(database_url, damaged)
    assert table_names(database_url) == []


def test_a_database_without_runs_has_none_when_the_import_fails(database_url: str, damaged: Path) -> None:
    with LandscapeDB(database_url) as db:
        with pytest.raises(ExportError):
            import_into(database_url, damaged)
        assert record_counts(db) == {}


@pytest.mark.parametrize("exists", [False, True])
def test_an_import_creates_the_same_database_as_a_run(database_url: str, tmp_path: Path, *, exists: bool) -> None:
    if exists:
        LandscapeDB(database_url).close()
    path = export_to(tmp_path / "export", ExportFormat.JSONL)
    assert import_into(database_url, path).record_count == 37
    with LandscapeDB(database_url, create_tables=False) as db:
        assert record_counts(db)["tokens"] == 4


def test_a_database_with_runs_is_left_alone(database_url: str, tmp_path: Path) -> None:
    path = export_to(tmp_path / "export", ExportFormat.JSONL)
    import_into(database_url, path)
    with pytest.raises(LandscapeError, match="already holds runs"):
        import_into(database_url, path)


def test_a_foreign_database_is_refused(tmp_path: Path, damaged: Path) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE shopping (item TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(SchemaCompatibilityError):
        import_into(f"sqlite:///{path}", damaged)
    assert path.read_bytes() == before


def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path, damaged: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"not a database at all" * 100)
    before = path.read_bytes()
    with pytest.raises(LandscapeError, match="file is not a database"):
        import_into(f"sqlite:///{path}", damaged)
    assert path.read_bytes() == before


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/db"])
def test_a_meaningless_url_is_refused(url: str, damaged: Path) -> None:
    with pytest.raises(LandscapeError, match=r"^audit database URL .* is not usable: "):
        import_into(url, damaged)


@pytest.mark.parametrize("fails", [False, True])
def test_a_database_that_another_process_creates_meanwhile_is_kept(tmp_path: Path, *, fails: bool) -> None:
    export, path = export_to(tmp_path / "trail.jsonl", ExportFormat.JSONL), tmp_path / "new.db"
    if fails:
        export.write_bytes(export.read_bytes()[:-10])

    def record_another_run(_: int) -> None:
        if not path.exists():
            with LandscapeDB(f"sqlite:///{path}") as db:
                LandscapeRecorder(db).begin_run({}, "v1", run_id="another")

    expected = ExportError if fails else LandscapeError
    with pytest.raises(expected, match=None if fails else "was created by another process meanwhile"):
        import_into(f"sqlite:///{path}", export, progress=record_another_run)
    with LandscapeDB(f"sqlite:///{path}", create_tables=False) as db:
        assert [run.run_id for run in LandscapeRecorder(db).list_runs()] == ["another"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["new.db", "trail.jsonl"]
