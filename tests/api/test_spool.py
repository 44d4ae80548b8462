"""Large results are passed as files, which are removed afterwards."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import pytest

from elspeth.api._spool import Spool, SpooledFuture

SMALL, LARGE = 10, 1 << 17


@pytest.mark.parametrize(("size", "files"), [(SMALL, 0), (LARGE, 1)])
def test_only_large_results_are_passed_as_files(tmp_path: Path, size: int, files: int) -> None:
    sent: Future[Any] = Future()
    received: SpooledFuture[bytes] = SpooledFuture(sent)
    sent.set_result(Spool(directory=str(tmp_path)).do(bytes, size))
    assert len(list(tmp_path.iterdir())) == files
    assert received.result() == received.result() == bytes(size)
    with pytest.raises(TimeoutError):
        SpooledFuture(Future[Any]()).result(0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("directory", [None, "/nowhere"])
def test_a_result_that_cannot_be_written_to_a_file_comes_through_the_pipe(directory: str | None) -> None:
    sent: Future[Any] = Future()
    sent.set_result(Spool(directory=directory).do(bytes, LARGE))
    assert SpooledFuture(sent).result() == bytes(LARGE)


def test_the_directory_is_private_and_removed_with_unread_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spool = Spool.new()
    spool.do(bytes, LARGE)
    (directory,) = tmp_path.iterdir()
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
