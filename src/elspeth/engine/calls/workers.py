"""Threads that make calls."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread

from elspeth.engine.calls.exchange import Exchange

__all__ = ["Workers"]

_Work = Callable[[], Exchange]


class Workers:
    """Up to `size` threads that take up work in the order in which it is given.

    Unlike those of ThreadPoolExecutor they are daemons: a process that was told to stop does not wait for calls under
    way, whose answers nobody will read.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._threads: list[Thread] = []
        self._queue: SimpleQueue[tuple[Future[Exchange], _Work] | None] = SimpleQueue()

    def submit(self, work: _Work) -> Future[Exchange]:
        """Have the work done by the next free thread."""
        future: Future[Exchange] = Future()
        self._queue.put((future, work))
        if len(self._threads) < self._size:
            thread = Thread(target=self._run, name=f"elspeth-call-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def close(self) -> None:
        """Cancel what has not begun, and let threads end that have no work. No more work may be given."""
        with suppress(Empty):
            while True:
                if (waiting := self._queue.get_nowait()) is not None:
                    waiting[0].cancel()
        for _ in self._threads:
            self._queue.put(None)

    def _run(self) -> None:
        while (task := self._queue.get()) is not None:
            future, work = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                exchange = work()
            except BaseException as error:  # noqa: BLE001  whoever waits for the answer is told
                future.set_exception(error)
            else:
                future.set_result(exchange)
