"""Exports appear under their name when they are complete, and replace nothing but exports."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from elspeth.core.landscape.export.forms import ExportError
from elspeth.core.landscape.export.target import replacing_directory, replacing_file


class Interruption(BaseException):
    """Something that stops an export, no matter what."""


def tree(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def write_directory(path: Path, content: bytes) -> None:
    with replacing_directory(path) as directory:
        (directory / "run.csv").write_bytes(content)
        (directory / "manifest.json").write_bytes(content)


def write_half_a_file(path: Path) -> None:
    with replacing_file(path) as file:
        file.write(b"new")
        raise Interruption


def write_half_a_directory(path: Path) -> None:
    with replacing_directory(path) as directory:
        (directory / "run.csv").write_bytes(b"new")
        raise Interruption


def test_a_file_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "new" / "export.jsonl"
    for content in (b"first", b"second"):
        with replacing_file(path) as file:
            file.write(content)
            assert path.exists() is (content == b"second")
        assert tree(tmp_path) == {"new/export.jsonl": content}


def test_a_directory_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "new" / "export"
    write_directory(path, b"first")
    with replacing_directory(path) as directory:
        (directory / "node.csv").write_bytes(b"second")
        (directory / "manifest.json").write_bytes(b"second")
        assert (path / "run.csv").read_bytes() == b"first"
    assert tree(tmp_path) == {"new/export/node.csv": b"second", "new/export/manifest.json": b"second"}


def test_an_empty_directory_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    write_directory(tmp_path / "export", b"first")
    assert tree(tmp_path) == {"export/run.csv": b"first", "export/manifest.json": b"first"}


def test_a_link_to_an_export_stays_a_link(tmp_path: Path) -> None:
    write_directory(tmp_path / "export", b"first")
    (tmp_path / "link").symlink_to(tmp_path / "export")
    write_directory(tmp_path / "link", b"second")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "export" / "run.csv").read_bytes() == b"second"


def test_a_file_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    path.write_bytes(b"old")
    with pytest.raises(Interruption):
        write_half_a_file(path)
    assert tree(tmp_path) == {"export.jsonl": b"old"}


def test_a_directory_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "export"
    write_directory(path, b"old")
    before = tree(tmp_path)
    with pytest.raises(Interruption):
        write_half_a_directory(path)
    assert tree(tmp_path) == before


def test_a_directory_that_cannot_be_renamed_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "export"
    write_directory(path, b"old")
    before = tree(tmp_path)
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "export.partial":
            raise OSError(errno.EIO, "Input/output error", str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="Input/output error"):
        write_directory(path, b"new")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("left", ["export.partial", "export.replaced"])
def test_what_a_crash_left_is_cleared_away(tmp_path: Path, left: str) -> None:
    (tmp_path / left).mkdir()
    (tmp_path / left / "token.parquet").write_bytes(b"half")
    write_directory(tmp_path / "export", b"new")
    assert tree(tmp_path) == {"export/run.csv": b"new", "export/manifest.json": b"new"}


@pytest.mark.parametrize("name", ["export/notes.txt", "export/run.csv", "export/manifest.json/run.csv", "export"])
def test_a_directory_that_is_no_export_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(ExportError) as refused:
        write_directory(tmp_path / "export", b"new")
    expected = "is not an export that a new one may replace: name another directory"
    assert str(refused.value) == f"{tmp_path / 'export'}: {expected}"
    assert tree(tmp_path) == {name: b"precious"}


def test_a_directory_of_others_where_an_export_is_prepared_is_refused(tmp_path: Path) -> None:
    (tmp_path / "export.partial").mkdir()
    (tmp_path / "export.partial" / "notes.txt").write_bytes(b"precious")
    with pytest.raises(ExportError) as refused:
        write_directory(tmp_path / "export", b"new")
    expected = "stands where an export is prepared, and is none: move it away"
    assert str(refused.value) == f"{tmp_path / 'export.partial'}: {expected}"
    assert tree(tmp_path) == {"export.partial/notes.txt": b"precious"}


@pytest.mark.parametrize(("name", "found"), [("", "a directory"), ("device", "a device")])
def test_a_file_does_not_replace_something_else(tmp_path: Path, name: str, found: str) -> None:
    path = tmp_path / name
    if name:
        path.symlink_to("/dev/null")
    expected = f"expected the name of a file, which a new export may replace; this is {found}"
    with pytest.raises(ExportError) as refused, replacing_file(path):
        pass
    assert str(refused.value) == f"{path}: {expected}"
