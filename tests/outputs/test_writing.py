"""Outputs are complete, and replace only what they may replace."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from elspeth.outputs import locks, writing
from elspeth.outputs.locks import hidden_sibling
from elspeth.outputs.policy import Kind, OutputPolicy, OutputRefusedError
from elspeth.outputs.writing import create_file, hold, make_directory, rename_noreplace
from tests.fixtures.full_disk import largest_file

ANY_FILE = OutputPolicy(kind=Kind.FILE, objection=lambda _: None)
ANY_DIRECTORY = OutputPolicy(kind=Kind.DIRECTORY, objection=lambda _: None)
NEVER = OutputPolicy(kind=Kind.UNIQUE, objection=lambda _: "exists already")


class Interruption(BaseException):
    """Anything that stops a writer."""


def read_tree(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def list_names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def write_file(path: Path, content: bytes, policy: OutputPolicy = ANY_FILE) -> None:
    with hold(path, policy) as output, output.file() as file:
        file.write(content)


def write_directory(path: Path, content: bytes, policy: OutputPolicy = ANY_DIRECTORY) -> None:
    with hold(path, policy) as output, output.directory() as directory:
        (directory / "run.csv").write_bytes(content)
        (directory / "manifest.json").write_bytes(content)


def write_half_a_file(path: Path) -> None:
    with hold(path, ANY_FILE) as output, output.file() as file:
        file.write(b"new")
        raise Interruption


def write_half_a_directory(path: Path) -> None:
    with hold(path, ANY_DIRECTORY) as output, output.directory() as directory:
        (directory / "run.csv").write_bytes(b"new")
        raise Interruption


def test_a_file_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "new" / "export.jsonl"
    for content in (b"first", b"second"):
        with hold(path, ANY_FILE) as output, output.file() as file:
            file.write(content)
            assert path.exists() is (content == b"second")
        assert read_tree(tmp_path) == {"new/export.jsonl": content}


def test_a_directory_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "new" / "export"
    write_directory(path, b"first")
    with hold(path, ANY_DIRECTORY) as output, output.directory() as directory:
        (directory / "node.csv").write_bytes(b"second")
        assert (path / "run.csv").read_bytes() == b"first"
    assert read_tree(tmp_path) == {"new/export/node.csv": b"second"}


@pytest.mark.parametrize("write", [write_file, write_directory])
def test_content_and_names_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, bytes], None]
) -> None:
    synced: dict[int, int] = {}

    def note(descriptor: int) -> None:
        found = os.fstat(descriptor)
        synced[found.st_ino] = found.st_size

    monkeypatch.setattr(os, "fsync", note)
    path = tmp_path / "export"
    write(path, b"content")
    for each in (path, *path.glob("*"), tmp_path):
        assert each.stat().st_ino in synced, each
        assert each.is_dir() or synced[each.stat().st_ino] == len(b"content"), each


def test_the_names_of_new_directories_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(writing, "sync_directory", synced.append)
    make_directory(tmp_path / "a" / "b")
    assert synced == [tmp_path.parent, tmp_path, tmp_path / "a"]
    make_directory(tmp_path / "a" / "b")  # whose writer may have crashed before syncing it
    assert synced[3:] == [tmp_path / "a"]


def test_the_names_of_new_directories_are_synced_from_wherever_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(writing, "sync_directory", synced.append)
    monkeypatch.chdir(tmp_path)
    make_directory(Path("a"))
    assert synced == [tmp_path.parent, tmp_path]


def test_a_directory_is_removed_only_after_the_name_of_its_successor_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_directory(tmp_path / "export", b"first")
    synced: list[list[str]] = []
    monkeypatch.setattr(writing, "sync_directory", lambda path: synced.append(list_names(path)))
    write_directory(tmp_path / "export", b"second")
    assert any("export" in names and any(name.endswith(".replaced") for name in names) for names in synced), (
        "both were there when the names were synced"
    )


@pytest.mark.parametrize("write", [write_file, write_directory])
@pytest.mark.parametrize("name", ["n" * 255, "é" * 127])
def test_a_name_may_be_as_long_as_the_system_allows(
    tmp_path: Path, write: Callable[[Path, bytes], None], name: str
) -> None:
    write(tmp_path / name, b"old")
    write(tmp_path / name, b"new")
    assert list_names(tmp_path) == [name]
    assert set(read_tree(tmp_path).values()) == {b"new"}


def test_an_empty_directory_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    write_directory(tmp_path / "export", b"first")
    assert read_tree(tmp_path) == {"export/run.csv": b"first", "export/manifest.json": b"first"}


@pytest.mark.parametrize("write", [write_file, write_directory])
def test_a_link_stays_a_link(tmp_path: Path, write: Callable[[Path, bytes], None]) -> None:
    (tmp_path / "there").mkdir()
    write(tmp_path / "there" / "export", b"first")
    (tmp_path / "link").symlink_to(tmp_path / "there" / "export")
    write(tmp_path / "link", b"second")
    assert (tmp_path / "link").is_symlink()
    assert set(read_tree(tmp_path / "there").values()) == {b"second"}
    assert list_names(tmp_path / "there") == ["export"]


def test_a_failed_file_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    path.write_bytes(b"old")
    with pytest.raises(Interruption):
        write_half_a_file(path)
    assert read_tree(tmp_path) == {"export.jsonl": b"old"}


def test_a_failed_directory_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "export"
    write_directory(path, b"old")
    before = read_tree(tmp_path)
    with pytest.raises(Interruption):
        write_half_a_directory(path)
    assert read_tree(tmp_path) == before


def test_a_directory_that_cannot_be_renamed_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "export"
    write_directory(path, b"old")
    before = read_tree(tmp_path)

    def failing(_source: Path, target: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(target))

    monkeypatch.setattr(writing, "rename_noreplace", failing)
    with pytest.raises(OSError, match="Input/output error"):
        write_directory(path, b"new")
    assert read_tree(tmp_path) == before


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400, 0o666])
@pytest.mark.parametrize("write", [write_file, write_directory])
def test_the_mode_of_a_replaced_output_is_kept(tmp_path: Path, write: Callable[[Path, bytes], None], mode: int) -> None:
    if write is write_directory:
        mode |= 0o700  # an unwritable directory cannot be removed either
    write(tmp_path / "export", b"first")
    (tmp_path / "export").chmod(mode)
    write(tmp_path / "export", b"second")
    assert stat.S_IMODE((tmp_path / "export").stat().st_mode) == mode


def test_an_unfinished_file_is_as_private_as_the_file_it_replaces(tmp_path: Path) -> None:
    write_file(tmp_path / "export", b"first")
    (tmp_path / "export").chmod(0o600)
    with hold(tmp_path / "export", ANY_FILE) as output, output.file() as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600


def test_a_private_file_is_private_before_it_gets_its_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old").touch()
    (tmp_path / "old").chmod(0o644)
    modes: list[int] = []
    change = os.fchmod

    def note(descriptor: int, mode: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        change(descriptor, mode)

    monkeypatch.setattr(os, "fchmod", note)
    create_file(tmp_path / "new", like=tmp_path / "old").close()
    assert (modes, stat.S_IMODE((tmp_path / "new").stat().st_mode)) == ([0o600], 0o644)


def test_a_directory_that_cannot_be_listed_may_still_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", refuse)
        write_file(tmp_path / "export", b"content")
    assert read_tree(tmp_path) == {"export": b"content"}


def test_a_new_file_can_be_private(tmp_path: Path) -> None:
    with hold(tmp_path / "export", ANY_FILE) as output, output.file(mode=0o600) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600


def appear_file(path: Path) -> None:
    path.write_bytes(b"precious")


def appear_directory(path: Path) -> None:
    path.mkdir()


def appear_link(path: Path) -> None:
    path.symlink_to("/nowhere")


@pytest.mark.parametrize("appear", [appear_file, appear_directory, appear_link])
@pytest.mark.parametrize("has_call", [True, False], ids=["in one step", "without renameat2"])
@pytest.mark.parametrize("packed", [True, False], ids=["file", "directory"])
def test_a_unique_output_does_not_replace_what_appears_at_the_last_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, appear: Callable[[Path], None], *, has_call: bool, packed: bool
) -> None:
    path, call = tmp_path / "bag", writing._renameat2

    def rename(source: Path, target: Path) -> int:
        appear(target)  # after all checks
        return call(source, target) if has_call else errno.ENOSYS

    def write() -> None:
        with hold(path, NEVER) as output, output.temporary_directory() as made:
            (made / "bag.zip").write_bytes(b"new")
            output.publish(made / "bag.zip" if packed else made)

    monkeypatch.setattr(writing, "_renameat2", rename)
    with pytest.raises(OutputRefusedError, match="appeared while the output was written, and is not replaced"):
        write()
    assert list_names(tmp_path) == ["bag"]
    assert read_tree(tmp_path) == ({"bag": b"precious"} if appear is appear_file else {})


@pytest.mark.parametrize(
    ("write", "policy"), [(write_file, ANY_FILE), (write_directory, ANY_DIRECTORY)], ids=["file", "directory"]
)
def test_the_policy_is_applied_again_when_the_output_is_published(
    tmp_path: Path, write: Callable[..., None], policy: OutputPolicy
) -> None:
    path = tmp_path / "export"
    answers = iter([None, "is somebody's now"])
    asking = OutputPolicy(kind=policy.kind, objection=lambda _: next(answers))
    write(path, b"first")
    before = read_tree(tmp_path)
    with pytest.raises(OutputRefusedError, match="is somebody's now"):
        write(path, b"second", asking)
    assert read_tree(tmp_path) == before


def test_a_link_changed_while_writing_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"one")
    (tmp_path / "two").write_bytes(b"two")
    (tmp_path / "link").symlink_to("one")

    def write() -> None:
        with hold(tmp_path / "link", ANY_FILE) as output, output.file():
            (tmp_path / "link").unlink()
            (tmp_path / "link").symlink_to("two")

    with pytest.raises(OutputRefusedError, match="appeared while the output was written"):
        write()
    assert read_tree(tmp_path) == {"one": b"one", "two": b"two", "link": b"two"}


def test_an_output_can_be_renamed_to_a_free_name(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"content")
    rename_noreplace(tmp_path / "old", tmp_path / "new")
    assert read_tree(tmp_path) == {"new": b"content"}
    with pytest.raises(FileNotFoundError, match="old"):
        rename_noreplace(tmp_path / "old", tmp_path / "new")


@pytest.mark.parametrize("has_call", [True, False], ids=["in one step", "without renameat2"])
def test_a_name_that_is_taken_is_named_with_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_call: bool
) -> None:
    (tmp_path / "old").write_bytes(b"content")
    (tmp_path / "new").symlink_to("nowhere")
    if not has_call:
        monkeypatch.setattr(writing, "_renameat2", lambda *_: errno.ENOSYS)
    with pytest.raises(FileExistsError) as caught:
        rename_noreplace(tmp_path / "old", tmp_path / "new")
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "old"), str(tmp_path / "new"))


def test_names_of_unfinished_files_are_unpredictable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for _ in range(3):
        with hold(tmp_path / "export", ANY_FILE) as output, output.file():
            found |= {each for each in list_names(tmp_path) if each.endswith(".unfinished")}
    assert len(found) == 3
    monkeypatch.setattr("secrets.token_hex", lambda _: "f" * 16)
    (tmp_path / "victim").write_bytes(b"precious")

    def plant(real: Path) -> None:
        real.with_name(f".{real.name}.{'f' * 16}.unfinished").symlink_to(tmp_path / "victim")

    monkeypatch.setattr(writing, "_clean_up", plant)
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "export", b"new")
    assert (tmp_path / "victim").read_bytes() == b"precious"


KILLED = """
import os, signal
from pathlib import Path
from elspeth.outputs.policy import Kind, OutputPolicy
from elspeth.outputs.writing import hold
policy = OutputPolicy(kind=Kind.{kind}, objection=lambda _: None)
with hold(Path({path!r}), policy) as output, output.{what}() as made:
    print("writing", flush=True)
    {action}
"""


def start_writer(path: Path, what: str, action: str) -> subprocess.Popen[str]:
    """Start another process that writes an output."""
    program = KILLED.format(kind="FILE" if what == "file" else "DIRECTORY", path=str(path), what=what, action=action)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


@pytest.mark.parametrize("what", ["file", "directory"])
def test_leftovers_of_a_killed_process_are_removed_by_the_next(tmp_path: Path, what: str) -> None:
    with start_writer(tmp_path / "export", what, "os.kill(os.getpid(), signal.SIGKILL)") as process:
        assert process.wait() == -signal.SIGKILL
    left = list_names(tmp_path)
    assert [name.rpartition(".")[2] for name in left] == ["unfinished", "lock"]
    (write_file if what == "file" else write_directory)(tmp_path / "export", b"new")
    assert list_names(tmp_path) == ["export"]


def test_a_link_with_the_name_of_a_leftover_is_removed_and_not_followed(tmp_path: Path) -> None:
    write_directory(tmp_path / "precious", b"content")
    (tmp_path / ".export.0123456789abcdef.unfinished").symlink_to("precious")
    write_file(tmp_path / "export", b"new")
    assert list_names(tmp_path) == ["export", "precious"]
    assert read_tree(tmp_path / "precious") != {}


def test_a_second_writer_is_refused_while_the_first_writes(tmp_path: Path) -> None:
    with start_writer(tmp_path / "export", "file", "made.write(b'first'); input()") as process:
        with pytest.raises(OutputRefusedError) as refused:
            write_file(tmp_path / "export", b"second")
        problem = "is being written by another process: wait for it to end, or name another path"
        assert str(refused.value) == f"{tmp_path / 'export'}: {problem}"
        process.communicate("\n")
    assert read_tree(tmp_path) == {"export": b"first"}
    write_file(tmp_path / "export", b"second")
    assert read_tree(tmp_path) == {"export": b"second"}


def test_outputs_in_one_directory_can_be_written_at_the_same_time(tmp_path: Path) -> None:
    with hold(tmp_path / "a", ANY_FILE) as one, one.file() as first, hold(tmp_path / "b", ANY_FILE) as two:
        first.write(b"a")
        with two.file() as second:
            second.write(b"b")
    assert read_tree(tmp_path) == {"a": b"a", "b": b"b"}


def test_an_output_can_be_held_only_once(tmp_path: Path) -> None:
    with hold(tmp_path / "a", ANY_FILE) as output, hold(output, NEVER) as same:
        assert same is output


def test_foreign_files_beside_an_output_stay(tmp_path: Path) -> None:
    others = {".export.lock": b"mine", ".export.partial": b"x", ".export.0.unfinished": b"x", "x.unfinished": b"x"}
    others |= {".export.0123456789abcdef.unfinished.txt": b"x", ".other.0123456789abcdef.unfinished": b"x"}
    others[".exports0123456789abcdef.unfinished"] = b"x"  # a point in the name stands for itself
    for name, content in others.items():
        (tmp_path / name).write_bytes(content)
    write_file(tmp_path / "export", b"new")
    assert read_tree(tmp_path) == others | {"export": b"new"}


def test_a_lock_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / ".export.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(OutputRefusedError, match="is not a file, and cannot be its lock"):
        write_file(tmp_path / "export", b"new")
    assert list_names(tmp_path) == [".export.lock"]


def test_a_directory_moved_aside_by_a_crash_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "export"
    write_directory(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(writing, "rename_noreplace", lambda *_: os._exit(1))
        if os.fork() == 0:
            write_directory(path, b"new")
        assert os.wait()[1] == 1 << 8
    assert not path.exists()
    with pytest.raises(Interruption):
        write_half_a_directory(path)
    assert read_tree(tmp_path) == {"export/run.csv": b"old", "export/manifest.json": b"old"}
    assert list_names(tmp_path) == ["export"]


def test_a_directory_left_by_a_crash_is_removed_if_its_successor_exists(tmp_path: Path) -> None:
    write_directory(tmp_path / "export", b"new")
    write_directory(tmp_path / ".export.0123456789abcdef.replaced", b"old")
    with pytest.raises(Interruption):
        write_half_a_directory(tmp_path / "export")
    assert read_tree(tmp_path) == {"export/run.csv": b"new", "export/manifest.json": b"new"}
    assert list_names(tmp_path) == ["export"]


def test_a_lock_file_that_its_owner_has_just_removed_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [tmp_path / ".a.lock"]
    try_lock = locks.try_lock

    def remove_first(descriptor: int) -> bool:
        while left:
            left.pop().unlink()
        return try_lock(descriptor)

    monkeypatch.setattr(locks, "try_lock", remove_first)
    with hold(tmp_path / "a", ANY_FILE):
        assert list_names(tmp_path) == [".a.lock"]


@pytest.mark.parametrize(("number", "is_refused"), [(errno.ENOLCK, False), (errno.EIO, True)])
def test_only_a_file_system_without_locks_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_refused: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    if is_refused:
        with pytest.raises(OSError, match=os.strerror(number)):
            write_file(tmp_path / "a", b"a")
    else:
        write_file(tmp_path / "a", b"a")
    assert (tmp_path / "a").exists() is not is_refused


def test_only_a_name_without_room_for_more_is_replaced_by_its_hash() -> None:
    assert hidden_sibling(Path("n" * 200), "lock") == Path(f".{'n' * 200}.lock")
    assert len(hidden_sibling(Path("n" * 201), "lock").name) == len(".") + 64 + len(".lock")


def test_an_output_with_the_name_of_a_lock_stays(tmp_path: Path) -> None:
    with hold(tmp_path / "a", ANY_FILE) as output, output.file() as file:
        file.write(b"a")
        write_file(tmp_path / ".a.lock", b"an output")
    assert read_tree(tmp_path) == {"a": b"a", ".a.lock": b"an output"}


def test_a_fifo_with_the_name_of_a_lock_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".a.lock")
    for _ in range(2):  # the first process releases it
        write_file(tmp_path / "a", b"a")
    assert list_names(tmp_path) == [".a.lock", "a"]


def test_a_frozen_directory_is_reported_with_the_name_of_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / ".a.lock"))

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(writing, "make_directory", lambda _: None)
    with pytest.raises(PermissionError, match=f"Permission denied: '{tmp_path}/a'"):
        write_file(tmp_path / "a", b"a")


def test_a_file_that_cannot_be_written_is_named_as_the_output(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with largest_file(10), pytest.raises(OSError, match="File too large") as caught:
        write_file(path, b"content" * 10)
    assert (caught.value.filename, caught.value.filename2) == (str(path), None)
    assert list_names(tmp_path) == []


def test_a_directory_that_cannot_be_written_is_named_as_the_output(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with (
        pytest.raises(FileNotFoundError) as caught,
        hold(path, ANY_DIRECTORY) as output,
        output.directory() as directory,
    ):
        (directory / "missing" / "run.csv").write_bytes(b"content")
    assert caught.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as caught, hold(path, ANY_DIRECTORY) as output, output.directory():
        (tmp_path / "in.csv").read_bytes()
    assert caught.value.filename == str(tmp_path / "in.csv")
    assert list_names(tmp_path) == []


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("nothing")])
def test_a_directory_in_the_place_of_a_lock_is_named(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / ".out.jsonl.lock")
    with pytest.raises(OutputRefusedError) as caught:
        write_file(tmp_path / "out.jsonl", b"content")
    problem = f"{tmp_path / '.out.jsonl.lock'} is not a file, and cannot be its lock: move it away"
    assert str(caught.value) == f"{tmp_path / 'out.jsonl'}: {problem}"
    assert list_names(tmp_path) == [".out.jsonl.lock"]
