"""The batches that tokens went into or came out of, read from a trail."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from elspeth.core.landscape.queries.story.model import BatchStory, MemberStory, MentionedToken, OutputStory
from elspeth.core.landscape.queries.story.trail import Trail, grouped, referred
from elspeth_schema import records
from elspeth_schema.contracts import Artifact, Batch, BatchMember, BatchOutput

__all__ = ["TokenBatches", "read_batches"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBatches:
    """The batches of tokens by token id: those that it went into, and those that it came out of."""

    joined: Mapping[str, tuple[BatchStory, ...]]
    made_by: Mapping[str, tuple[BatchStory, ...]]


def read_batches(trail: Trail, token_ids: Collection[str]) -> TokenBatches:
    """The batches of each token, in the order in which they were opened."""
    memberships = trail.records(records.BATCH_MEMBER, "token_id", token_ids)
    outputs = [
        output
        for output in trail.records(records.BATCH_OUTPUT, "output_id", token_ids)
        if output.output_type == records.TOKEN.name
    ]
    batches = referred(trail, records.BATCH, [*memberships, *outputs], "batch_id")
    stories = _read_stories(trail, batches)
    return TokenBatches(
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


def _read_stories(trail: Trail, batches: Mapping[str, Batch]) -> dict[str, BatchStory]:
    nodes = referred(trail, records.NODE, batches.values(), "aggregation_node_id")
    members = grouped(trail, records.BATCH_MEMBER, "batch_id", batches, "ordinal")
    outputs = grouped(trail, records.BATCH_OUTPUT, "batch_id", batches, "batch_output_id")
    tokens = _read_mentioned(trail, members.values(), outputs.values())
    artifacts = _read_artifacts(trail, outputs.values())
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
    """The tokens that are members or outputs, by id."""
    tokens = referred(trail, records.TOKEN, [member for group in members for member in group], "token_id")
    named = {output.output_id for group in outputs for output in group if output.output_type == records.TOKEN.name}
    tokens |= {token.token_id: token for token in trail.records(records.TOKEN, "token_id", named)}
    rows = referred(trail, records.ROW, tokens.values(), "row_id")
    outcomes = grouped(trail, records.TOKEN_OUTCOME, "token_id", tokens, "is_terminal", "recorded_at", "outcome_id")
    return {
        token_id: MentionedToken(
            token=token,
            row_index=rows[token.row_id].row_index,
            outcome=next(reversed(outcomes.get(token_id, ())), None),
        )
        for token_id, token in tokens.items()
    }


def _read_artifacts(trail: Trail, outputs: Iterable[Iterable[BatchOutput]]) -> dict[str, Artifact]:
    """The artifacts that are outputs, by id."""
    named = {output.output_id for group in outputs for output in group if output.output_type == records.ARTIFACT.name}
    return {artifact.artifact_id: artifact for artifact in trail.records(records.ARTIFACT, "artifact_id", named)}
