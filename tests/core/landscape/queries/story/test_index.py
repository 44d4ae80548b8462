"""The index of an export: made, kept, and trusted."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting import _text_form
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import READABLE, ExportFormat
from elspeth.core.landscape.exporting.forms import ExportError
from elspeth.core.landscape.queries.story import _index, _index_cache
from elspeth.core.landscape.queries.story._index import ExportIndex, is_index
from elspeth.core.landscape.queries.story.model import RowStory
from elspeth.core.landscape.queries.story.reader import row_story
from elspeth.core.landscape.queries.story.trail import open_export
from elspeth.outputs.compression import Compression
from elspeth.outputs.policy import Kind, OutputPolicy
from elspeth.outputs.writing import Output, hold
from elspeth_schema import EPOCH
from elspeth_schema.records import BATCH
from elspeth_schema.tables import rows_table
from tests.fixtures.landscapes import in_memory
from tests.fixtures.told_run import ROWS, record_told_run

EXPORTS: dict[str, dict[str, Any]] = {form.value: {"format": form} for form in sorted(READABLE)} | {
    "zip": {"format": ExportFormat.BAG, "archive": True},
    "signed": {"format": ExportFormat.JSON, "signing_key": b"key"},
    "gzip": {"format": ExportFormat.JSONL, "compression": Compression.GZIP},
    "zstd": {"format": ExportFormat.CSV, "compression": Compression.ZSTD},
}


@pytest.fixture(scope="module")
def told() -> Iterator[LandscapeDB]:
    """Return a database with the run that has every story."""
    with in_memory() as db:
        record_told_run(db)
        yield db


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep indexes of small exports too, with a temporary cache."""
    monkeypatch.setattr(_index_cache, "_SMALL_BYTES", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def export(told: LandscapeDB, tmp_path: Path) -> Path:
    """Return an export in a directory of its own."""
    return exported(told, tmp_path / "exports" / "trail.jsonl", format=ExportFormat.JSONL)


def exported(db: LandscapeDB, path: Path, **options: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    write_export(db, "told", path, **options)  # type: ignore[arg-type]  # the options of the tests
    return path


def stories(path: Path, *, keep: bool = True) -> list[RowStory]:
    with open_export(path, keep=keep) as trail:
        return [row_story(trail, index) for index in range(ROWS)]


@pytest.fixture
def making(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Return a list with an element for each index made."""
    made: list[None] = []
    make = ExportIndex.fill

    def counted(*arguments: object) -> None:
        made.append(None)
        make(*arguments)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(ExportIndex, "fill", counted)
    return made


@pytest.mark.parametrize("name", EXPORTS)
def test_an_index_is_made_once_and_kept_beside_the_export(
    told: LandscapeDB, tmp_path: Path, making: list[None], name: str
) -> None:
    path = exported(told, tmp_path / "exports" / "export", **EXPORTS[name])
    before = contents(path)
    first = stories(path)
    assert [entry.name for entry in sorted(path.parent.iterdir())] == ["export", "export.index"]
    assert is_index(path.parent / "export.index")
    assert stories(path) == first
    assert len(making) == 1
    assert contents(path) == before


def contents(path: Path) -> dict[Path, bytes]:
    files = path.rglob("*") if path.is_dir() else [path]
    return {file: file.read_bytes() for file in files if file.is_file()}


def test_the_first_question_takes_no_memory_per_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python holds is measured; SQLite uses a file."""
    monkeypatch.setattr(_index, "_BATCH", 500)
    with in_memory() as db:  # of its own, as rows are added after the seal
        record_told_run(db)
        add_rows(db, 300)
        small = exported(db, tmp_path / "small.jsonl", format=ExportFormat.JSONL)
        peak = peak_of_first_question(small)
        add_rows(db, 2_500)
        large = exported(db, tmp_path / "large.jsonl", format=ExportFormat.JSONL)
        assert (peak_of_first_question(large) - peak) / 2_500 < 8  # bytes


def peak_of_first_question(export: Path) -> int:
    """Return how many bytes Python held at most."""
    tracemalloc.start()
    try:
        with open_export(export, keep=False) as trail:
            row_story(trail, 0)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def add_rows(db: LandscapeDB, count: int) -> None:
    """Record more rows of the run, which are copies."""
    with db.write_transaction() as connection:
        row = dict(connection.execute(select(rows_table).limit(1)).mappings().one())
        first = connection.scalar(select(func.max(rows_table.c.row_index))) + 1
        copies = [{**row, "row_id": f"copy-{number}", "row_index": number} for number in range(first, first + count)]
        connection.execute(insert(rows_table), copies)


def test_only_the_owner_can_read_an_index(export: Path) -> None:
    stories(export)
    assert (export.parent / "trail.jsonl.index").stat().st_mode & 0o777 == 0o600


def test_the_records_file_of_a_bag_uses_the_index_of_the_bag(
    told: LandscapeDB, tmp_path: Path, making: list[None]
) -> None:
    bag = exported(told, tmp_path / "exports" / "bag", format=ExportFormat.BAG)
    assert stories(bag) == stories(bag / "data" / "records.jsonl")
    assert len(making) == 1
    assert not (bag / "data" / "records.jsonl.index").exists()


# -- where it is not kept ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [None, *Compression])
def test_a_small_export_has_no_index(
    told: LandscapeDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Compression | None
) -> None:
    export = exported(told, tmp_path / "exports" / "trail", format=ExportFormat.JSONL, compression=kind)
    size = export.stat().st_size * (1 if kind is None else 8)
    monkeypatch.setattr(_index_cache, "_SMALL_BYTES", size)
    stories(export)
    assert list(export.parent.iterdir()) == [export]
    monkeypatch.setattr(_index_cache, "_SMALL_BYTES", size - 1)
    stories(export)
    assert len(list(export.parent.iterdir())) == 2


def test_answering_from_the_index_decompresses_nothing(
    told: LandscapeDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = exported(told, tmp_path / "exports" / "trail", format=ExportFormat.JSONL, compression=Compression.GZIP)
    first = stories(export)
    asked: list[Path] = []
    monkeypatch.setattr(_text_form, "open_decompressed", asked.append)
    assert stories(export) == first
    assert asked == []


def test_an_index_is_kept_only_on_request(export: Path) -> None:
    assert stories(export, keep=False) == stories(export)
    (export.parent / "trail.jsonl.index").unlink()
    stories(export, keep=False)
    assert list(export.parent.iterdir()) == [export]


def test_a_file_that_is_not_an_index_is_not_replaced(export: Path, tmp_path: Path, making: list[None]) -> None:
    other = export.parent / "trail.jsonl.index"
    other.write_text("mine")
    assert stories(export) == stories(export)
    assert other.read_text() == "mine"
    assert [is_index(path) for path in (tmp_path / "cache" / "elspeth").iterdir()] == [True]
    assert len(making) == 1


def test_a_fifo_in_place_of_the_index_is_not_opened(export: Path, tmp_path: Path, making: list[None]) -> None:
    fifo = export.parent / "trail.jsonl.index"
    os.mkfifo(fifo)
    ask = f"from {is_index.__module__} import is_index; import pathlib; print(is_index(pathlib.Path({str(fifo)!r})))"
    asked = subprocess.run([sys.executable, "-c", ask], timeout=10, check=True, capture_output=True, text=True)
    assert asked.stdout == "False\n"
    assert stories(export) == stories(export)
    assert fifo.is_fifo()
    assert [is_index(path) for path in (tmp_path / "cache" / "elspeth").iterdir()] == [True]
    assert len(making) == 1


def test_the_index_is_in_the_cache_beside_a_read_only_export(
    export: Path, tmp_path: Path, making: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, policy: OutputPolicy) -> AbstractContextManager[Output]:
        if path.parent == export.parent:
            raise PermissionError(13, "Permission denied")
        return hold(path, policy)

    monkeypatch.setattr(_index_cache, "hold", refused)
    assert stories(export) == stories(export)
    assert list(export.parent.iterdir()) == [export]
    assert len(list((tmp_path / "cache" / "elspeth").iterdir())) == 1
    assert len(making) == 1


def test_the_next_index_removes_what_a_killed_process_left(export: Path) -> None:
    assert subprocess.run([sys.executable, "-c", _KILLED, export], check=False).returncode == -signal.SIGKILL
    assert len(list(export.parent.iterdir())) > 1
    stories(export)
    assert sorted(export.parent.iterdir()) == [export, export.parent / "trail.jsonl.index"]


_KILLED = """
import os, signal, sys
from pathlib import Path
from elspeth.core.landscape.queries.story import _index, _index_cache

def killed(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

_index_cache._SMALL_BYTES = 0
_index_cache.ExportIndex.fill = killed
with _index_cache.open_index(Path(sys.argv[1])):
    pass
"""
"""A process that is killed while it makes an index."""


def test_while_another_process_makes_an_index_a_private_one_is_used(export: Path, tmp_path: Path) -> None:
    with hold(export.parent / "trail.jsonl.index", OutputPolicy(kind=Kind.FILE, objection=lambda _: None)):
        stories(export)
    assert list(export.parent.iterdir()) == [export]
    assert [is_index(path) for path in (tmp_path / "cache" / "elspeth").iterdir()] == [True]


def test_a_question_is_answered_even_if_no_index_can_be_kept(
    export: Path, making: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (export.parent / "trail.jsonl.index").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(export / "cannot be"))
    assert stories(export) == stories(export)
    assert len(making) == 2


# -- when it is not believed -------------------------------------------------------------------------------------------


def test_a_rewritten_export_is_indexed_again(told: LandscapeDB, export: Path, making: list[None]) -> None:
    stories(export)
    exported(told, export, format=ExportFormat.JSONL, signing_key=b"key")
    stories(export)
    assert len(making) == 2
    assert len(list(export.parent.iterdir())) == 2


@pytest.mark.parametrize(
    ("form", "file"),
    [
        (ExportFormat.BAG, "data/records.jsonl"),
        (ExportFormat.BAG, "statement.json"),
        (ExportFormat.CSV, "row.csv"),
        (ExportFormat.CSV, "manifest.json"),
    ],
)
def test_an_export_is_indexed_again_if_one_of_its_files_changed(
    told: LandscapeDB, tmp_path: Path, making: list[None], form: ExportFormat, file: str
) -> None:
    path = exported(told, tmp_path / "exports" / "export", format=form)
    first = stories(path)
    os.utime(path / file, ns=(0, 0))
    assert stories(path) == first
    assert len(making) == 2


@pytest.mark.parametrize("hashed_bytes", [1 << 16, 64], ids=["near the end", "far from the end"])
def test_an_edit_of_the_same_size_and_time_is_found(
    export: Path, making: list[None], monkeypatch: pytest.MonkeyPatch, hashed_bytes: int
) -> None:
    monkeypatch.setattr(_index_cache, "_TAIL_BYTES", hashed_bytes)
    stories(export)
    before = export.stat()
    with export.open("r+b") as file:
        content = file.read()
        file.seek(content.index(b'"row_index":3'))
        file.write(b'"row_index":4')
    os.utime(export, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (export.stat().st_size, export.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    with pytest.raises(ExportError):
        stories(export)
    assert len(making) == 2


def test_an_index_of_another_epoch_is_not_trusted(
    export: Path, making: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stories(export)
    monkeypatch.setattr(_index_cache, "EPOCH", EPOCH + 1)
    assert stories(export) == first
    assert len(making) == 2


def test_values_are_found_in_an_index_that_another_process_made() -> None:
    """Python's own hashes of texts differ from process to process."""
    assert _index._hash("row", 1, "row-0") == zlib.crc32(b"row 1 row-0")


def test_an_empty_variable_names_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    beside, cached = _index_cache._candidates(tmp_path / "trail.jsonl")
    assert beside == tmp_path / "trail.jsonl.index"
    assert cached.parent == tmp_path / ".cache" / "elspeth"
    assert cached != _index_cache._candidates(tmp_path / "other" / "trail.jsonl")[1]


def test_a_copied_index_is_not_trusted(export: Path, tmp_path: Path, making: list[None]) -> None:
    stories(export)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(export.parent, elsewhere)
    for path in (export, elsewhere / "trail.jsonl"):
        os.utime(path, ns=(0, 0))
    stories(elsewhere / "trail.jsonl")
    assert len(making) == 2


def test_an_incomplete_index_is_not_trusted(export: Path, making: list[None]) -> None:
    stories(export)
    with closing(sqlite3.connect(export.parent / "trail.jsonl.index")) as connection:
        connection.execute("DELETE FROM fact WHERE name = 'identity'")
        connection.commit()
    stories(export)
    assert len(making) == 2


def test_a_damaged_index_is_not_trusted(export: Path, making: list[None]) -> None:
    stories(export)
    index = export.parent / "trail.jsonl.index"
    index.write_bytes(index.read_bytes()[:100] + b"x" * 10_000)
    stories(export)
    assert len(making) == 2


def test_a_broken_export_leaves_no_index(export: Path) -> None:
    export.write_bytes(export.read_bytes().replace(b'"row_index":3', b'"row_index":4'))
    with pytest.raises(ExportError):
        stories(export)
    assert list(export.parent.iterdir()) == [export]


def test_an_export_that_changes_while_it_is_read_is_refused(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = ExportIndex.fill

    def meanwhile(*arguments: object) -> None:
        make(*arguments)  # type: ignore[arg-type]  # passed on
        os.utime(export, ns=(0, 0))

    monkeypatch.setattr(ExportIndex, "fill", meanwhile)
    with pytest.raises(ExportError, match=r"was changed while it was read: try again$"):
        stories(export)
    assert list(export.parent.iterdir()) == [export]


def test_other_columns_cannot_be_looked_up(export: Path) -> None:
    with open_export(export) as trail, pytest.raises(ValueError, match=r"^batch records are not looked up by status$"):
        trail.records(BATCH, "status", ["failed"])
