"""An answer comes in time, or is given up."""

from __future__ import annotations

import threading

import pytest

from elspeth.evidence.format.deadlines import within
from elspeth.evidence.format.errors import EvidenceError


def test_an_answer_is_returned() -> None:
    assert within(10, lambda: 7, "place") == 7
    assert within(10, lambda: None, "place") is None


@pytest.mark.parametrize("fault", [EvidenceError("place", "no"), OSError("no"), ValueError("no"), KeyError("no")])
def test_an_error_is_raised_at_once(fault: Exception) -> None:
    def ask() -> None:
        raise fault

    with pytest.raises(type(fault)) as caught:
        within(10, ask, "elsewhere")
    assert caught.value is fault


def test_an_error_that_is_the_answer_is_returned() -> None:
    fault = ValueError("found")
    assert within(10, lambda: fault, "place") is fault


def test_an_answer_that_takes_longer_is_given_up() -> None:
    stop = threading.Event()
    with pytest.raises(EvidenceError) as caught:
        within(0.01, stop.wait, "place")
    stop.set()
    assert str(caught.value) == "place: does not answer within 0.01 seconds"
