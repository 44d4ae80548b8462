"""Lines rendered by a database equal those made by contracts.

This holds whatever somebody has written into the database.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from elspeth.core.canonical import canonical_bytes
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.lines import reading
from elspeth.core.landscape.lines.reading import read_chunks, read_records
from elspeth.core.landscape.lines.rendering import KeyRange, format_float, line_pattern, render_lines
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES, Kind, RecordType
from tests.fixtures.corruption import plant
from tests.fixtures.effort import some_of
from tests.fixtures.every_type import record_missing_types
from tests.fixtures.landscapes import NewLandscape
from tests.fixtures.records import record_everything

EVERY_TYPE = pytest.mark.parametrize("record_type", RECORD_TYPES.values(), ids=RECORD_TYPES)

TEXTS = ("''", "'x'", "'{}'", "'null'", "' 1'", "'NaN'", "'a\n\"b\":null'", r"'\u0041'", "NULL")
NUMBERS = ("-1", "0", "2", "7", "9007199254740991", "9007199254740992", "NULL")
FLOATS = ("-1.0", "-0.0", "0.5", "1e21", "1e-7", "9007199254740993.0", "NULL")
ODD = {
    ("sqlite", Kind.TEXT): (*TEXTS, "1", "0.5", "x'ff'", "char(0)", "char(55296)"),
    ("sqlite", Kind.JSON): (*TEXTS, "1", "0.5", "x'7b7d'", "'[1,]'", "'{a:1}'", "'[NaN]'"),
    ("sqlite", Kind.INTEGER): (*NUMBERS, "0.5", "'x'", "x'31'", "'1'"),
    ("sqlite", Kind.BOOLEAN): (*NUMBERS, "0.5", "'x'", "x'31'", "'true'"),
    ("sqlite", Kind.REAL): (*FLOATS, "9e999", "'x'", "x'31'", "1"),
    ("sqlite", Kind.TIMESTAMP): (
        *("'2026-01-01'", "'2026-13-01 00:00:00.000000'", "'2026-01-01 00:00:00.000000'", "'2026-01-01 00:00:00'"),
        *("'2026-01-01T00:00:00.000000'", "'2026-01-01 00:00:00.000000Z'", "1", "NULL"),
        "CAST('2026-01-01 00:00:00.000000' AS BLOB)",
    ),
    ("postgresql", Kind.TEXT): TEXTS,
    ("postgresql", Kind.JSON): (*TEXTS, "'[1,]'", "'[NaN]'"),
    ("postgresql", Kind.INTEGER): NUMBERS,
    ("postgresql", Kind.BOOLEAN): NUMBERS,
    ("postgresql", Kind.REAL): (*FLOATS, "'NaN'", "'Infinity'"),
    ("postgresql", Kind.TIMESTAMP): (
        *("'2026-01-01'", "'2026-01-01 00:00:00+14:00'", "'0044-03-15 BC'", "'0001-01-01 00:00:00+14:00'"),
        *("'10000-01-01'", "'infinity'", "'-infinity'", "NULL"),
    ),
}
"""What somebody may write into a column of a kind, as SQL."""


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def full(request: pytest.FixtureRequest) -> Iterator[LandscapeDB]:
    """Fill a database with every type, and drop its checks."""
    new: NewLandscape = LandscapeDB.in_memory if request.param == "sqlite" else request.getfixturevalue("on_postgresql")
    with new() as database:
        record_everything(LandscapeRecorder(database))
        record_missing_types(database, "run")
        plant(database, "UPDATE runs SET canonical_version = 'v1'")  # which drops triggers and checks
        if request.param == "sqlite":
            driver = database.engine.raw_connection().driver_connection
            assert driver is not None
            driver.execute("PRAGMA foreign_keys = OFF")
        yield database


def lines_or_error(read: Callable[[], list[bytes]]) -> list[bytes] | str:
    try:
        return read()
    except AuditIntegrityError as error:
        return str(error)
    except DBAPIError as error:
        return str(error.orig)  # a text that is not UTF-8, which no way reads


def fast_way(connection: Connection, record_type: RecordType[AuditRecord]) -> list[bytes]:
    return [line for _, lines in read_chunks(connection, record_type, "run") for line in lines[:-1].split(b"\n")]


def plain_way(connection: Connection, record_type: RecordType[AuditRecord]) -> list[bytes]:
    return [canonical_bytes(record) for record in read_records(connection, record_type, "run")]


@EVERY_TYPE
def test_sound_records_need_no_contract(full: LandscapeDB, record_type: RecordType[AuditRecord]) -> None:
    with full.connection() as connection:
        rendered = list(render_lines(connection, record_type, KeyRange(run_id="run"), 1000))
        assert [[line.encode() for line in lines or ()] for lines in rendered] == [plain_way(connection, record_type)]
        assert line_pattern(record_type.name).fullmatch("".join(f"{line}\n" for line in rendered[0] or ()).encode())


@EVERY_TYPE
def test_both_paths_give_the_same_lines_or_the_same_error(
    full: LandscapeDB, record_type: RecordType[AuditRecord]
) -> None:
    tried = 0
    with full.engine.connect() as connection:
        for turn, column in enumerate(record_type.columns):
            if column.withheld is not None or column.name == "run_id":
                continue
            for value in some_of(ODD[connection.dialect.name, column.kind], turn):
                with connection.begin() as transaction:
                    if written(connection, record_type.table.name, column.name, value):
                        tried += 1
                        fast = lines_or_error(lambda: fast_way(connection, record_type))
                        assert fast == lines_or_error(lambda: plain_way(connection, record_type)), (column.name, value)
                    transaction.rollback()
    assert tried > len(record_type.columns)


def written(connection: Connection, table: str, column: str, value: str) -> bool:
    """Overwrite a value of one record; return whether that worked."""
    row = "rowid" if connection.dialect.name == "sqlite" else "ctid"
    statement = f"UPDATE {table} SET {column} = {value} WHERE {row} = (SELECT min({row}) FROM {table})"  # noqa: S608
    try:
        connection.execute(text(statement.replace(":", r"\:")))
    except DBAPIError:
        return False
    return True


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("44b52d02c7e14af6", "1e+23"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555555", "333333333.3333333"),
    ],
)
def test_floats_are_spelled_as_in_rfc_8785(bits: str, text: str) -> None:
    """Compare with examples of RFC 8785, Appendix B."""
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert format_float(value) == text


@EVERY_TYPE
def test_sound_records_are_read_without_contracts(
    full: LandscapeDB, record_type: RecordType[AuditRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    with full.connection() as connection:
        expected = plain_way(connection, record_type)
        monkeypatch.setattr(reading, "_read_selected", lambda *_, **__: pytest.fail("the database renders these"))
        assert fast_way(connection, record_type) == expected
