"""Tells the story of a row or of a token from the records of its run.

Records are fetched by type for all tokens of the story at once: how many questions the trail is asked depends on how
often tokens were made from tokens, not on how many there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from elspeth.core.landscape.database import LandscapeError
from elspeth.core.landscape.queries.story.batches import read_batches
from elspeth.core.landscape.queries.story.model import RowStory, TokenStory
from elspeth.core.landscape.queries.story.steps import read_operations, read_steps
from elspeth.core.landscape.queries.story.trail import Trail, grouped, referred
from elspeth.core.landscape.records.mapping import mapper
from elspeth_schema import records
from elspeth_schema.contracts import Row, Token, TokenParent

__all__ = ["NotRecordedError", "row_story", "token_story"]

_Links = Mapping[str, tuple[TokenParent, ...]]
"""By token the links to those of its parents that belong to the story, the first parent first."""


class NotRecordedError(LandscapeError):
    """The run has no such row or token."""


def row_story(trail: Trail, row_index: int) -> RowStory:
    """The story of the row at that position in the source, from 0, with all its tokens.

    NotRecordedError if there is none; AuditIntegrityError for records that cannot be true.
    """
    row = next(iter(trail.records(records.ROW, "row_index", [row_index])), None)
    if row is None:
        message = f"run {trail.run_id} has no row {row_index}: rows are counted from 0, in the order of reading"
        raise NotRecordedError(message)
    return _story(trail, row, trail.records(records.TOKEN, "row_id", [row.row_id]))


def token_story(trail: Trail, token_id: str) -> RowStory:
    """The story of a token and of those made from it, with the row that it carries.

    NotRecordedError if there is none; AuditIntegrityError for records that cannot be true.
    """
    token = next(iter(trail.records(records.TOKEN, "token_id", [token_id])), None)
    if token is None:
        message = f"run {trail.run_id} has no token {token_id}"
        raise NotRecordedError(message)
    rows = referred(trail, records.ROW, [token], "row_id")
    return _story(trail, rows[token.row_id], [token])


def _story(trail: Trail, row: Row, start: Sequence[Token]) -> RowStory:
    (run,) = trail.records(records.RUN, "run_id", [trail.run_id])
    source = referred(trail, records.NODE, [row], "source_node_id")[row.source_node_id]
    errors = trail.records(records.VALIDATION_ERROR, "row_hash", [row.source_data_hash])
    return RowStory(
        run_id=run.run_id,
        run_status=run.status,
        row=row,
        source=source,
        source_operations=read_operations(trail, [source.node_id]).get(source.node_id, ()),
        validation_errors=tuple(sorted(errors, key=lambda error: (error.created_at, error.error_id))),
        tokens=_journeys(trail, _with_descendants(trail, start)),
    )


def _with_descendants(trail: Trail, start: Iterable[Token]) -> dict[str, Token]:
    """The tokens and all that were made from them, of whatever row, by id."""
    found = {token.token_id: token for token in start}
    latest = found
    while latest:
        links = trail.records(records.TOKEN_PARENT, "parent_token_id", latest)
        latest = referred(trail, records.TOKEN, [link for link in links if link.token_id not in found], "token_id")
        found = found | latest
    return found


def _journeys(trail: Trail, tokens: Mapping[str, Token]) -> tuple[TokenStory, ...]:
    """The stories of the tokens that have no parent among them; each other is told within that of its first parent."""
    parents = grouped(trail, records.TOKEN_PARENT, "token_id", tokens, "ordinal", "parent_token_id")
    links = {
        token_id: tuple(link for link in parents.get(token_id, ()) if link.parent_token_id in tokens)
        for token_id in sorted(tokens)  # so that of several false links every trail names the same
    }
    steps = read_steps(trail, tokens)
    batches = read_batches(trail, tokens)
    outcomes = grouped(trail, records.TOKEN_OUTCOME, "token_id", tokens, "recorded_at", "outcome_id")
    errors = grouped(trail, records.TRANSFORM_ERROR, "token_id", tokens, "created_at", "error_id")
    in_order = _as_siblings(tokens, links)
    children = _children(in_order, links)
    told: dict[str, TokenStory] = {}
    for token_id in _children_first(links):
        made = [(child, links[child.token_id][0].parent_token_id == token_id) for child in children.get(token_id, ())]
        told[token_id] = TokenStory(
            token=tokens[token_id],
            parents=parents.get(token_id, ()),
            made_by=batches.made_by.get(token_id, ()),
            steps=steps.get(token_id, ()),
            errors=errors.get(token_id, ()),
            batches=batches.joined.get(token_id, ()),
            outcomes=outcomes.get(token_id, ()),
            children=tuple(told[child.token_id] for child, is_first in made if is_first),
            merged_into=tuple(child for child, is_first in made if not is_first),
        )
    return tuple(told[token.token_id] for token in in_order if not links[token.token_id])


def _as_siblings(tokens: Mapping[str, Token], links: _Links) -> list[Token]:
    """The tokens in the order in which they were made; those made at the same time by their ordinals."""
    return sorted(
        tokens.values(),
        key=lambda token: (token.created_at, [link.ordinal for link in links[token.token_id][:1]], token.token_id),
    )


def _children(tokens: Iterable[Token], links: _Links) -> dict[str, list[Token]]:
    children: dict[str, list[Token]] = {}
    for token in tokens:
        for link in links[token.token_id]:
            children.setdefault(link.parent_token_id, []).append(token)
    return children


def _children_first(links: _Links) -> list[str]:
    """The tokens in an order in which each comes after those made from it; AuditIntegrityError if there is none."""
    sorter = TopologicalSorter({token_id: [link.parent_token_id for link in each] for token_id, each in links.items()})
    try:
        return list(sorter.static_order())[::-1]
    except CycleError as error:
        _, (parent, token_id, *_) = error.args
        (link,) = (link for link in links[token_id] if link.parent_token_id == parent)
        raise mapper(records.TOKEN_PARENT).error(
            list(mapper(records.TOKEN_PARENT).to_row(link).values()),
            "parent_token_id",
            "a token that was not made from this one",
            parent,
        ) from error
