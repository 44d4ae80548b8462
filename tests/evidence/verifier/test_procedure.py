"""How the results of the steps are collected."""

from __future__ import annotations

import pytest

from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.verifier.procedure import Status, Step, StepError, Steps, Verdict, Verification

STEPS = [step for step in Step if step is not Step.VERDICT]


def result_of(steps: Steps) -> Verification:
    return steps.result(Verdict.VERIFIED, run_id="r", record_count=1, scope="states it")


def passed(*others: Step) -> Steps:
    """Return steps that all passed, except for others."""
    steps = Steps()
    for step in STEPS:
        if step not in others:
            steps.passed(step, "fine")
    return steps


def test_the_first_fault_of_a_step_is_kept_whatever_follows() -> None:
    steps = passed()
    with steps.of(Step.ROOT):
        raise EvidenceError("a", "first")
    with steps.of(Step.STATEMENT):
        raise StepError(Step.ROOT, "b", "second")
    steps.passed(Step.ROOT, "fine")
    steps.remark(Step.ROOT, "more")
    result = result_of(steps)
    assert [(fault.step, fault.detail) for fault in result.faults] == [(Step.ROOT, "a: first")]
    assert (result.verdict, result.scope) == (Verdict.NOT_VERIFIED, None)


def test_a_remark_is_added_to_a_step_that_was_reached() -> None:
    steps = passed(Step.LOG)
    for step in (Step.LINES, Step.LOG):
        steps.remark(step, "more")
    result = result_of(steps)
    assert result.steps[Step.LINES - 1].detail == "fine; more"
    assert (result.steps[Step.LOG - 1].status, result.verdict) == (Status.NOT_REACHED, Verdict.NOT_VERIFIED)


def test_steps_that_are_open_or_not_part_do_not_break_the_verdict() -> None:
    steps = passed(Step.SIGNATURE, Step.LOG)
    steps.open(Step.SIGNATURE, "no key")
    steps.not_part(Step.LOG, detail="no log")
    result = result_of(steps)
    assert (result.verdict, result.scope, [each.step for each in result.steps]) == (
        Verdict.VERIFIED,
        "states it",
        STEPS,
    )


def test_an_error_of_the_program_is_no_fault_of_the_evidence() -> None:
    steps = Steps()
    with pytest.raises(KeyError), steps.of(Step.LINES):
        raise KeyError
    assert not steps.failed(*Step)


def test_a_fault_is_kept_though_the_step_is_said_to_be_open_or_no_part() -> None:
    for end in ("open", "not_part", "passed"):
        steps = passed(Step.LINES)
        with steps.of(Step.LINES):
            raise EvidenceError("a", "first")
        if end == "not_part":
            steps.not_part(Step.COUNTS, Step.LINES, detail="other")
        else:
            getattr(steps, end)(Step.LINES, "other")
        assert [(fault.step, fault.detail) for fault in result_of(steps).faults] == [(Step.LINES, "a: first")]
        assert (steps.failed(Step.ROOT, Step.LINES), steps.failed(Step.ROOT, Step.COUNTS)) == (True, False)
        assert not steps.failed()
    assert result_of(steps).steps[Step.COUNTS - 1].status is Status.PASSED
