"""The numbered procedure that verifies evidence, and its result.

The numbers are the same in the code, in docs/evidence.md, in the output of `elspeth verify` and in the names of tests.
Nothing that the bag says is used before steps 1 to 3 have passed; if one of them fails, no further step is taken.

1. Structure and manifests: the bag holds the files that its manifests list, with the SHA-256 listed, and no others.
2. Envelope and signature: the statement is signed by the key given.
3. Statement against files: the statement names exactly the payload files, with their SHA-256, a complete export, and
   epochs that fit the schema and the salts.
   The SHA-256 of the records is computed while they are read for the later steps.
4. Lines: each is canonical JSON, valid for its epoch, of the same run, in order; in older bags, with the salt that its
   key derives.
5. Counts: as many records, in all and of each type, as the statement says, about the run and status that it names.
6. Merkle root: the lines, each with its salt, are one by one the leaves of the tree whose root the statement gives.
7. References: every record that another refers to is in the bag, before it.
8. Lifecycles: every record of a completed run is finished. The unfinished records of a failed run are counted. A run
   that has not ended is incomplete.
9. Accounting: the laws of `elspeth.evidence.format.laws` hold, so that no row, token, visit or outcome is missing.
10. Log of runs: the run is in the log of its database, whose state the bag carries. Bags of databases without a log
    have no such part.
11. Verdict.

A database that was exported as found has no references, lifecycles, laws or log to check, so steps 7 to 10 are not part
of its verification. Steps 3 to 5 are about what such an export says: its tables, their rows and their forms.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.log_place import LogPlace

if TYPE_CHECKING:
    from elspeth.evidence.format.certificates import CertificateFacts

__all__ = ["Status", "Step", "StepError", "StepResult", "Steps", "Verdict", "Verification"]


class Step(IntEnum):
    """The steps of the procedure."""

    STRUCTURE = 1
    SIGNATURE = 2
    STATEMENT = 3
    LINES = 4
    COUNTS = 5
    ROOT = 6
    REFERENCES = 7
    LIFECYCLES = 8
    ACCOUNTING = 9
    LOG = 10
    VERDICT = 11

    @property
    def title(self) -> str:
        """The name of the step."""
        return _TITLES[self]


_TITLES: Mapping[Step, str] = {
    Step.STRUCTURE: "structure and manifests",
    Step.SIGNATURE: "envelope and signature",
    Step.STATEMENT: "statement against files",
    Step.LINES: "lines",
    Step.COUNTS: "counts",
    Step.ROOT: "Merkle root",
    Step.REFERENCES: "references",
    Step.LIFECYCLES: "lifecycles",
    Step.ACCOUNTING: "accounting",
    Step.LOG: "log of runs",
    Step.VERDICT: "verdict",
}


class Status(StrEnum):
    """How a step ended."""

    PASSED = "ok"
    FAILED = "FAILED"
    OPEN = "OPEN"
    """The step could not be decided: the bag is unsigned, or no key was given."""
    NOT_REACHED = "not reached"
    NOT_PART = "-"
    """The step has nothing to check in this form of evidence."""


class Verdict(StrEnum):
    """The result of the whole procedure."""

    VERIFIED = "VERIFIED"
    UNSIGNED = "CONSISTENT BUT UNSIGNED"
    """Everything fits together, but anybody could have made it so."""
    SIGNATURE_UNCHECKED = "CONSISTENT BUT SIGNATURE NOT CHECKED"
    """Everything fits together, but without a key nobody knows who made it so."""
    NOT_VERIFIED = "NOT VERIFIED"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """How a step ended.

    `detail` says what was checked, or gives the place and the problem.
    """

    step: Step
    status: Status
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The result of the procedure: its steps and the verdict.

    `statement` is the SHA-256 of the statement, which identifies a bag. It and `run_id` are None if no statement could
    be read. `scope` says what the evidence shows if it is not about a whole run. `log` is the run's place in the log of
    runs, if the bag has one. `certificate` holds the facts of the key's certificate, if the bag has one; step 2 says
    whether it was checked.
    """

    steps: tuple[StepResult, ...]
    verdict: Verdict
    run_id: str | None
    record_count: int
    statement: str | None = None
    scope: str | None = None
    log: LogPlace | None = None
    certificate: CertificateFacts | None = None

    @property
    def faults(self) -> tuple[StepResult, ...]:
        """The steps that failed, in order."""
        return tuple(result for result in self.steps if result.status is Status.FAILED)


class StepError(EvidenceError):
    """A fault in evidence, with the step that found it."""

    def __init__(self, step: Step, place: str, problem: str) -> None:
        super().__init__(place, problem)
        self.step = step


class Steps:
    """Collects the results of the steps.

    The first fault of a step is kept, whatever follows.
    """

    def __init__(self) -> None:
        self._results: dict[Step, StepResult] = {}

    def of(self, step: Step) -> AbstractContextManager[None, bool]:
        """Return a context that turns EvidenceError into a failed step."""
        return _Block(self, step)

    def fail(self, step: Step, error: EvidenceError) -> None:
        """Note a fault of this step.

        A StepError is a fault of the step that it names.
        """
        self._end(error.step if isinstance(error, StepError) else step, Status.FAILED, str(error))

    def passed(self, step: Step, detail: str) -> None:
        """Note that a step passed."""
        self._end(step, Status.PASSED, detail)

    def remark(self, step: Step, detail: str) -> None:
        """Add detail to a step that passed or is open."""
        if step in self._results and not self.failed(step):
            found = self._results[step]
            self._results[step] = replace(found, detail=f"{found.detail}; {detail}")

    def open(self, step: Step, detail: str) -> None:
        """Note that a step could not be decided."""
        self._end(step, Status.OPEN, detail)

    def not_part(self, *steps: Step, detail: str) -> None:
        """Note that these steps have nothing to check."""
        for step in steps:
            self._end(step, Status.NOT_PART, detail)

    def failed(self, *steps: Step) -> bool:
        """Return whether one of the steps failed."""
        return any(step in self._results and self._results[step].status is Status.FAILED for step in steps)

    def result(
        self,
        sound: Verdict,
        *,
        run_id: str | None,
        record_count: int,
        statement: str | None = None,
        scope: str | None = None,
        log: LogPlace | None = None,
        certificate: CertificateFacts | None = None,
    ) -> Verification:
        """Return the result.

        The verdict is `sound` if each step was reached and none failed.
        """
        missing = "an earlier fault made it impossible"
        results = tuple(
            self._results.get(step, StepResult(step=step, status=Status.NOT_REACHED, detail=missing))
            for step in Step
            if step is not Step.VERDICT
        )
        broken = any(result.status in {Status.FAILED, Status.NOT_REACHED} for result in results)
        verdict = Verdict.NOT_VERIFIED if broken else sound
        return Verification(
            steps=results,
            verdict=verdict,
            run_id=run_id,
            record_count=record_count,
            statement=statement,
            scope=None if broken else scope,
            log=log,
            certificate=certificate,
        )

    def _end(self, step: Step, status: Status, detail: str) -> None:
        if not self.failed(step):
            self._results[step] = StepResult(step=step, status=status, detail=detail)


class _Block(AbstractContextManager[None, bool]):
    def __init__(self, steps: Steps, step: Step) -> None:
        self._steps = steps
        self._step = step

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if isinstance(error, EvidenceError):
            self._steps.fail(self._step, error)
            return True
        return False
