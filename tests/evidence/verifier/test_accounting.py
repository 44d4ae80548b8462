"""The laws of accounting, proved from a bag's lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import rfc8785

from elspeth.core.landscape.exporting.bag_form import references_document
from elspeth.evidence.format.laws import Law
from elspeth.evidence.verifier._examination import Documents
from elspeth.evidence.verifier.accounting import _tokens
from elspeth.evidence.verifier.procedure import Step, StepError
from elspeth_schema.records import RECORD_TYPES
from tests.engine.pipelines import Records
from tests.fixtures.broken_laws import EXAMPLES, broken
from tests.fixtures.every_kind import run_every_kind

SCHEMA = (Path(__file__).parents[3] / "generated/elspeth_schema/export.schema.json").read_bytes()
DOCUMENTS = Documents(schema=rfc8785.dumps(json.loads(SCHEMA)), references=references_document(), salts=None, version=2)


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Return the trail of a run with everything in it.

    Tests must not change it.
    """
    return run_every_kind(tmp_path_factory.mktemp("run"))


def lines_of(records: Records) -> list[bytes]:
    """Return records as the lines of a bag."""
    lines = []
    for name, record_type in RECORD_TYPES.items():
        some = sorted(records.get(name, []), key=lambda each: [each[column] for column in record_type.order])
        lines += [rfc8785.dumps(record) for record in some]
    return lines


def laws_of_lines(lines: Sequence[bytes], size: int = 10_000) -> set[Law]:
    """Return the broken laws, reading `size` lines at once."""
    checker = DOCUMENTS.checker()
    for start in range(0, len(lines), size):
        checker.check(start + 1, lines[start : start + size])
    checker.lifecycles()
    try:
        checker.accounting(5)
    except StepError as error:
        return {Law(part.split(": ")[1]) for part in str(error).split("; ") if error.step is Step.ACCOUNTING}
    return set()


@pytest.mark.parametrize("case", EXAMPLES)
def test_the_verifier_names_the_laws_that_are_broken(trail: Records, case: str) -> None:
    assert laws_of_lines(lines_of(broken(trail, case))) == EXAMPLES[case][1]


def test_an_operation_may_fail_before_it_is_completed_by_a_resumed_run(trail: Records) -> None:
    done = next(each for each in trail["operation"] if each["operation_type"] == "source_load")
    failed = done | {"operation_id": "0000000000000", "status": "failed", "error_message": "the disk was full"}
    failed |= {"output_data_hash": None}
    assert laws_of_lines(lines_of({**trail, "operation": [failed, *trail["operation"]]})) == set()


@pytest.mark.parametrize(("completed", "breaks"), [(20, set()), (18, {Law.OUTCOMES, Law.OUTPUTS})])
def test_the_last_of_many_attempts_decides(trail: Records, completed: int, breaks: set[Law]) -> None:
    states = trail["node_state"]
    sinks = {each["node_id"] for each in trail["node"] if each["node_type"] == "sink"}
    done = next(each for each in states if each["node_id"] in sinks and each["status"] == "completed")
    failed = next(each for each in states if each["status"] == "failed")
    refused = done | {name: failed[name] for name in ("status", "error_json", "output_hash", "success_reason_json")}
    attempts = [refused | {"state_id": f"{number:032}", "attempt": number} for number in range(21)]
    attempts[completed] = done | {"attempt": completed}
    others = [each for each in states if each is not done]
    assert laws_of_lines(lines_of({**trail, "node_state": [*attempts, *others]})) == breaks


@pytest.mark.parametrize(("fewer", "breaks"), [(0, False), (1, True)])
def test_more_sinks_than_the_verifier_can_count_are_refused(
    trail: Records, monkeypatch: pytest.MonkeyPatch, fewer: int, breaks: bool
) -> None:
    sinks = {outcome["sink_name"] for outcome in trail["token_outcome"]} - {None}
    monkeypatch.setattr(_tokens, "_MAX_SINKS", len(sinks) - fewer)
    assert (Law.OUTCOMES in laws_of_lines(lines_of(trail))) is breaks
