"""Numbers that share bits do not change each other."""

from __future__ import annotations

from array import array
from itertools import product

import pytest

from elspeth.evidence.verifier.accounting._account import (
    NODES,
    NOWHERE,
    OUTCOME_BITS,
    OUTCOMES,
    Account,
    edge_code,
    node_of,
    outcome_of,
    put_at,
    sink_of,
    value_at,
)
from elspeth.evidence.verifier.accounting._tokens import _MAX_SINKS
from elspeth.evidence.verifier.accounting._visits import (
    _ATTEMPT_BIT,
    _MAX_ATTEMPTS,
    _MAX_STEPS,
    _NODE_BIT,
    _STATUS_MASK,
    _STEP_BIT,
    NEXT_STEP,
    NODE_MASK,
    Journey,
    _bounded,
    judge,
)
from elspeth.evidence.verifier.accounting.accountant import LEDGERS

NUMBERS = (0, 1, 255, 256, 257, 4096, NODES - 2, NOWHERE)


def test_an_outcome_and_a_sink_share_the_bits_of_an_end() -> None:
    pairs = list(product(range(len(OUTCOMES) + 2), (0, 1, 255, 256, _MAX_SINKS)))
    ended = array("H", [sink << OUTCOME_BITS | outcome for outcome, sink in pairs])
    assert [(outcome_of(each), sink_of(each)) for each in ended] == pairs


def test_edges_are_told_apart_by_both_ends_and_their_direction() -> None:
    pairs = list(product(NUMBERS, NUMBERS))
    assert len({edge_code(*each) for each in pairs}) == len(pairs)


@pytest.mark.parametrize("node", NUMBERS)
@pytest.mark.parametrize("step", [0, 1, 255, _MAX_STEPS - 1])
@pytest.mark.parametrize("attempt", [0, 1, _MAX_ATTEMPTS - 1])
def test_step_attempt_node_and_status_share_the_bits_of_a_visit(node: int, step: int, attempt: int) -> None:
    for status in range(3):
        visit = step << _STEP_BIT | attempt << _ATTEMPT_BIT | node << _NODE_BIT | status
        assert (node_of(visit), visit & _STATUS_MASK) == (node, status)
        journey = judge(Account(), array("Q", [visit]).tobytes(), b"")
        assert (journey.first, journey.last, journey.last_status) == (step * NEXT_STEP + node,) * 2 + (status,)
        assert (journey.last_node, journey.first & NODE_MASK, list(journey.nodes)) == (node, node, [node])


@pytest.mark.parametrize("limit", [_MAX_STEPS, _MAX_ATTEMPTS])
def test_a_number_beyond_its_bits_is_the_largest(limit: int) -> None:
    texts = ["0", "1", str(limit - 1), str(limit), str(10 * limit)]
    assert [_bounded(texts, limit)[each] for each in texts] == [0, 1, limit - 1, limit - 1, limit - 1]


def test_numbers_beyond_the_end_of_an_array_are_0() -> None:
    values = array("I")
    put_at(values, 3, 7)
    assert [value_at(values, number) for number in range(6)] == [0, 0, 0, 7, 0, 0]
    put_at(values, 1, 5)
    assert list(values) == [0, 5, 0, 7]


def test_a_node_beyond_the_known_ones_has_no_type() -> None:
    account = Account(nodes={"a": 0, "b": 1}, node_types=["source", "sink"])
    assert [account.node(name) for name in ("a", "b", "c")] == [0, 1, NOWHERE]
    assert [account.node_type(node) for node in (0, 1, 2, NOWHERE)] == ["source", "sink", "", ""]


def test_the_last_node_of_a_journey_is_that_of_its_last_place() -> None:
    facts = {"last_status": 0, "nodes": (), "visits": None, "routes": None}
    assert [Journey(first=0, last=3 * NEXT_STEP + node, **facts).last_node for node in NUMBERS] == list(NUMBERS)  # type: ignore[arg-type]


def test_nodes_that_the_bag_does_not_have_are_nowhere() -> None:
    account = Account(nodes={"a": 0}, node_types=["source"])
    some = {"row_index": ["0", "1"], "source_node_id": ["a", "b"]}
    batches = {"aggregation_node_id": ["a", "b"], "status": ["completed", "executing"]}
    for name, columns in (("row", some), ("batch", batches)):
        ledger = LEDGERS[name]
        assert ledger.read is not None
        assert ledger.enter is not None
        ledger.enter(account, 0, ledger.read(columns), ())
    assert list(account.sources) == list(account.batch_nodes) == [0, NOWHERE]
    assert list(account.batch_is_completed) == [True, False]
