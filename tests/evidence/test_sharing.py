"""Results of shared work come in order, wherever computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import ParamSpec, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.evidence.sharing import send, share
from tests.fixtures.executors import InlineExecutor

P = ParamSpec("P")
T = TypeVar("T")


class _Late(Future[T]):
    """A future that ends only when somebody waits for it."""

    def __init__(self, work: Callable[[], T]) -> None:
        super().__init__()
        self._work = work

    def result(self, timeout: float | None = None) -> T:
        if not self.done():
            try:
                self.set_result(self._work())
            except Exception as error:  # noqa: BLE001  as an executor does
                self.set_exception(error)
        return super().result(timeout)


class LateExecutor(Executor):
    """Starts late, and dies of the jobs in `deadly`."""

    def __init__(self, starts: int = 0, deadly: frozenset[int] = frozenset(), count: int = 2) -> None:
        self.count = count
        self.jobs = 0
        self.asked = 0
        self._starts = starts
        self._deadly = deadly

    def start_meanwhile(self) -> bool:
        self.asked += 1
        return self.asked > self._starts

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        self.jobs += 1
        if self.jobs in self._deadly:
            raise BrokenExecutor
        dies = -self.jobs in self._deadly

        def work() -> T:
            if dies:
                raise BrokenExecutor
            return fn(*args, **kwargs)

        return _Late(work)


def _double(number: int) -> int:
    if number == 13:
        raise ValueError(number)
    return 2 * number


def _shared(items: Iterator[int], executor: Executor, mine: list[int]) -> Iterator[tuple[int, int]]:
    def here(number: int) -> int:
        mine.append(number)
        return _double(number)

    return share(items, executor, lambda each: send(executor, _double, each), here)


@given(
    size=st.integers(0, 40),
    starts=st.integers(0, 50),
    deadly=st.frozensets(st.integers(-40, 40)),
    count=st.integers(1, 9),
)
def test_results_come_in_the_order_of_the_items(size: int, starts: int, deadly: frozenset[int], count: int) -> None:
    items = [each for each in range(size) if each != 13]
    found = _shared(iter(items), LateExecutor(starts, deadly, count), [])
    assert list(found) == [(each, 2 * each) for each in items]


def test_the_first_process_does_not_wait_while_there_is_work() -> None:
    mine: list[int] = []
    executor = LateExecutor()
    for _ in _shared(iter(range(12)), executor, mine):
        pass
    assert (executor.jobs, len(mine)) == (6, 6)  # two jobs for each worker, two to spare, and none ends by itself


@pytest.mark.parametrize("kind", [LateExecutor, InlineExecutor])
def test_few_results_wait_at_a_time(kind: Callable[[], Executor]) -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(100, 200):
            taken.append(number)
            yield number

    for done, _ in enumerate(_shared(numbers(), kind(), [])):
        assert len(taken) <= done + 2 * 2 + 8


def test_an_error_is_raised_in_its_turn() -> None:
    found = _shared(iter(range(20)), LateExecutor(), [])
    assert [next(found)[0] for _ in range(13)] == list(range(13))
    with pytest.raises(ValueError, match="13"):
        next(found)


def test_an_error_of_the_items_is_raised_in_its_turn() -> None:
    def numbers() -> Iterator[int]:
        yield from range(5)
        raise EOFError

    found = _shared(numbers(), LateExecutor(), [])
    assert [next(found)[0] for _ in range(5)] == list(range(5))
    with pytest.raises(EOFError):
        next(found)


def test_an_error_of_the_executor_is_raised_in_its_turn() -> None:
    def submit(item: int) -> Future[int]:
        if item == 5:
            raise EOFError
        return executor.submit(abs, item)

    executor = InlineExecutor()
    found = share(iter(range(9)), executor, submit, abs)
    assert [next(found)[0] for _ in range(5)] == list(range(5))
    with pytest.raises(EOFError):
        next(found)
