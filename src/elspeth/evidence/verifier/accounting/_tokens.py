"""Checks how tokens are made and how they end.

This proves the laws of numbers, tokens, groups and ends.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from elspeth.evidence.format.laws import Law
from elspeth.evidence.verifier._key_map import compact
from elspeth.evidence.verifier.accounting._account import (
    EXPAND,
    FLAG,
    FORK,
    INTEGER,
    JOIN,
    NOWHERE,
    OR_NULL,
    OUTCOME_BITS,
    OUTCOMES,
    TEXT,
    TIME,
    Account,
    AnyLedger,
    Columns,
    Ledger,
    Links,
    Values,
    present,
    put_at,
    reach,
    value_at,
)

__all__ = ["LEDGERS", "check_tokens"]

_MAX_SINKS = (1 << 12) - 1

_CODES: Mapping[str | None, int] = {name: code for code, name in enumerate(OUTCOMES, start=1)}
_GROUP_COLUMNS = {"fork_group_id": FORK, "expand_group_id": EXPAND, "join_group_id": JOIN}
_OUTCOME_OF_KIND = {FORK: "forked", EXPAND: "expanded", JOIN: "coalesced"}
_GROUP_OUTCOMES = {_CODES[name]: name for name in _OUTCOME_OF_KIND.values()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _RowFacts:
    """The first row number, the first gap, and the sources.

    `gap` is the index of the first row whose number is not the next one.
    """

    first_number: int
    gap: int | None
    sources: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _TokenFacts:
    """Index, kind and group of tokens made from others."""

    made: Sequence[tuple[int, int, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _GroupOutcome:
    """The statements of an outcome about a group.

    `children` is the number of children that it expects, -1 if that cannot be read, and None if it expects no number.
    `is_late` tells that the token came after the merge.
    """

    index: int
    kind: int
    group: bytes
    children: int | None
    is_late: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _OutcomeFacts:
    """The codes, sinks and groups of outcomes.

    The code is 0 for outcomes that are not terminal.
    """

    codes: array[int]
    sinks: Sequence[str | None]
    groups: Sequence[_GroupOutcome]


def _read_rows(columns: Columns) -> _RowFacts:
    numbers = list(map(int, cast("Sequence[str]", columns["row_index"])))
    expected = range(numbers[0], numbers[0] + len(numbers))
    gap = None
    if numbers != list(expected):
        gap = next(
            index for index, (number, wanted) in enumerate(zip(numbers, expected, strict=True)) if number != wanted
        )
    return _RowFacts(first_number=numbers[0], gap=gap, sources=cast("Sequence[str]", columns["source_node_id"]))


def _enter_rows(account: Account, first: int, facts: _RowFacts, _: Links) -> None:
    gap = facts.gap if facts.first_number == first else 0
    if gap is not None:
        account.breach(Law.NUMBERS, "row", first + gap, f"expected the row_index {first + gap:,} next, got another")
    nodes = account.nodes
    account.sources.extend([nodes.get(source, NOWHERE) for source in facts.sources])
    account.carried.extend(bytes(len(facts.sources)))


def _read_tokens(columns: Columns) -> _TokenFacts:
    made: list[tuple[int, int, bytes]] = []
    for name, kind in _GROUP_COLUMNS.items():
        indexes = _not_null(columns[name])
        groups = compact([columns[name][index] for index in indexes]) if indexes else []
        made += [(index, kind, group) for index, group in zip(indexes, groups, strict=True)]
    return _TokenFacts(made=sorted(made))


def _not_null(values: Values) -> list[int]:
    if values.count(None) == len(values):
        return []
    return [index for index, value in enumerate(values) if value is not None]


def _enter_tokens(account: Account, first: int, facts: _TokenFacts, links: Links) -> None:
    rows = present(links[0])
    account.rows.extend(rows)
    for row in set(rows):
        account.carried[row] = 1
    if not facts.made:
        return
    groups = account.groups
    for (index, kind, _), group in zip(facts.made, _group_numbers(account, facts.made), strict=True):
        if groups.kinds[group] != kind or value_at(account.made, first + index):
            problem = "expected it to be made by one fork, one expansion or one merge"
            account.breach(Law.GROUPS, "token", first + index, problem)
            continue
        put_at(account.made, first + index, group + 1)
        groups.children[group] += 1


def _group_numbers(account: Account, made: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """Return the numbers of the groups that made these tokens.

    A group is numbered at its first token.
    """
    groups = account.groups
    keys = [key for _, _, key in made]
    kinds = {key: kind for _, kind, key in reversed(made)}
    known = dict(zip(keys, groups.keys.find(keys), strict=True))
    new = [key for key in kinds if known[key] is None]
    for key in new:
        groups.kinds.append(kinds[key])
    for column in (groups.children, groups.links, groups.parents):
        column.frombytes(bytes(column.itemsize * len(new)))
    groups.keys.take(new)
    return present(groups.keys.find(keys))


def _enter_parents(account: Account, first: int, _: object, links: Links) -> None:
    groups = account.groups
    for index, (child, parent) in enumerate(zip(present(links[0]), present(links[1]), strict=True)):
        group = value_at(account.made, child)
        became = value_at(account.became, parent)
        if not group:
            problem = "expected a token that a fork, an expansion or a merge made, got another"
            account.breach(Law.GROUPS, "token_parent", first + index, problem)
            continue
        only = groups.parents[group - 1]
        is_join = groups.kinds[group - 1] == JOIN
        if became not in {0, group} or (not is_join and only not in {0, parent + 1}):
            problem = "expected one parent of all children of a fork or expansion, which became nothing else"
            account.breach(Law.GROUPS, "token_parent", first + index, problem)
        put_at(account.became, parent, group)
        groups.parents[group - 1] = parent + 1
        groups.links[group - 1] += 1


def _read_outcomes(columns: Columns) -> _OutcomeFacts:
    found = zip(columns["outcome"], columns["is_terminal"], strict=True)
    codes = [_CODES.get(outcome, len(OUTCOMES) + 1) if final == "true" else 0 for outcome, final in found]
    groups = []
    for name, kind in _GROUP_COLUMNS.items():
        for index in _not_null(columns[name]):
            [group] = compact([columns[name][index]])
            children = _expected_children(columns["expected_branches_json"][index])
            is_late = _is_late(columns["context_json"][index])
            groups.append(_GroupOutcome(index=index, kind=kind, group=group, children=children, is_late=is_late))
    return _OutcomeFacts(codes=array("B", codes), sinks=columns["sink_name"], groups=groups)


def _expected_children(text: str | None) -> int | None:
    """Return how many children are expected.

    The text holds the branches of a fork, or a count.
    """
    if text is None:
        return None
    value = _parsed(text)
    if isinstance(value, list):
        return len(value)
    count = value.get("count") if isinstance(value, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) else -1


def _is_late(text: str | None) -> bool:
    value = None if text is None else _parsed(text)
    return isinstance(value, dict) and value.get("merged") is False


def _parsed(text: str) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value


def _enter_outcomes(account: Account, first: int, facts: _OutcomeFacts, links: Links) -> None:
    tokens = present(links[0])
    sinks = {name: _sink_number(account, name, first) for name in set(facts.sinks)}
    if any(facts.codes):
        reach(account.ended, max(tokens))
    for index, (token, code, sink) in enumerate(zip(tokens, facts.codes, facts.sinks, strict=True)):
        if not code:
            continue
        if account.ended[token]:
            account.breach(Law.ENDS, "token_outcome", first + index, "expected a token that has not ended yet")
        account.ended[token] = sinks[sink] << OUTCOME_BITS | code
    for index, batch in enumerate(links[1]):
        if batch is not None and facts.codes[index]:
            put_at(account.consumed, tokens[index], batch + 1)
    _enter_group_outcomes(account, first, facts, tokens)


def _enter_group_outcomes(account: Account, first: int, facts: _OutcomeFacts, tokens: Sequence[int]) -> None:
    with_group = {each.index for each in facts.groups}
    for index, code in enumerate(facts.codes):
        if code in _GROUP_OUTCOMES and index not in with_group:
            problem = f"expected the group of a token that was {_GROUP_OUTCOMES[code]}, got none"
            account.breach(Law.GROUPS, "token_outcome", first + index, problem)
    group_numbers = account.groups.keys.find([each.group for each in facts.groups])
    for each, group in zip(facts.groups, group_numbers, strict=True):
        outcome = _GROUP_OUTCOMES.get(facts.codes[each.index])
        group_problem = _group_problem(account, each, group, tokens[each.index], outcome)
        if group_problem is not None:
            account.breach(Law.GROUPS, "token_outcome", first + each.index, group_problem)
        if each.kind == FORK and outcome == _OUTCOME_OF_KIND[FORK] and group is not None:
            children, copies = account.groups.children[group], value_at(account.copies, tokens[each.index])
            if copies != children:
                problem = f"expected a copy to be recorded for each of {children} children of a fork, got {copies}"
                account.breach(Law.ROUTES, "token_outcome", first + each.index, problem)


def _sink_number(account: Account, name: str | None, first: int) -> int:
    if name is None:
        return 0
    sinks = account.sinks
    if len(sinks) >= _MAX_SINKS and name not in sinks:
        account.breach(Law.OUTCOMES, "token_outcome", first, f"expected at most {_MAX_SINKS:,} sinks")
        return 0
    return sinks.setdefault(name, len(sinks) + 1)


def _group_problem(
    account: Account, said: _GroupOutcome, group: int | None, token: int, outcome: str | None
) -> str | None:
    """Return how an outcome contradicts its group, or None."""
    groups = account.groups
    if outcome != _OUTCOME_OF_KIND[said.kind]:
        return "expected no group of an outcome that is not about one, or is about another"
    if group is None or groups.kinds[group] != said.kind:
        return f"expected a token that was made when it was {outcome}, got none"
    became, children = value_at(account.became, token), groups.children[group]
    if said.kind == JOIN:
        if became == group + 1 or (not became and said.is_late):
            return None
        return "expected the merge whose parent it is, or one that it came too late for, got another"
    if became != group + 1:
        return f"expected to be the parent of those that were made when it was {outcome}, got others"
    if said.children not in {None, children}:
        return f"expected {said.children} children, as it says, got {children}"
    return None


LEDGERS: Mapping[str, AnyLedger] = {
    "row": Ledger(
        columns={"row_id": TEXT, "row_index": INTEGER, "source_node_id": TEXT, "created_at": TIME},
        read=_read_rows,
        enter=_enter_rows,
    ),
    "token": Ledger(
        columns={
            "row_id": TEXT,
            "fork_group_id": TEXT + OR_NULL,
            "expand_group_id": TEXT + OR_NULL,
            "join_group_id": TEXT + OR_NULL,
            "created_at": TIME,
        },
        links={"row_id": "row"},
        read=_read_tokens,
        enter=_enter_tokens,
    ),
    "token_parent": Ledger(
        columns={"token_id": TEXT, "parent_token_id": TEXT},
        links={"token_id": "token", "parent_token_id": "token"},
        enter=_enter_parents,
    ),
    "token_outcome": Ledger(
        columns={
            "token_id": TEXT,
            "batch_id": TEXT + OR_NULL,
            "outcome": TEXT,
            "is_terminal": FLAG,
            "sink_name": TEXT + OR_NULL,
            "fork_group_id": TEXT + OR_NULL,
            "expand_group_id": TEXT + OR_NULL,
            "join_group_id": TEXT + OR_NULL,
            "context_json": TEXT + OR_NULL,
            "expected_branches_json": TEXT + OR_NULL,
            "recorded_at": TIME,
        },
        links={"token_id": "token", "batch_id": "batch"},
        read=_read_outcomes,
        enter=_enter_outcomes,
    ),
}


def check_tokens(account: Account) -> None:
    """Check that groups, rows and tokens are complete."""
    _check_groups(account)
    row = account.carried.find(0)
    if row >= 0:
        account.breach(Law.TOKENS, "row", row, "expected a token of this row, got none")
    if len(account.ended) < len(account.rows) or 0 in account.ended:
        token = account.ended.index(0) if 0 in account.ended else len(account.ended)
        missing = len(account.rows) - len(account.ended) + account.ended.count(0)
        problem = f"expected a terminal outcome of every token, got none of {missing:,} of {len(account.rows):,}"
        account.breach(Law.ENDS, "token", token, problem)


def _check_groups(account: Account) -> None:
    groups = account.groups
    for group, (kind, children, links) in enumerate(zip(groups.kinds, groups.children, groups.links, strict=True)):
        is_right = children == 1 and links if kind == JOIN else links == children
        if not is_right:
            token = account.made.index(group + 1) if group + 1 in account.made else 0
            problem = "expected one parent of each child of a fork or expansion, and some of a merged token"
            account.breach(Law.GROUPS, "token", token, problem)
            return
