"""The records of a run, from databases and exports."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select, update

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.errors import RunNotFoundError
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import READABLE, ExportFormat
from elspeth.core.landscape.exporting.forms import ExportError
from elspeth.core.landscape.lines.reading import read_lines, split
from elspeth.core.landscape.sealing.check import AlteredRunError
from elspeth.report.records import RunRecords, open_database_records, open_export_records
from elspeth.report.writing import check_target, write_report
from elspeth_schema import EPOCH
from elspeth_schema.records import RECORD_TYPES
from elspeth_schema.tables import tokens_table
from tests.core.landscape.sealing.test_seal import drop_guards
from tests.fixtures.landscapes import NewLandscape
from tests.fixtures.rich_run import recorded, rich_run
from tests.fixtures.told_run import record_told_run

LEGACY = Path(__file__).parent.parent / "data" / "legacy"


@pytest.fixture
def landscape(new_landscape: NewLandscape) -> Iterator[LandscapeDB]:
    with new_landscape() as database:
        recorded(database, rich_run())
        yield database


def lines_of(records: RunRecords) -> list[bytes]:
    return [line for batch in records.lines() for line in batch]


def counts_of(connection: Connection) -> dict[str, int]:
    """Count the records in the tables by type."""
    return {
        name: connection.execute(select(func.count()).select_from(each.table)).scalar_one()
        for name, each in RECORD_TYPES.items()
    }


def test_a_database_and_its_exports_give_the_same_lines_and_tables(landscape: LandscapeDB, tmp_path: Path) -> None:
    *expected, _ = LandscapeExporter(landscape).export_lines("run-1")
    with open_database_records(landscape, "latest") as records:
        counts, withheld = counts_of(records.connection), records.withheld
        assert lines_of(records) == expected
        assert lines_of(records) == expected, "they can be read again"
    for form in sorted(READABLE):
        path = tmp_path / form.value
        write_export(landscape, "run-1", path, format=form)
        seen: list[int] = []
        with open_export_records(path, progress=seen.append) as records:
            assert records.run_id == "run-1"
            assert records.withheld == withheld
            assert lines_of(records) == lines_of(records) == expected
            assert counts_of(records.connection) == counts
        assert seen[-1] == len(expected)


def test_nothing_is_withheld_from_lines_with_the_content(landscape: LandscapeDB, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write_export(landscape, "run-1", path, format=ExportFormat.JSONL, include_payloads=True)
    with open_export_records(path) as records:
        assert records.withheld == ()
        assert lines_of(records) == path.read_bytes().splitlines()[:-1]


def test_an_older_export_keeps_its_lines_and_gets_todays_tables() -> None:
    path = LEGACY / "epoch5-exports" / "trail.jsonl"
    with open_export_records(path) as records:
        assert lines_of(records) == path.read_bytes().splitlines()[:-1]
        assert counts_of(records.connection)["run"] == 1


@pytest.mark.parametrize("epoch", [5, EPOCH])
def test_a_report_of_an_older_export_holds_lines_of_todays_epoch(epoch: int, tmp_path: Path) -> None:
    with open_export_records(LEGACY / f"epoch{epoch}-exports" / "trail.jsonl") as records:
        assert records.epoch == epoch
        written = write_report(records, tmp_path / "report.html", check_target(tmp_path / "report.html"))
        batches = read_lines(records.connection, records.run_id, split)
        expected = [line for _, _, lines in batches for line in lines]
    packed = re.findall(r'class="block">([^<]*)<', (tmp_path / "report.html").read_text(encoding="utf-8"))
    blocks = (zlib.decompress(base64.b64decode(each)).split(b"\n") for each in packed)
    assert [line for block in blocks for line in block] == expected
    assert written.records == written.embedded == len(expected)


def test_a_run_that_cannot_be_shown_is_refused(landscape: LandscapeDB, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write_export(landscape, "run-1", path, format=ExportFormat.JSONL)
    with pytest.raises(RunNotFoundError, match="holds run 'run-1', not 'other'"), open_export_records(path, "other"):
        pass
    with open_export_records(path, "run-") as records:
        assert records.run_id == "run-1"
    path.write_bytes(path.read_bytes().replace(b'"row_index":1', b'"row_index":7', 1))
    with pytest.raises(ExportError), open_export_records(path):
        pass
    with pytest.raises(RunNotFoundError), open_database_records(landscape, "other"):
        pass


def test_the_lines_of_an_altered_run_end_with_an_error(new_landscape: NewLandscape) -> None:
    with new_landscape() as database:
        record_told_run(database)
        with database.write_transaction() as connection:
            drop_guards(connection)
            connection.execute(update(tokens_table).values(branch_name="other"))
        with open_database_records(database, "latest") as records, pytest.raises(AlteredRunError):
            lines_of(records)
