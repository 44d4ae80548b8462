"""The story of a source row, as classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import cast

from elspeth.core.canonical import canonical_json
from elspeth.core.landscape.records.mapping import mapper, record_type_of
from elspeth_schema.contracts import (
    AdoptedValue,
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
    RunProcess,
    RunStatus,
    SourceInput,
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
    "exported_record",
    "records_in",
    "story_json",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationStory:
    """An operation of a source or sink, with its calls."""

    operation: Operation
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteStory:
    """An edge that a token took, and its target."""

    event: RoutingEvent
    edge: Edge
    target: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStory:
    """One visit of a token to a node.

    At a sink, `operations` are all operations of the sink in the run. `artifacts` are the artifacts of this visit. If a
    completed visit has none, they are all artifacts of the sink, because a sink need not record which artifact holds
    which row.
    """

    node: Node
    state: NodeState
    routes: tuple[RouteStory, ...]
    calls: tuple[Call, ...]
    operations: tuple[OperationStory, ...]
    artifacts: tuple[Artifact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MentionedToken:
    """A token of another story, with its row and outcome."""

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
    """An output of a batch: a token or an artifact.

    Both are None if the output names no record of the run.
    """

    output: BatchOutput
    token: MentionedToken | None
    artifact: Artifact | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStory:
    """A batch with its members and outputs, in order."""

    batch: Batch
    node: Node
    members: tuple[MemberStory, ...]
    outputs: tuple[OutputStory, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStory:
    """The journey of one token.

    A token that was merged from several appears once, among the `children` of its first parent; the other parents list
    it in `merged_into`. `made_by` are the batches that it came out of, and `batches` those that it went into.
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
    """A source row, with everything that happened to it.

    `processes` are the processes that carried out the run, and `source_inputs` the inputs that the source of the row
    read; both are empty for runs that did not record them. `validation_errors` are those of all rows with the same
    content, because an error names the content and not the row. `adopted_values` are the values, by table and key, that
    a database of the predecessor held about the run, the records of the story and its tokens, and that have no place in
    today's records.
    """

    run_id: str
    run_status: RunStatus
    processes: tuple[RunProcess, ...] = ()
    row: Row
    source: Node
    source_inputs: tuple[SourceInput, ...] = ()
    source_operations: tuple[OperationStory, ...]
    validation_errors: tuple[ValidationErrorRecord, ...]
    tokens: tuple[TokenStory, ...]
    adopted_values: tuple[AdoptedValue, ...] = ()


def records_in(value: object) -> Iterator[AuditRecord]:
    """Yield all records in a story, some more than once."""
    if isinstance(value, AuditRecord):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from records_in(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from records_in(getattr(value, field.name))


def exported_record(record: AuditRecord) -> dict[str, object]:
    """Return a record as the object that exports contain."""
    convert = mapper(record_type_of(record))
    return convert.to_record(list(convert.to_row(record).values()))


def story_json(story: RowStory, contents: Mapping[str, object] | None = None) -> str:
    """Return the story as canonical JSON.

    Each record in it is an object as in exports. `contents` are added as a field.
    """
    told = _as_json(story)
    return canonical_json(told if contents is None else {**cast("dict[str, object]", told), "contents": contents})


def _as_json(value: object) -> object:
    if isinstance(value, AuditRecord):
        return exported_record(value)
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    if is_dataclass(value):
        return {field.name: _as_json(getattr(value, field.name)) for field in fields(value)}
    return value
