"""Large arguments and results are passed as files."""

from __future__ import annotations

import errno
import os
import pickle
import select
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from pathlib import Path
from typing import Any

import pytest

from elspeth.api._spool import Spool, SpooledFuture

SMALL, LARGE = 10, 1 << 17


class OtherProcess(Executor):
    """Does here, when asked to, what was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[Future[Any], Callable[..., Any], tuple[object, ...]]] = []

    def submit(self, work: Callable[..., Any], /, *args: object, **_: object) -> Future[Any]:
        future: Future[Any] = Future()
        self.sent.append((future, work, args))
        return future

    def work(self) -> None:
        for future, work, args in self.sent:
            future.set_result(work(*args))


@pytest.mark.parametrize(("size", "files"), [(SMALL, 0), (LARGE, 1)])
def test_only_large_results_are_passed_as_files(tmp_path: Path, size: int, files: int) -> None:
    process = OtherProcess()
    received = Spool(directory=str(tmp_path)).send(process, bytes, size)
    assert not list(tmp_path.iterdir())
    process.work()
    assert len(list(tmp_path.iterdir())) == files
    assert received.result() == received.result() == bytes(size)
    with pytest.raises(TimeoutError):
        SpooledFuture(Future[Any]()).result(0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("size", "files"), [(SMALL, 0), (LARGE, 1)])
def test_only_large_arguments_are_passed_as_files(tmp_path: Path, size: int, files: int) -> None:
    process = OtherProcess()
    received = Spool(directory=str(tmp_path)).send(process, len, bytes(size))
    assert len(list(tmp_path.iterdir())) == files
    process.work()
    assert not list(tmp_path.iterdir())
    assert received.result() == size


def test_a_result_that_goes_through_the_pipe_is_written_at_once(tmp_path: Path) -> None:
    """What the executor adds to it takes some hundred bytes."""
    found = []
    for size in range(0, 1 << 12, 64):
        process = OtherProcess()
        received = Spool(directory=str(tmp_path)).send(process, bytes, size)
        process.work()
        found.append(len(pickle.dumps(process.sent[0][0].result())))
        assert received.result() == bytes(size)
    assert 2000 < max(found) < select.PIPE_BUF - 1024


@pytest.mark.parametrize("directory", [None, "/nowhere"])
def test_what_cannot_be_written_to_a_file_goes_through_the_pipe(directory: str | None) -> None:
    process = OtherProcess()
    received = Spool(directory=directory).send(process, bytes, bytes(LARGE))
    process.work()
    assert received.result() == bytes(LARGE)


def test_what_a_full_disk_does_not_take_goes_through_the_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk:
        def write(self, _: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            os.close(self.descriptor)

        def __init__(self, descriptor: int, _: str) -> None:
            self.descriptor = descriptor

    monkeypatch.setattr(os, "fdopen", FullDisk)
    process = OtherProcess()
    received = Spool(directory=str(tmp_path)).send(process, len, bytes(LARGE))
    assert not list(tmp_path.iterdir())
    process.work()
    assert received.result() == LARGE


def test_the_directory_is_private_and_removed_with_unread_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spool = Spool.new()
    spool.send(OtherProcess(), len, bytes(LARGE))
    (directory,) = tmp_path.iterdir()
    assert len(list(directory.iterdir())) == 1
    assert directory.stat().st_mode & 0o777 == 0o700
    spool.remove()
    assert not directory.exists()


def test_errors_and_exits_of_workers_are_passed_on() -> None:
    failed, cancelled, dropped = Future[Any](), Future[Any](), Future[Any]()
    first, second, third = (SpooledFuture[int](each) for each in (failed, cancelled, dropped))
    failed.set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        first.result()
    cancelled.cancel()
    cancelled.set_running_or_notify_cancel()
    with pytest.raises(CancelledError):
        second.result()
    assert third.cancel()
    assert dropped.cancelled()


class Pieces:
    """Pickles to many small pieces."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __reduce__(self) -> tuple[object, ...]:
        return list, (), None, iter(bytes([number % 256]) * 200 for number in range(self.count))


@pytest.mark.parametrize(("count", "files"), [(10, 0), (1000, 1)])
def test_a_value_of_many_small_pieces_is_large_too(tmp_path: Path, count: int, files: int) -> None:
    process = OtherProcess()
    received = Spool(directory=str(tmp_path)).send(process, len, Pieces(count))  # type: ignore[arg-type]
    assert len(list(tmp_path.iterdir())) == files
    process.work()
    assert received.result() == count


def _told(*args: int, **names: int) -> tuple[tuple[int, ...], dict[str, int]]:
    return args, names


@pytest.mark.parametrize("directory", [None, "spool"])
def test_arguments_have_their_places_and_names(tmp_path: Path, directory: str | None) -> None:
    process = OtherProcess()
    (tmp_path / "spool").mkdir()
    spool = Spool(directory=None if directory is None else str(tmp_path / directory))
    received = spool.send(process, _told, 1, 2, a=3, b=4)
    process.work()
    assert received.result() == ((1, 2), {"a": 3, "b": 4})


def test_a_directory_that_is_gone_or_cannot_be_made_is_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(directory=str(tmp_path / "gone"))
    spool.remove()
    spool.remove()
    Spool().remove()
    for place in (tmp_path / "nowhere", tmp_path / "file" / "x"):
        (tmp_path / "file").touch()
        monkeypatch.setattr("tempfile.tempdir", str(place))
        assert Spool.new() == Spool(directory=None)


def test_who_waits_for_cancelled_work_is_told() -> None:
    for begun in (False, True):
        sent = Future[Any]()
        waiting = SpooledFuture[int](sent)
        assert sent.cancel()
        if begun:
            sent.set_running_or_notify_cancel()
        assert waiting.cancelled()
        with pytest.raises(CancelledError):
            waiting.result(0)
