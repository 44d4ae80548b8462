"""Formats the story of a row as a tree.

Hashes and long texts are shortened. The JSON form contains them in full.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from elspeth.cli.terminal import printable
from elspeth.contracts.audit import (
    Artifact,
    Call,
    Node,
    NodeState,
    NodeStateCompleted,
    NodeStateFailed,
    NodeStateOpen,
    RunProcess,
    SourceInput,
    TokenOutcome,
    TransformErrorRecord,
    ValidationErrorRecord,
)
from elspeth.contracts.errors import format_count
from elspeth.core.canonical import timestamp_text
from elspeth.core.landscape.queries.story.model import (
    BatchStory,
    MentionedToken,
    OperationStory,
    OutputStory,
    RouteStory,
    RowStory,
    StepStory,
    TokenStory,
)
from elspeth_schema.contracts import AdoptedValue

__all__ = ["Branch", "draw_tree", "story_text"]

Contents: TypeAlias = Mapping[str, object]
_NOTHING: Contents = MappingProxyType({})

_HASH_LENGTH = 12
"""The number of characters of a hash that are shown."""

_TEXT_LENGTH = 200
"""The largest number of characters of a message or JSON text that are shown."""

_MAX_ITEMS = 10
"""The largest number of items of a list, such as the members of a batch or the artifacts of a sink."""


class Branch:
    """A line of a tree, and the branches below it."""

    __slots__ = ("branches", "label")

    def __init__(self, label: str, *branches: Branch) -> None:
        self.label = label
        self.branches = branches


def draw_tree(tree: Branch) -> str:
    """Return the tree as lines of text.

    Unprintable characters are escaped, because labels may contain untrusted text.
    """
    return "\n".join(_tree_lines(tree, "", ""))


def _tree_lines(tree: Branch, first: str, rest: str) -> Iterator[str]:
    yield first + printable(tree.label)
    for branch in tree.branches[:-1]:
        yield from _tree_lines(branch, f"{rest}├─ ", f"{rest}│  ")
    for branch in tree.branches[-1:]:
        yield from _tree_lines(branch, f"{rest}└─ ", f"{rest}   ")


def story_text(story: RowStory, contents: Contents = _NOTHING) -> str:
    """Return the story as a tree of text.

    `contents`, by their references, provide the values that gates read.
    """
    row = story.row
    kept = f", kept as {row.source_data_ref}" if row.source_data_ref else ""
    return draw_tree(
        Branch(
            f"run {story.run_id}: {story.run_status}",
            *_shorten_list(map(_process_branch, story.processes)),
            Branch(
                f"row {row.row_index} from {_node(story.source)}: {_hash(row.source_data_hash)}{kept}",
                *_shorten_list(map(_input_branch, story.source_inputs)),
                *_shorten_list(map(_operation_branch, story.source_operations)),
                *_shorten_list(map(_validation_error_branch, story.validation_errors)),
                *(_token_branch(token, contents, parents=True) for token in story.tokens),
                *([] if story.tokens else [Branch("no token was recorded")]),
            ),
            *map(_adopted_branch, story.adopted_values),
        )
    )


def _process_branch(process: RunProcess) -> Branch:
    place = "@".join(filter(None, [process.user_name, process.host_name]))
    changed = " with changes" if process.repository_is_dirty else ""
    facts = {
        "on": process.operating_system,
        "with": f"elspeth {process.elspeth_version}, {process.python_version}",
        "packages": None if process.packages_json == "{}" else process.packages_json,
        "settings of commit": process.repository_commit and f"{_hash(process.repository_commit)}{changed}",
        "labels": process.labels_json and _shorten(process.labels_json),
    }
    what = "resumed" if process.attempt else "begun"
    return Branch(f"{what} {timestamp_text(process.started_at)}{f' by {place}' if place else ''}{_facts(facts)}")


def _input_branch(each: SourceInput) -> Branch:
    what = f" {each.path_or_uri}" if each.path_or_uri else ""
    size = "" if each.size_bytes is None else f", {each.size_bytes:,} bytes"
    facts = {
        "SHA-256": each.content_hash and _hash(each.content_hash),
        "version": each.object_version,
        "asked": each.query_text and _shorten(each.query_text),
    }
    return Branch(f"{each.input_type}{what}: {format_count(each.row_count, 'row')}{size}{_facts(facts)}")


def _token_branch(story: TokenStory, contents: Contents, *, parents: bool = False) -> Branch:
    token = story.token
    made = {
        "on branch": token.branch_name,
        "by fork": token.fork_group_id,
        "by merge": token.join_group_id,
        "by expansion": token.expand_group_id,
    }
    label = f"token {token.token_id}{_facts(made)}"
    if story.parents and (parents or len(story.parents) > 1):
        label += f", made from {', '.join(parent.parent_token_id for parent in story.parents)}"
    return Branch(
        label,
        *(_batch_branch(batch, "came out of") for batch in story.made_by),
        *(_step_branch(step, contents) for step in story.steps),
        *map(_transform_error_branch, story.errors),
        *(_batch_branch(batch, "went into") for batch in story.batches),
        *(Branch(f"outcome: {_outcome(outcome)}") for outcome in story.outcomes),
        *([] if any(outcome.is_terminal for outcome in story.outcomes) else [Branch("outcome: has not ended")]),
        *(_token_branch(child, contents) for child in story.children),
        *(Branch(f"merged into token {token.token_id}, shown under its first parent") for token in story.merged_into),
    )


def _step_branch(story: StepStory, contents: Contents) -> Branch:
    state = story.state
    retry = f", attempt {state.attempt}" if state.attempt else ""
    return Branch(
        f"step {state.step_index} at {_node(story.node)}{retry}: {_progress(state)}",
        *_reason_branches(state),
        *map(_call_branch, story.calls),
        *(_route_branch(route, contents) for route in story.routes),
        *_shorten_list(map(_operation_branch, story.operations)),
        *_shorten_list(map(_artifact_branch, story.artifacts)),
    )


def _progress(state: NodeState) -> str:
    given = f", input {_hash(state.input_hash)}"
    if isinstance(state, NodeStateOpen):
        return f"{state.status}{given}"
    output = state.output_hash if isinstance(state, NodeStateCompleted | NodeStateFailed) else None
    made = "no output" if output is None else f"output {'the same' if output == state.input_hash else _hash(output)}"
    return f"{state.status}{_duration(state.duration_ms)}{given}, {made}"


def _reason_branches(state: NodeState) -> Iterator[Branch]:
    if isinstance(state, NodeStateCompleted) and state.success_reason_json is not None:
        yield Branch(f"because {_shorten(state.success_reason_json)}")
    if isinstance(state, NodeStateFailed) and state.error_json is not None:
        yield Branch(f"error {_shorten(state.error_json)}")


def _route_branch(story: RouteStory, contents: Contents) -> Branch:
    event = story.event
    seen = [Branch(_shorten(text)) for text in _seen(contents.get(event.reason_ref or ""))]
    facts = {
        "mode": event.mode,
        "reason": event.reason_hash and _hash(event.reason_hash),
        "kept as": event.reason_ref,
    }
    return Branch(f"sent along {story.edge.label} to {_node(story.target)}{_facts(facts)}", *seen)


def _seen(reason: object) -> Iterator[str]:
    """Yield the values that a gate read, and its result."""
    match reason:
        case {"values": dict(values), "absent": list(absent), "label": str(label)}:
            fields = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
            yield f"{', '.join([*fields, *(f'no {name}' for name in absent)]) or 'no field'} → {label}"


def _call_branch(call: Call) -> Branch:
    facts = {
        "request": _hash(call.request_hash),
        "kept as": call.request_ref,
        "answer": call.response_hash and _hash(call.response_hash),
        "answer kept as": call.response_ref,
        "error": call.error_json and _shorten(call.error_json),
    }
    return Branch(f"call {call.call_index} {call.call_type}: {call.status}{_duration(call.latency_ms)}{_facts(facts)}")


def _operation_branch(story: OperationStory) -> Branch:
    operation = story.operation
    error = f", error {_shorten(operation.error_message)}" if operation.error_message else ""
    return Branch(
        f"{operation.operation_type}: {operation.status}{_duration(operation.duration_ms)}{error}",
        *_shorten_list(map(_call_branch, story.calls)),
    )


def _artifact_branch(artifact: Artifact) -> Branch:
    size = f"{artifact.size_bytes:,} bytes"
    return Branch(f"{artifact.artifact_type} {artifact.path_or_uri}: {size}, {_hash(artifact.content_hash)}")


def _batch_branch(story: BatchStory, verb: str) -> Branch:
    batch = story.batch
    facts = {
        "attempt": batch.attempt or None,
        "triggered by": batch.trigger_type,
        "because": batch.trigger_reason and _shorten(batch.trigger_reason),
    }
    members = [Branch(f"member {each.member.ordinal}: {_mentioned_token(each.token)}") for each in story.members]
    return Branch(
        f"{verb} batch {batch.batch_id} of {_node(story.node)}: {batch.status}{_facts(facts)}",
        *_shorten_list(members),
        *_shorten_list(map(_output_branch, story.outputs)),
    )


def _output_branch(story: OutputStory) -> Branch:
    if story.token is not None:
        return Branch(f"output: {_mentioned_token(story.token)}")
    if story.artifact is not None:
        return Branch(f"output: {_artifact_branch(story.artifact).label}")
    return Branch(f"output: {story.output.output_type} {story.output.output_id}, which is not in the run")


def _mentioned_token(story: MentionedToken) -> str:
    ended = "has not ended" if story.outcome is None else _outcome(story.outcome)
    return f"token {story.token.token_id} of row {story.row_index}: {ended}"


def _outcome(outcome: TokenOutcome) -> str:
    facts = {
        "to sink": outcome.sink_name,
        "batch": outcome.batch_id,
        "fork": outcome.fork_group_id,
        "merge": outcome.join_group_id,
        "expansion": outcome.expand_group_id,
        "expected": outcome.expected_branches_json and _shorten(outcome.expected_branches_json),
        "error": outcome.error_hash and _hash(outcome.error_hash),
        "context": outcome.context_json and _shorten(outcome.context_json),
    }
    return f"{outcome.outcome}{_facts(facts)}"


def _validation_error_branch(error: ValidationErrorRecord) -> Branch:
    # The predecessor did not always record the destination.
    destination = "destination not recorded" if error.destination is None else f"sent to {error.destination}"
    return Branch(f"invalid, {destination}: {_shorten(error.error)}")


def _transform_error_branch(error: TransformErrorRecord) -> Branch:
    details = "no details" if error.error_details_json is None else _shorten(error.error_details_json)
    return Branch(f"not processed at {error.transform_id}, sent to {error.destination}: {details}")


def _adopted_branch(value: AdoptedValue) -> Branch:
    contents = "" if value.contents_hash is None else f", contents {_hash(value.contents_hash)}"
    return Branch(f"{value.source_table} {value.source_key} also had {_shorten(value.values_json)}{contents}")


def _node(node: Node) -> str:
    return f"{node.node_id} ({node.plugin_name} {node.plugin_version})"


def _facts(facts: Mapping[str, object]) -> str:
    return "".join(f", {name} {value}" for name, value in facts.items() if value is not None)


def _hash(digest: str) -> str:
    return digest[:_HASH_LENGTH]


def _shorten(text: str) -> str:
    return text if len(text) <= _TEXT_LENGTH else f"{text[:_TEXT_LENGTH]}... ({len(text):,} characters)"


def _duration(duration_ms: float | None) -> str:
    return "" if duration_ms is None else f" in {duration_ms:,.1f} ms"


def _shorten_list(branches: Iterable[Branch]) -> Sequence[Branch]:
    """Return the first branches, and one that counts the others."""
    found = list(branches)
    more = len(found) - _MAX_ITEMS
    return found if more <= 0 else [*found[:_MAX_ITEMS], Branch(f"and {more:,} more, in the JSON form")]
