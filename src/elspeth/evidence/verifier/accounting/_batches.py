"""Checks batches: their members and the tokens out of them.

This proves the law of batches.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from elspeth.evidence.format.laws import Law
from elspeth.evidence.verifier._key_map import compact
from elspeth.evidence.verifier.accounting._account import (
    OR_NULL,
    TEXT,
    TIME,
    Account,
    AnyLedger,
    Columns,
    Ledger,
    Links,
    present,
    put_at,
    value_at,
)

__all__ = ["LEDGERS", "batches_of_origin"]

_BATCH = 0xFFFFFFFF
"""The bits of the batch, below those of the token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _BatchFacts:
    """The node of each batch, and whether it was completed."""

    batches: Sequence[tuple[str, bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _OutputFacts:
    """The keys of output tokens, None for other outputs."""

    tokens: Sequence[bytes | None]


def _read_batches(columns: Columns) -> _BatchFacts:
    found = zip(columns["aggregation_node_id"], columns["status"], strict=True)
    return _BatchFacts(batches=[(str(node), status == "completed") for node, status in found])


def _enter_batches(account: Account, first: int, facts: _BatchFacts, _: Links) -> None:  # noqa: ARG001  as a ledger asks
    for node, is_completed in facts.batches:
        account.batch_nodes.append(account.node(node))
        account.batch_is_completed.append(is_completed)


def _enter_members(account: Account, first: int, _: object, links: Links) -> None:  # noqa: ARG001
    batches, tokens = present(links[0]), present(links[1])
    account.members.extend([token << 32 | batch for token, batch in zip(tokens, batches, strict=True)])


def _read_outputs(columns: Columns) -> _OutputFacts:
    found = zip(columns["output_type"], columns["output_id"], strict=True)
    return _OutputFacts(tokens=[compact([key])[0] if kind == "token" else None for kind, key in found])


def _enter_outputs(account: Account, first: int, facts: _OutputFacts, links: Links) -> None:
    batches = present(links[0])
    found = [None] * len(batches) if account.token_keys is None else account.token_keys.find(facts.tokens)
    for index, (key, token, batch) in enumerate(zip(facts.tokens, found, batches, strict=True)):
        if token is not None:
            account.outputs.append(token << 32 | batch)
        elif key is not None:
            problem = "expected a token of the run to come out of the batch, got one that is not in the bag"
            account.breach(Law.BATCHES, "batch_output", first + index, problem)


LEDGERS: Mapping[str, AnyLedger] = {
    "batch": Ledger(
        columns={
            "aggregation_node_id": TEXT,
            "status": TEXT,
            "created_at": TIME,
            "completed_at": TIME + OR_NULL,
        },
        read=_read_batches,
        enter=_enter_batches,
    ),
    "batch_member": Ledger(
        columns={"batch_id": TEXT, "token_id": TEXT},
        links={"batch_id": "batch", "token_id": "token"},
        enter=_enter_members,
    ),
    "batch_output": Ledger(
        columns={"batch_id": TEXT, "output_type": TEXT, "output_id": TEXT},
        links={"batch_id": "batch"},
        read=_read_outputs,
        enter=_enter_outputs,
    ),
}


def batches_of_origin(account: Account) -> array[int]:
    """Return the batch that each token came out of.

    Batches are counted from 1, with 0 for none.

    Members of a batch that come out of it again have another origin. Checks the law of batches on the way.
    """
    origins: array[int] = array("I")
    outputs = sorted(account.outputs)
    consumed = position = 0
    for member in sorted(account.members):
        while position < len(outputs) and outputs[position] < member:
            _set_origin(account, origins, outputs[position])
            position += 1
        came_out = position < len(outputs) and outputs[position] == member
        position += came_out
        token, batch = member >> 32, member & _BATCH
        is_consumed = value_at(account.consumed, token) == batch + 1
        consumed += is_consumed
        if bool(account.batch_is_completed[batch]) != (is_consumed or came_out):
            problem = "expected every member of a completed batch, and no other, to be consumed or to come out of it"
            account.breach(Law.BATCHES, "token", token, problem)
    for output in outputs[position:]:
        _set_origin(account, origins, output)
    if consumed != len(account.consumed) - account.consumed.count(0):
        known = set(account.members)
        pairs = ((token, token << 32 | batch - 1) for token, batch in enumerate(account.consumed) if batch)
        token = next(token for token, pair in pairs if pair not in known)
        problem = "expected a token that was consumed to be a member of the batch"
        account.breach(Law.BATCHES, "token", token, problem)
    return origins


def _set_origin(account: Account, origins: array[int], output: int) -> None:
    token, batch = output >> 32, output & _BATCH
    if value_at(origins, token):
        account.breach(Law.ORIGINS, "token", token, "expected it to come out of one batch, got several")
    put_at(origins, token, batch + 1)
