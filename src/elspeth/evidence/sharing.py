"""Work on items that this process shares with an executor."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import BrokenExecutor, Executor, Future
from itertools import islice
from typing import ParamSpec, TypeVar

__all__ = ["send", "share"]

Item = TypeVar("Item")
P = ParamSpec("P")
T = TypeVar("T")

_WORKERS = 2
"""How many workers an executor is taken to have that does not say it."""

_SPARE = 2
"""Items that workers have besides two each, so that none runs out of work while this process does an item itself."""

_HELD = 6
"""Results of this process that may wait for their turn."""


def share(
    items: Iterable[Item],
    executor: Executor,
    submit: Callable[[Item], Future[T] | None],
    here: Callable[[Item], T],
) -> Generator[tuple[Item, T], None, None]:
    """Yield each item with its result, in order.

    `submit` gives an item to the executor, or returns None for one that is this process's own; `here` does the work in
    this process. It does so instead of waiting, and if a worker died. An error, also one of the items, is raised in its
    turn.
    """
    rest, ended, fault = iter(items), False, None
    ahead = 2 * int(getattr(executor, "count", _WORKERS)) + _SPARE
    most = ahead + _HELD
    waiting: deque[tuple[Item, Future[T]]] = deque()

    def take(submit: Callable[[Item], Future[T] | None]) -> bool:
        """Take the next item, and return whether a worker did."""
        nonlocal ended, fault
        try:
            taken = [(item, submit(item)) for item in islice(rest, 1)]
        except Exception as error:  # noqa: BLE001  raised after the items before it
            taken, fault = [], error
        if not taken:
            ended = True
            return False
        [(item, sent)] = taken
        waiting.append((item, sent or _finished(here, item)))
        return sent is not None

    try:
        while True:
            while not ended and len(waiting) < most and _unfinished(waiting) < ahead and take(submit):
                pass
            if not waiting:
                break
            if not ended and not waiting[0][1].done() and len(waiting) < most:
                take(lambda _: None)
                continue
            item, future = waiting.popleft()
            yield item, _result(future, here, item)
    finally:
        for _, future in waiting:
            future.cancel()
    if fault is not None:
        raise fault


def send(executor: Executor, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T] | None:
    """Give work to an executor.

    Returns None if it has no workers yet, or no more.
    """
    start = getattr(executor, "start_meanwhile", None)
    if start is not None and not start():
        return None
    try:
        return executor.submit(work, *args, **kwargs)
    except BrokenExecutor:
        return None


def _unfinished(waiting: Iterable[tuple[Item, Future[T]]]) -> int:
    return sum(not future.done() for _, future in waiting)


def _finished(here: Callable[[Item], T], item: Item) -> Future[T]:
    future: Future[T] = Future()
    try:
        future.set_result(here(item))
    except Exception as error:  # noqa: BLE001  raised in its turn
        future.set_exception(error)
    return future


def _result(future: Future[T], here: Callable[[Item], T], item: Item) -> T:
    try:
        return future.result()
    except BrokenExecutor:
        return here(item)
