"""Sinks whose file is compressed."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from elspeth.contracts.plugins import PluginError, RowRejectedError, Sink
from elspeth.contracts.rows import RowData
from elspeth.outputs.compression import load_zstd
from elspeth.plugins.manager import PluginManager
from elspeth.plugins.row_spool import row_line

PLUGINS = PluginManager.installed()
ROWS: list[RowData] = [{"id": number, "name": f"n{number}"} for number in range(200)]
ROWS[100]["name"] = "long" * 30_000


def unzstd(content: bytes) -> bytes:
    found: bytes = load_zstd().decompress(content)
    return found


READERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "zstd": unzstd, "none": bytes}


def sink(plugin: str, path: Path, **options: object) -> Sink:
    return PLUGINS.sink(plugin, {"path": str(path), **options})


def publish(opened: Sink, rows: list[RowData]) -> None:
    for row in rows:
        opened.write(row)
    assert opened.finish() is not None
    opened.publish()


@pytest.mark.parametrize("plugin", ["csv", "json", "jsonl"])
@pytest.mark.parametrize(
    ("name", "option", "expected"),
    [
        ("out.gz", None, "gzip"),
        ("out.ZST", None, "zstd"),
        ("out.gz", "none", "none"),
        ("out", "gzip", "gzip"),
        ("out.gz", "zstd", "zstd"),
        ("out", None, "none"),
    ],
)
def test_the_name_or_the_option_selects_the_compression(
    tmp_path: Path, plugin: str, name: str, option: str | None, expected: str
) -> None:
    plain = sink(plugin, tmp_path / "plain")
    plain.open("run1")
    publish(plain, ROWS)
    compressed = sink(plugin, tmp_path / name, compression=option)
    compressed.open("run1")
    publish(compressed, ROWS)
    content = (tmp_path / name).read_bytes()
    assert READERS[expected](content) == (tmp_path / "plain").read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(["plain", name])


@pytest.mark.parametrize("name", ["out.csv.gz", "out.csv.zst"])
def test_the_bytes_do_not_depend_on_a_resume(tmp_path: Path, name: str) -> None:
    whole = sink("csv", tmp_path / "whole" / name)
    whole.open("run1")
    publish(whole, ROWS)
    first = sink("csv", tmp_path / name)
    first.open("run1")
    for row in ROWS[:70]:
        first.write(row)
    first.sync()
    position = first.position()
    first.write({"id": "lost", "name": "too"})
    assert (first.close() or "").endswith(".partial")
    assert sorted(each.name for each in tmp_path.iterdir()) == [f".{name}.rows.run1.partial", "whole"]
    second = sink("csv", tmp_path / name)
    second.reopen("run1", position)
    for row in ROWS[70:]:
        second.write(row)
    output = second.finish()
    second.close()  # as if the process had died before it published
    assert output is not None
    assert not second.confirm("run1", output)
    third = sink("csv", tmp_path / name)
    third.reopen("run1", second.position())
    assert third.finish() == output
    third.publish()
    assert third.confirm("run1", output)
    assert (tmp_path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir()) == [name, "whole"]


@pytest.mark.parametrize(
    ("plugin", "options", "content"),
    [
        ("csv", {"path": "out.csv"}, b"id\n1\n"),
        ("csv", {"path": "out.csv.gz"}, b"id\n1\n"),
        ("parquet", {"path": "out.parquet"}, row_line({"id": 1})),
        ("database", {"url": "sqlite:///out.db", "table": "t"}, row_line({"id": 1})),
    ],
)
def test_what_is_synced_or_finished_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plugin: str, options: dict[str, object], content: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    opened = PLUGINS.sink(plugin, options)
    opened.open("run1")
    opened.write({"id": 1})
    synced: list[bytes] = []
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: synced.append(os.pread(descriptor, 100, 0)))
        opened.sync()
        assert synced == [content]
        opened.finish()
    assert synced[1] == content
    opened.discard()


def test_content_that_is_gone_before_the_file_is_made_is_named(tmp_path: Path) -> None:
    opened = sink("csv", tmp_path / "out.csv.gz")
    opened.open("run1")
    opened.write({"id": 1})
    content = tmp_path / ".out.csv.gz.rows.run1.partial"
    content.unlink()
    with pytest.raises(PluginError) as caught:
        opened.finish()
    assert str(caught.value) == f"{content} cannot be read: No such file or directory"
    opened.discard()


def test_rows_stay_on_disk_until_their_file_is_published(tmp_path: Path) -> None:
    opened = sink("csv", tmp_path / "out.csv.gz")
    opened.open("run1")
    opened.write({"id": 1})
    opened.finish()
    (tmp_path / "out.csv.gz").write_bytes(b"mine")
    with pytest.raises(PluginError, match="was made or changed by another program during the run"):
        opened.publish()
    assert (tmp_path / ".out.csv.gz.rows.run1.partial").read_bytes() == b"id\n1\n"
    (tmp_path / "out.csv.gz").unlink()
    opened.publish()
    assert [each.name for each in tmp_path.iterdir()] == ["out.csv.gz"]


def test_changed_staged_content_is_refused(tmp_path: Path) -> None:
    first = sink("jsonl", tmp_path / "out.gz")
    first.open("run1")
    first.write({"id": 1})
    first.sync()
    position, staged = first.position(), first.close()
    assert staged is not None
    Path(staged).write_bytes(b'{"id": 2}\n')
    second = sink("jsonl", tmp_path / "out.gz")
    with pytest.raises(PluginError, match="is not what the run wrote"):
        second.reopen("run1", position)
    second.close()


def test_a_discarded_sink_leaves_nothing(tmp_path: Path) -> None:
    opened = sink("csv", tmp_path / "out.zst")
    opened.open("run1")
    opened.write({"id": 1})
    with pytest.raises(RowRejectedError):
        opened.write({"id": 1, "more": 2})
    opened.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_compression_without_its_library_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elspeth.outputs.compression._ZSTD_MODULE", "no.such_module")
    for options in ({"path": "out.zst"}, {"path": "out", "compression": "zstd"}):
        with pytest.raises(
            ValidationError, match=r"the compression zstd needs no\.such_module, which is not installed"
        ):
            PLUGINS.sink("csv", options)
    with pytest.raises(ValidationError, match="'none', 'gzip' or 'zstd'"):
        sink("csv", tmp_path / "out", compression="xz")


def test_a_json_sink_writes_lines_if_that_is_its_format(tmp_path: Path) -> None:
    for plugin, name, options in (("json", "a", {"format": "jsonl"}), ("jsonl", "b", {})):
        opened = sink(plugin, tmp_path / name, **options)
        opened.open("run1")
        publish(opened, ROWS[:2])
    assert (
        (tmp_path / "a").read_bytes()
        == (tmp_path / "b").read_bytes()
        == (b'{"id": 0, "name": "n0"}\n{"id": 1, "name": "n1"}\n')
    )
    empty = sink("json", tmp_path / "c", format="jsonl")
    empty.open("run1")
    publish(empty, [])
    assert (tmp_path / "c").read_bytes() == b""


def test_a_refused_path_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "out.csv.gz").mkdir()
    with pytest.raises(PluginError, match="expected the path of a file, got that of a directory"):
        sink("csv", tmp_path / "out.csv.gz").open("run1")
    assert [each.name for each in tmp_path.iterdir()] == ["out.csv.gz"]
