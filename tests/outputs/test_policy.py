"""Which paths an output may be written to or replace."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from elspeth.outputs.policy import (
    Extent,
    Kind,
    OutputPolicy,
    OutputRefusedError,
    Protected,
    check_output,
    file_state,
    identity_of,
    problem_with,
)

OBJECTION = "is somebody's file"
TOUCH = "which no output may touch: name another path"


def policy(kind: Kind = Kind.FILE, *protected: Protected, ours: bool = False, force: bool = False) -> OutputPolicy:
    return OutputPolicy(kind=kind, objection=lambda _: None if ours else OBJECTION, protected=protected, force=force)


def test_a_missing_path_may_be_written(tmp_path: Path) -> None:
    for kind in Kind:
        assert problem_with(tmp_path / "new" / "deep" / "out", policy(kind)) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "ours", "force", "problem"),
    [
        (Kind.FILE, False, False, OBJECTION),
        (Kind.FILE, True, False, None),
        (Kind.FILE, False, True, None),
        (Kind.DIRECTORY, True, True, "expected the path of a directory, got that of a file"),
        (Kind.UNIQUE, False, True, OBJECTION),
    ],
)
def test_a_file_is_replaced_without_an_objection_or_by_force(
    tmp_path: Path, kind: Kind, ours: bool, force: bool, problem: str | None
) -> None:
    (tmp_path / "out").write_bytes(b"content")
    assert problem_with(tmp_path / "out", policy(kind, ours=ours, force=force)) == problem


@pytest.mark.parametrize(("kind", "problem"), [(Kind.FILE, None), (Kind.UNIQUE, OBJECTION)])
def test_an_empty_file_may_be_replaced(tmp_path: Path, kind: Kind, problem: str | None) -> None:
    (tmp_path / "out").touch()
    assert problem_with(tmp_path / "out", policy(kind)) == problem


@pytest.mark.parametrize(("kind", "problem"), [(Kind.DIRECTORY, None), (Kind.UNIQUE, OBJECTION)])
def test_an_empty_directory_may_be_replaced(tmp_path: Path, kind: Kind, problem: str | None) -> None:
    (tmp_path / "out").mkdir()
    assert problem_with(tmp_path / "out", policy(kind)) == problem


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/null")


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as each:
        each.bind(str(path))


@pytest.mark.parametrize(
    ("make", "found"),
    [(Path.mkdir, "a directory"), (make_fifo, "a FIFO"), (make_device, "a device"), (make_socket, "a socket")],
)
@pytest.mark.parametrize("force", [False, True])
def test_only_regular_files_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], found: str, force: bool
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    make(Path("out"))
    assert problem_with(Path("out"), policy(ours=True, force=force)) == (
        f"expected the path of a file, got that of {found}"
    )


def test_a_link_is_judged_by_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert problem_with(tmp_path / "link", policy()) == "is a symbolic link that leads nowhere: name a file"
    (tmp_path / "target").write_bytes(b"content")
    assert problem_with(tmp_path / "link", policy()) == OBJECTION
    assert problem_with(tmp_path / "link", policy(ours=True)) is None
    database = Protected(path=tmp_path / "target", what="the audit database")
    assert problem_with(tmp_path / "link", policy(Kind.FILE, database)) == f"is the audit database, {TOUCH}"


def create_aliases(path: Path) -> dict[str, Path]:
    """Create other names of an existing file."""
    directory = path.parent
    (directory / "link").symlink_to(path)
    (directory / "hard").hardlink_to(path)
    (directory / "way").symlink_to(directory)
    return {
        "itself": path,
        "link": directory / "link",
        "hard link": directory / "hard",
        "through a link": directory / "way" / path.name,
        "through a parent": directory / "other" / ".." / path.name,
        "relative": Path(os.path.relpath(path)),
    }


@pytest.mark.parametrize("kind", Kind)
def test_protected_files_are_recognised_by_identity(tmp_path: Path, kind: Kind) -> None:
    (tmp_path / "audit.db").write_bytes(b"content")
    (tmp_path / "other").mkdir()
    database = Protected(path=tmp_path / "audit.db", what="the audit database", extent=Extent.DATABASE)
    for name, path in create_aliases(tmp_path / "audit.db").items():
        found = problem_with(path, policy(kind, database, ours=True, force=True))
        assert found == f"is the audit database, {TOUCH}", name


@pytest.mark.parametrize("extent", [Extent.FILE, Extent.DATABASE])
def test_protected_files_need_not_exist(tmp_path: Path, extent: Extent) -> None:
    protected = Protected(path=tmp_path / "runs" / "audit.db", what="the audit database", extent=extent)
    assert problem_with(tmp_path / "runs" / "." / "audit.db", policy(Kind.FILE, protected)) is not None
    assert problem_with(tmp_path / "runs" / "audit.dbx", policy(Kind.FILE, protected)) is None


@pytest.mark.parametrize("name", ["-wal", "-shm", "-journal", ".0199ab.lock", ".epoch4-20260101T000000Z.bak"])
@pytest.mark.parametrize("exists", [False, True])
def test_a_database_is_protected_with_its_files(tmp_path: Path, name: str, exists: bool) -> None:
    database = Protected(path=tmp_path / "audit.db", what="the audit database", extent=Extent.DATABASE)
    path = tmp_path / f"audit.db{name}"
    if exists:
        path.write_bytes(b"content")
    assert problem_with(path, policy(Kind.FILE, database, force=True)) == f"is the audit database, {TOUCH}"
    for other in (tmp_path / f"other.db{name}", tmp_path / "elsewhere" / f"audit.db{name}"):
        assert problem_with(other, policy(Kind.FILE, database)) is None
    assert problem_with(tmp_path / "audit.db.jsonl", policy(Kind.FILE, database)) is None


def test_a_tree_is_protected_with_all_below_it(tmp_path: Path) -> None:
    (tmp_path / "store" / "ab").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "store" / "ab")
    store = Protected(path=tmp_path / "store", what="the payload store", extent=Extent.TREE)
    for path in ("store", "store/new", "store/ab/new", "link/new"):
        assert problem_with(tmp_path / path, policy(Kind.FILE, store)) == f"is the payload store, {TOUCH}"
    assert problem_with(tmp_path / "stored", policy(Kind.FILE, store)) is None


def test_nothing_is_added_to_a_bag(tmp_path: Path) -> None:
    (tmp_path / "bag" / "data").mkdir(parents=True)
    (tmp_path / "bag" / "bagit.txt").write_bytes(b"BagIt-Version: 1.0\n")
    expected = f"lies in the bag {tmp_path / 'bag'}, to which nothing may be added: name another path"
    (tmp_path / "bag" / "empty").touch()
    for name in ("proof.json", "data/proof.json", "data/new/proof.json", "bagit.txt", "empty"):
        assert problem_with(tmp_path / "bag" / name, policy(ours=True, force=True)) == expected


def test_nothing_can_be_written_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b"content")
    expected = f"its directory cannot be made: {tmp_path / 'in.csv'} is a file"
    for name in ("in.csv/out.csv", "in.csv/deep/out.csv"):
        assert problem_with(tmp_path / name, policy()) == expected


def test_a_refusal_names_the_path_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").write_bytes(b"content")
    check_output(Path("out"), policy(ours=True))
    with pytest.raises(OutputRefusedError) as refused:
        check_output(Path("out"), policy())
    assert str(refused.value) == f"out: {OBJECTION}"
    check_output(Path("out"), policy(force=True))
    with pytest.raises(OutputRefusedError) as refused:
        check_output(Path("out"), policy(Kind.FILE, Protected(path=Path("out"), what="a key"), ours=True, force=True))
    assert str(refused.value) == f"out: is a key, {TOUCH}"


def test_every_change_of_a_file_shows_in_its_state(tmp_path: Path) -> None:
    path, moment = tmp_path / "out", 1_700_000_000_000_000_000
    assert file_state(path) is None
    path.write_bytes(b"one")
    os.utime(path, ns=(moment, moment))
    states = [file_state(path)]
    assert file_state(path) == states[0]
    os.utime(path, ns=(moment, moment + 1))
    states.append(file_state(path))
    path.write_bytes(b"longer")
    os.utime(path, ns=(moment, moment))
    states.append(file_state(path))
    (tmp_path / "other").write_bytes(b"one")
    os.utime(tmp_path / "other", ns=(moment, moment))
    (tmp_path / "other").replace(path)
    states.append(file_state(path))
    (tmp_path / "link").symlink_to(path)
    states.append(file_state(tmp_path / "link"))
    assert len(set(states)) == len(states) == 5


def test_two_files_have_two_identities(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    places = {identity_of(tmp_path / name) for name in ("a", "b", "c", "d", "c/d", "c/e")}
    assert len(places) == 6


def test_text_that_cannot_be_a_file_name_counts_as_a_missing_file(tmp_path: Path) -> None:
    database = Protected(path=tmp_path / "audit.db", what="the audit database", extent=Extent.DATABASE)
    for name in ("a\0b", "x" * 300, "\udcff\ud800"):
        assert problem_with(tmp_path / name, policy(Kind.FILE, database)) is None


def test_a_pipe_behind_a_link_of_the_system_is_not_a_file(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        found = problem_with(Path(f"/proc/self/fd/{writing}"), policy(ours=True, force=True))
    finally:
        os.close(reading)
        os.close(writing)
    assert found == "expected the path of a file, got that of a FIFO"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("right", [os.W_OK, os.X_OK])
def test_an_unwritable_directory_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, right: int) -> None:
    # root may write anywhere
    monkeypatch.setattr(os, "access", lambda path, asked: Path(path) != tmp_path / "frozen" or not asked & right)
    (tmp_path / "frozen" / "open").mkdir(parents=True)
    expected = f"cannot be written: nothing can be put into {tmp_path / 'frozen'}"
    assert problem_with(tmp_path / "frozen" / "out", policy()) == expected
    assert problem_with(tmp_path / "frozen" / "new" / "out", policy()) == expected
    assert problem_with(tmp_path / "frozen" / "open" / "out", policy()) is None
    assert problem_with(tmp_path / "out", policy()) is None
