"""Reads the story of a row or token.

Records of a type are fetched for all tokens of the story at once. The number of queries depends on the number of
generations of tokens, not on the number of tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from elspeth.core.canonical import canonical_json
from elspeth.core.landscape.database import LandscapeError
from elspeth.core.landscape.queries.story.model import (
    BatchStory,
    MemberStory,
    MentionedToken,
    OperationStory,
    OutputStory,
    RouteStory,
    RowStory,
    StepStory,
    TokenStory,
    records_in,
)
from elspeth.core.landscape.queries.story.trail import Trail, fetch_grouped, fetch_referred
from elspeth.core.landscape.records.mapping import mapper, record_type_of
from elspeth_schema import records
from elspeth_schema.contracts import (
    AdoptedValue,
    Artifact,
    AuditRecord,
    Batch,
    BatchMember,
    BatchOutput,
    NodeState,
    NodeStateStatus,
    NodeType,
    Row,
    Token,
    TokenParent,
)

__all__ = ["NotRecordedError", "records_of_rows", "row_story", "token_story"]

_Links = Mapping[str, tuple[TokenParent, ...]]
"""The links of each token to its parents within the story, in the order of parents."""


class NotRecordedError(LandscapeError):
    """The run has no such row or token."""


def row_story(trail: Trail, row_index: int) -> RowStory:
    """Return the story of a row with all its tokens.

    `row_index` is the position of the row in the source, from 0.

    Raises NotRecordedError if there is no such row, AuditIntegrityError if records contradict each other.
    """
    row = next(iter(trail.records(records.ROW, "row_index", [row_index])), None)
    if row is None:
        message = f"run {trail.run_id} has no row {row_index}: rows are counted from 0, in the order of reading"
        raise NotRecordedError(message)
    return _story(trail, row, trail.records(records.TOKEN, "row_id", [row.row_id]))


def token_story(trail: Trail, token_id: str) -> RowStory:
    """Return the story of a token and of its descendants.

    Raises NotRecordedError if there is no such token, AuditIntegrityError if records contradict each other.
    """
    token = next(iter(trail.records(records.TOKEN, "token_id", [token_id])), None)
    if token is None:
        message = f"run {trail.run_id} has no token {token_id}: give the whole id, as elspeth rows lists it"
        raise NotRecordedError(message)
    rows = fetch_referred(trail, records.ROW, [token], "row_id")
    return _story(trail, rows[token.row_id], [token])


def records_of_rows(trail: Trail, row_indexes: Collection[int]) -> Iterator[AuditRecord]:
    """Yield the records in the stories of rows.

    Some are yielded more than once; the run is left out. Rows that do not exist are skipped.
    """
    rows = trail.records(records.ROW, "row_index", row_indexes)
    sources = fetch_referred(trail, records.NODE, rows, "source_node_id")
    tokens = _with_descendants(trail, trail.records(records.TOKEN, "row_id", [row.row_id for row in rows]))
    found: list[AuditRecord] = [
        *rows,
        *sources.values(),
        *trail.records(records.VALIDATION_ERROR, "row_hash", {row.source_data_hash for row in rows}),
    ]
    for group in _read_operations(trail, sources).values():
        found += records_in(group)
    for story in _token_stories(trail, tokens):
        found += records_in(story)
    yield from found
    runs = trail.records(records.RUN, "run_id", [trail.run_id])
    yield from _read_adopted_values(trail, [*runs, *found], tokens)


def _story(trail: Trail, row: Row, start: Sequence[Token]) -> RowStory:
    (run,) = trail.records(records.RUN, "run_id", [trail.run_id])
    source = fetch_referred(trail, records.NODE, [row], "source_node_id")[row.source_node_id]
    processes = trail.records(records.RUN_PROCESS, "run_id", [trail.run_id])
    inputs = trail.records(records.SOURCE_INPUT, "node_id", [source.node_id])
    errors = trail.records(records.VALIDATION_ERROR, "row_hash", [row.source_data_hash])
    tokens = _with_descendants(trail, start)
    story = RowStory(
        run_id=run.run_id,
        run_status=run.status,
        processes=tuple(sorted(processes, key=lambda process: process.attempt)),
        row=row,
        source=source,
        source_inputs=tuple(sorted(inputs, key=lambda each: each.ordinal)),
        source_operations=_read_operations(trail, [source.node_id]).get(source.node_id, ()),
        validation_errors=tuple(sorted(errors, key=lambda error: (error.created_at, error.error_id))),
        tokens=_token_stories(trail, tokens),
    )
    return replace(story, adopted_values=_read_adopted_values(trail, [run, *records_in(story)], tokens))


def _read_adopted_values(
    trail: Trail, known: Iterable[AuditRecord], token_ids: Collection[str]
) -> tuple[AdoptedValue, ...]:
    """Return the parts of old rows that no record holds.

    They include rows that name one of the tokens and did not become records.
    """
    wanted = {
        (record_type_of(record).table.name, canonical_json(key)) for record in known for key in _source_keys(record)
    }
    found = trail.records(records.ADOPTED_VALUE, "source_key", {key for _, key in wanted})
    kept = {key: value for value in found if (key := (value.source_table, value.source_key)) in wanted}
    named = trail.records(records.ADOPTED_VALUE, "token_id", token_ids)
    kept |= {(value.source_table, value.source_key): value for value in named}
    return tuple(kept[key] for key in sorted(kept))


def _source_keys(record: AuditRecord) -> Iterator[list[object]]:
    """Yield the keys that a record may have had before.

    They had no run, or had the run as the last part.
    """
    run, *others = (getattr(record, name) for name in record_type_of(record).key)
    if others:
        yield others
    yield [*others, run]


def _with_descendants(trail: Trail, start: Iterable[Token]) -> dict[str, Token]:
    """Return the tokens and all their descendants, by id."""
    found = {token.token_id: token for token in start}
    latest = found
    while latest:
        links = trail.records(records.TOKEN_PARENT, "parent_token_id", latest)
        latest = fetch_referred(
            trail, records.TOKEN, [link for link in links if link.token_id not in found], "token_id"
        )
        found = found | latest
    return found


def _token_stories(trail: Trail, tokens: Mapping[str, Token]) -> tuple[TokenStory, ...]:
    """Return the stories of tokens without a parent among them.

    Every other token is part of the story of its first parent.
    """
    parents = fetch_grouped(trail, records.TOKEN_PARENT, "token_id", tokens, "ordinal", "parent_token_id")
    links = {
        token_id: tuple(link for link in parents.get(token_id, ()) if link.parent_token_id in tokens)
        for token_id in sorted(tokens)  # sorted, so that both kinds of trails report the same false link
    }
    steps = _read_steps(trail, tokens)
    batches = _read_batches(trail, tokens)
    outcomes = fetch_grouped(trail, records.TOKEN_OUTCOME, "token_id", tokens, "recorded_at", "outcome_id")
    errors = fetch_grouped(trail, records.TRANSFORM_ERROR, "token_id", tokens, "created_at", "error_id")
    in_order = _in_order_made(tokens, links)
    children = _children(in_order, links)
    stories: dict[str, TokenStory] = {}
    for token_id in _children_first(links):
        made = [(child, links[child.token_id][0].parent_token_id == token_id) for child in children.get(token_id, ())]
        stories[token_id] = TokenStory(
            token=tokens[token_id],
            parents=parents.get(token_id, ()),
            made_by=batches.made_by.get(token_id, ()),
            steps=steps.get(token_id, ()),
            errors=errors.get(token_id, ()),
            batches=batches.joined.get(token_id, ()),
            outcomes=outcomes.get(token_id, ()),
            children=tuple(stories[child.token_id] for child, is_first in made if is_first),
            merged_into=tuple(child for child, is_first in made if not is_first),
        )
    return tuple(stories[token.token_id] for token in in_order if not links[token.token_id])


def _in_order_made(tokens: Mapping[str, Token], links: _Links) -> list[Token]:
    """Return the tokens in order of creation.

    Tokens of the same time are sorted by their ordinals.
    """
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
    """Return the token ids, each after those of its children.

    Raises AuditIntegrityError if a token is its own ancestor.
    """
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


def _read_steps(trail: Trail, token_ids: Collection[str]) -> dict[str, tuple[StepStory, ...]]:
    """Return the visits of each token, by step and attempt."""
    visits = fetch_grouped(trail, records.NODE_STATE, "token_id", token_ids, "step_index", "attempt", "state_id")
    states = {state.state_id: state for group in visits.values() for state in group}
    nodes = fetch_referred(trail, records.NODE, states.values(), "node_id")
    routes = _read_routes(trail, states)
    calls = fetch_grouped(trail, records.CALL, "state_id", states, "call_index", "call_id")
    sinks = [node_id for node_id, node in nodes.items() if node.node_type is NodeType.SINK]
    operations = _read_operations(trail, sinks)
    artifacts = _artifacts_of_states(trail, states.values())
    return {
        token_id: tuple(
            StepStory(
                node=nodes[state.node_id],
                state=state,
                routes=routes.get(state.state_id, ()),
                calls=calls.get(state.state_id, ()),
                operations=operations.get(state.node_id, ()),
                artifacts=artifacts.get(state.state_id, ()),
            )
            for state in group
        )
        for token_id, group in visits.items()
    }


def _read_operations(trail: Trail, node_ids: Collection[str]) -> dict[str, tuple[OperationStory, ...]]:
    """Return the operations of each node, oldest first."""
    found = fetch_grouped(trail, records.OPERATION, "node_id", node_ids, "started_at", "operation_id")
    ids = [operation.operation_id for group in found.values() for operation in group]
    calls = fetch_grouped(trail, records.CALL, "operation_id", ids, "call_index", "call_id")
    return {
        node_id: tuple(
            OperationStory(operation=operation, calls=calls.get(operation.operation_id, ())) for operation in group
        )
        for node_id, group in found.items()
    }


def _read_routes(trail: Trail, state_ids: Collection[str]) -> dict[str, tuple[RouteStory, ...]]:
    """Return the edges that each visit chose, in order."""
    found = fetch_grouped(trail, records.ROUTING_EVENT, "state_id", state_ids, "created_at", "ordinal", "event_id")
    edges = fetch_referred(trail, records.EDGE, [event for group in found.values() for event in group], "edge_id")
    targets = fetch_referred(trail, records.NODE, edges.values(), "to_node_id")
    return {
        state_id: tuple(
            RouteStory(event=event, edge=edges[event.edge_id], target=targets[edges[event.edge_id].to_node_id])
            for event in group
        )
        for state_id, group in found.items()
    }


def _artifacts_of_states(trail: Trail, states: Collection[NodeState]) -> dict[str, tuple[Artifact, ...]]:
    """Return the artifacts that each visit made.

    A completed visit without artifacts gets all artifacts of its node.
    """
    order = ("created_at", "artifact_id")
    made = fetch_grouped(trail, records.ARTIFACT, "produced_by_state_id", [state.state_id for state in states], *order)
    others = [state for state in states if state.status is NodeStateStatus.COMPLETED and state.state_id not in made]
    of_node = fetch_grouped(trail, records.ARTIFACT, "sink_node_id", {state.node_id for state in others}, *order)
    return made | {state.state_id: of_node.get(state.node_id, ()) for state in others}


@dataclass(frozen=True, slots=True, kw_only=True)
class _TokenBatches:
    """The batches that tokens went into and came out of."""

    joined: Mapping[str, tuple[BatchStory, ...]]
    made_by: Mapping[str, tuple[BatchStory, ...]]


def _read_batches(trail: Trail, token_ids: Collection[str]) -> _TokenBatches:
    """Return the batches of each token, in order of creation."""
    memberships = trail.records(records.BATCH_MEMBER, "token_id", token_ids)
    outputs = [
        output
        for output in trail.records(records.BATCH_OUTPUT, "output_id", token_ids)
        if output.output_type == records.TOKEN.name
    ]
    batches = fetch_referred(trail, records.BATCH, [*memberships, *outputs], "batch_id")
    stories = _read_batch_stories(trail, batches)
    return _TokenBatches(
        joined=_by_token(stories, ((member.token_id, member.batch_id) for member in memberships)),
        made_by=_by_token(stories, ((output.output_id, output.batch_id) for output in outputs)),
    )


def _by_token(stories: Mapping[str, BatchStory], pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[BatchStory, ...]]:
    found: dict[str, list[BatchStory]] = {}
    for token_id, batch_id in pairs:
        found.setdefault(token_id, []).append(stories[batch_id])
    return {
        token_id: tuple(sorted(each, key=lambda story: (story.batch.created_at, story.batch.batch_id)))
        for token_id, each in found.items()
    }


def _read_batch_stories(trail: Trail, batches: Mapping[str, Batch]) -> dict[str, BatchStory]:
    nodes = fetch_referred(trail, records.NODE, batches.values(), "aggregation_node_id")
    members = fetch_grouped(trail, records.BATCH_MEMBER, "batch_id", batches, "ordinal")
    outputs = fetch_grouped(trail, records.BATCH_OUTPUT, "batch_id", batches, "batch_output_id")
    tokens = _read_mentioned(trail, members.values(), outputs.values())
    artifacts = _artifacts_of_batches(trail, outputs.values())
    return {
        batch_id: BatchStory(
            batch=batch,
            node=nodes[batch.aggregation_node_id],
            members=tuple(
                MemberStory(member=member, token=tokens[member.token_id]) for member in members.get(batch_id, ())
            ),
            outputs=tuple(
                OutputStory(
                    output=output,
                    token=tokens.get(output.output_id) if output.output_type == records.TOKEN.name else None,
                    artifact=artifacts.get(output.output_id) if output.output_type == records.ARTIFACT.name else None,
                )
                for output in outputs.get(batch_id, ())
            ),
        )
        for batch_id, batch in batches.items()
    }


def _read_mentioned(
    trail: Trail, members: Iterable[Iterable[BatchMember]], outputs: Iterable[Iterable[BatchOutput]]
) -> dict[str, MentionedToken]:
    """Return the tokens that are members or outputs, by id."""
    tokens = fetch_referred(trail, records.TOKEN, [member for group in members for member in group], "token_id")
    named = {output.output_id for group in outputs for output in group if output.output_type == records.TOKEN.name}
    tokens |= {token.token_id: token for token in trail.records(records.TOKEN, "token_id", named)}
    rows = fetch_referred(trail, records.ROW, tokens.values(), "row_id")
    outcomes = fetch_grouped(
        trail, records.TOKEN_OUTCOME, "token_id", tokens, "is_terminal", "recorded_at", "outcome_id"
    )
    return {
        token_id: MentionedToken(
            token=token,
            row_index=rows[token.row_id].row_index,
            outcome=next(reversed(outcomes.get(token_id, ())), None),
        )
        for token_id, token in tokens.items()
    }


def _artifacts_of_batches(trail: Trail, outputs: Iterable[Iterable[BatchOutput]]) -> dict[str, Artifact]:
    """Return the artifacts that are outputs, by id."""
    named = {output.output_id for group in outputs for output in group if output.output_type == records.ARTIFACT.name}
    return {artifact.artifact_id: artifact for artifact in trail.records(records.ARTIFACT, "artifact_id", named)}
