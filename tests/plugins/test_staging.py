"""A staged file is visible complete or not at all."""

import errno
import hashlib
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from elspeth.contracts.plugins import PluginError, StagedOutput
from elspeth.outputs import locks
from elspeth.plugins import _targets, staging
from elspeth.plugins.staging import StagedFile


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_nothing_is_visible_before_publishing_and_everything_after(tmp_path: Path) -> None:
    final = tmp_path / "new" / "out.txt"
    file = StagedFile(final)
    file.open("run1")
    file.write(b"one\n")
    file.sync()
    file.write(b"two\n")
    output = file.finish("text")
    assert names(final.parent) == [".out.txt.run1.partial"]
    assert output == StagedOutput(
        artifact_type="text",
        path=str(final),
        content_hash=hashlib.sha256(b"one\ntwo\n").hexdigest(),
        size_bytes=8,
    )
    file.publish()
    assert names(final.parent) == ["out.txt"]
    assert final.read_bytes() == b"one\ntwo\n"


def test_publishing_replaces_the_earlier_file(tmp_path: Path) -> None:
    final = tmp_path / "out.txt"
    final.write_bytes(b"old")
    file = StagedFile(final)
    file.open("run1")
    file.write(b"new")
    file.finish("text")
    assert final.read_bytes() == b"old"
    file.publish()
    assert final.read_bytes() == b"new"


@pytest.mark.parametrize("by_link", [False, True])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_the_mode_of_a_file_stays_when_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, *, by_link: bool
) -> None:
    final = place = tmp_path / "out.txt"
    final.write_bytes(b"old")
    final.chmod(mode)
    if by_link:
        place = tmp_path / "link"
        place.symlink_to("out.txt")
    begun: list[int] = []
    fchmod = os.fchmod

    def note(descriptor: int, mode: int) -> None:
        begun.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fchmod(descriptor, mode)

    monkeypatch.setattr(os, "fchmod", note)
    file = StagedFile(place)
    file.open("run1")
    file.finish("text")
    file.publish()
    assert stat.S_IMODE(final.stat().st_mode) == mode
    assert begun == [mode & 0o600], "nobody else could open it before it got its mode"


def test_publishing_again_changes_nothing(tmp_path: Path) -> None:
    file = StagedFile(tmp_path / "out.txt")
    file.open("run1")
    file.finish("text")
    file.publish()
    file.publish()
    assert names(tmp_path) == ["out.txt"]


def test_closing_keeps_what_was_staged_and_discarding_removes_it(tmp_path: Path) -> None:
    kept, removed = StagedFile(tmp_path / "kept.txt"), StagedFile(tmp_path / "removed.txt")
    for file in (kept, removed):
        file.open("run1")
        file.write(b"x")
    assert kept.close() == str(tmp_path / ".kept.txt.run1.partial")
    removed.discard()
    assert names(tmp_path) == [".kept.txt.run1.partial"]
    assert (tmp_path / ".kept.txt.run1.partial").read_bytes() == b"x"


def test_a_file_that_was_never_opened_has_nothing_to_leave(tmp_path: Path) -> None:
    file = StagedFile(tmp_path / "out.txt")
    assert file.close() is None
    file.discard()
    with pytest.raises(PluginError) as caught:
        file.write(b"x")
    assert str(caught.value) == f"{tmp_path / 'out.txt'} is not open"
    assert names(tmp_path) == []


def test_a_directory_is_refused_as_a_final_path(tmp_path: Path) -> None:
    with pytest.raises(PluginError) as caught:
        StagedFile(tmp_path).open("run1")
    assert str(caught.value) == f"{tmp_path}: expected the path of a file, got that of a directory"


def test_a_staging_file_without_recorded_rows_is_started_again(tmp_path: Path) -> None:
    first = StagedFile(tmp_path / "out.txt")
    first.open("run1")
    first.write(b"never recorded")
    assert first.close() == str(tmp_path / ".out.txt.run1.partial")
    second = StagedFile(tmp_path / "out.txt")
    second.open("run1")
    assert second.position()["bytes"] == 0
    second.write(b"x")
    second.finish("text")
    second.publish()
    assert (tmp_path / "out.txt").read_bytes() == b"x"
    assert names(tmp_path) == ["out.txt"]


def test_what_was_written_after_the_last_sync_is_cut_off_when_a_file_is_reopened(tmp_path: Path) -> None:
    first = StagedFile(tmp_path / "out.txt")
    first.open("run1")
    first.write(b"recorded\n")
    first.sync()
    position = first.position()
    first.write(b"a tail that no record names\n")
    first.close()
    (tmp_path / "out.txt").write_bytes(b"of an earlier run")
    second = StagedFile(tmp_path / "out.txt")
    second.reopen("run1", position)
    second.write(b"next\n")
    output = second.finish("text")
    second.publish()
    assert (tmp_path / "out.txt").read_bytes() == b"recorded\nnext\n"
    assert output.content_hash == hashlib.sha256(b"recorded\nnext\n").hexdigest()
    assert output.size_bytes == 14


def test_the_name_of_a_staging_file_is_synced_before_anything_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[Path, list[str]]] = []
    monkeypatch.setattr(staging, "sync_directory", lambda path: synced.append((path, names(path))))
    file = StagedFile(tmp_path / "out.txt")
    file.open("run1")
    assert synced == [(tmp_path, [".out.txt.run1.partial"])]
    file.close()


def test_a_published_file_that_is_found_in_place_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out.txt").write_bytes(b"x")  # an earlier run wrote the same
    file = StagedFile(tmp_path / "out.txt")
    file.open("run1")
    file.write(b"x")
    output = file.finish("text")
    assert not StagedFile(tmp_path / "out.txt").confirm("run1", output)
    (tmp_path / ".out.txt.run1.partial").rename(tmp_path / "out.txt")  # the process was killed after this
    synced: list[Path] = []
    monkeypatch.setattr(_targets, "sync_directory", synced.append)
    assert StagedFile(tmp_path / "out.txt").confirm("run1", output)
    assert synced == [tmp_path]
    file.publish()
    assert synced == [tmp_path, tmp_path]
    (tmp_path / "out.txt").write_bytes(b"y")
    assert not StagedFile(tmp_path / "out.txt").confirm("run1", output)


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = StagedFile(tmp_path / "out.txt")
    file.open("run1")
    file.write(b"x")

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(PluginError) as caught:
        file.sync()
    assert str(caught.value) == f"{tmp_path / '.out.txt.run1.partial'} cannot be written: No space left on device"
    file.discard()
    assert names(tmp_path) == []


def test_a_staging_file_has_one_writer(tmp_path: Path) -> None:
    """A process that lost its claim may still be writing."""
    first, second = StagedFile(tmp_path / "out.txt"), StagedFile(tmp_path / "out.txt")
    first.open("run1")
    first.write(b"one\n")
    first.sync()
    position = first.position()
    problem = r"\.out\.txt\.run1\.partial is being written by another process"
    descriptors = len(list(Path("/dev/fd").iterdir()))
    with pytest.raises(PluginError, match=problem):
        second.open("run1")
    with pytest.raises(PluginError, match=problem):
        second.reopen("run1", position)
    assert len(list(Path("/dev/fd").iterdir())) == descriptors, "none is left open"
    assert (tmp_path / ".out.txt.run1.partial").read_bytes() == b"one\n"
    first.close()
    second.reopen("run1", position)
    second.write(b"two\n")
    second.finish("text")
    second.publish()
    assert (tmp_path / "out.txt").read_bytes() == b"one\ntwo\n"


def test_a_staging_file_that_its_writer_removed_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = StagedFile(tmp_path / "out.txt"), StagedFile(tmp_path / "out.txt")
    first.open("run1")
    try_lock = locks.try_lock

    def discard_first(descriptor: int) -> bool:
        first.discard()
        return try_lock(descriptor)

    monkeypatch.setattr(staging, "try_lock", discard_first)
    with pytest.raises(PluginError, match="is being written by another process"):
        second.open("run1")
    assert names(tmp_path) == []


def test_a_link_in_the_place_of_a_staging_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / ".out.txt.run1.partial").symlink_to("victim")
    with pytest.raises(PluginError, match="cannot be created: Too many levels of symbolic links"):
        StagedFile(tmp_path / "out.txt").open("run1")
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_the_directory_behind_a_link_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "out.txt").write_bytes(b"old")
    (tmp_path / "link").symlink_to("there/out.txt")
    file = StagedFile(tmp_path / "link")
    file.open("run1")
    output = file.finish("text")
    synced: list[Path] = []
    monkeypatch.setattr(_targets, "sync_directory", synced.append)
    file.publish()
    assert StagedFile(tmp_path / "link").confirm("run1", output)
    assert (synced, (tmp_path / "link").is_symlink()) == ([tmp_path / "there"] * 2, True)


def test_a_foreign_file_of_the_same_size_is_not_replaced(tmp_path: Path) -> None:
    final = tmp_path / "out.txt"
    final.write_bytes(b"old")
    file = StagedFile(final)
    file.open("run1")
    file.finish("text")
    final.write_bytes(b"new")
    os.utime(final, ns=(0, final.stat().st_mtime_ns + 1))  # clocks of file systems are coarse
    with pytest.raises(PluginError, match="was made or changed by another program during the run"):
        file.publish()
    assert final.read_bytes() == b"new"


def test_a_discarded_file_is_removed_before_another_process_may_lock_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, seen = StagedFile(tmp_path / "out.txt"), list[bool]()
    file.open("run1")
    unlink = Path.unlink

    def look(path: Path, *, missing_ok: bool = False) -> None:
        with path.open("rb") as again:
            seen.append(locks.try_lock(again.fileno()))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", look)
    file.discard()
    assert (seen, names(tmp_path)) == ([False], [])


def test_a_full_disk_does_not_hide_where_the_recorded_rows_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = StagedFile(tmp_path / "out.txt")
    file.open("run1")

    class Full(io.BytesIO):
        def close(self) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    opened, file._file = file._file, cast("BinaryIO", Full())
    assert file.close() == str(tmp_path / ".out.txt.run1.partial")
    assert opened is not None
    opened.close()
    monkeypatch.setattr(Full, "close", io.BytesIO.close)


def test_a_row_that_the_disk_does_not_take_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = StagedFile(tmp_path / "out.txt")
    file.open("run1")
    opened, file._file = file._file, Full()
    assert opened is not None
    opened.close()
    with pytest.raises(PluginError) as caught:
        file.write(b"x")
    assert str(caught.value) == f"{tmp_path / '.out.txt.run1.partial'} cannot be written: No space left on device"


def test_a_published_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    output = StagedOutput(artifact_type="text", path="out.txt", content_hash="0" * 64, size_bytes=1)
    (tmp_path / "out.txt").mkdir()
    with pytest.raises(PluginError) as caught:
        StagedFile(tmp_path / "out.txt").confirm("run1", output)
    assert str(caught.value) == f"{tmp_path / 'out.txt'} cannot be read: Is a directory"
