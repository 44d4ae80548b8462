"""What became of one source row, as a value: its tokens, their steps, and where each journey ended."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass

from elspeth.core.canonical import canonical_json
from elspeth.core.landscape.records.mapping import mapper, record_type_of
from elspeth_schema.contracts import (
    Artifact,
    AuditRecord,
    Batch,
    BatchMember,
    BatchOutput,
    Call,
    Edge,
    Node,
    NodeState,
    Operation,
    RoutingEvent,
    Row,
    RunStatus,
    Token,
    TokenOutcome,
    TokenParent,
    TransformErrorRecord,
    ValidationErrorRecord,
)

__all__ = [
    "BatchStory",
    "MemberStory",
    "MentionedToken",
    "OperationStory",
    "OutputStory",
    "RouteStory",
    "RowStory",
    "StepStory",
    "TokenStory",
    "story_json",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationStory:
    """Work of a source or sink for all its rows, and the calls made meanwhile."""

    operation: Operation
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteStory:
    """An edge that a step sent its token along, and the node at the other end."""

    event: RoutingEvent
    edge: Edge
    target: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStory:
    """One visit of a token to a node.

    At a sink, `operations` are all that the sink did in the run, and `artifacts` those that this visit made or else,
    if it was completed, all that the sink made: a sink need not say which of its artifacts holds which row.
    """

    node: Node
    state: NodeState
    routes: tuple[RouteStory, ...]
    calls: tuple[Call, ...]
    operations: tuple[OperationStory, ...]
    artifacts: tuple[Artifact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MentionedToken:
    """A token that has a part in the story without being told here: where it comes from and how it ended."""

    token: Token
    row_index: int
    outcome: TokenOutcome | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStory:
    """A member of a batch."""

    member: BatchMember
    token: MentionedToken


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputStory:
    """What came out of a batch: a token or an artifact, or neither where the output names no record of the run."""

    output: BatchOutput
    token: MentionedToken | None
    artifact: Artifact | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStory:
    """A batch with what went into it and what came out, both in order."""

    batch: Batch
    node: Node
    members: tuple[MemberStory, ...]
    outputs: tuple[OutputStory, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStory:
    """The journey of one token.

    A token that was merged from several is told once, among the `children` of its first parent; the other parents
    have it in `merged_into`. `made_by` are the batches that it came out of, `batches` those that it went into.
    """

    token: Token
    parents: tuple[TokenParent, ...]
    made_by: tuple[BatchStory, ...]
    steps: tuple[StepStory, ...]
    errors: tuple[TransformErrorRecord, ...]
    batches: tuple[BatchStory, ...]
    outcomes: tuple[TokenOutcome, ...]
    children: tuple[TokenStory, ...]
    merged_into: tuple[Token, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowStory:
    """A row of a source and what became of it.

    `validation_errors` are those of all rows with the same content: an error names the content, not the row.
    """

    run_id: str
    run_status: RunStatus
    row: Row
    source: Node
    source_operations: tuple[OperationStory, ...]
    validation_errors: tuple[ValidationErrorRecord, ...]
    tokens: tuple[TokenStory, ...]


def story_json(story: RowStory) -> str:
    """The story as canonical JSON; each record in it is an object as exports have it."""
    return canonical_json(_as_json(story))


def _as_json(value: object) -> object:
    if isinstance(value, AuditRecord):
        convert = mapper(record_type_of(value))
        return convert.to_record(list(convert.to_row(value).values()))
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    if is_dataclass(value):
        return {field.name: _as_json(getattr(value, field.name)) for field in fields(value)}
    return value
