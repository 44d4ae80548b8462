"""The laws of accounting: no row goes missing unnoticed.

They hold for the trail of every run. Before a run publishes its outputs, it proves them for its own records by queries.
The verifier proves them again from the lines of a bag, with code that shares only these names with the queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["LAWS", "Law", "LawFacts"]


class Law(StrEnum):
    """The names of the laws in messages and documentation."""

    NUMBERS = "numbers"
    TOKENS = "tokens"
    READINGS = "readings"
    VISITS = "visits"
    ROUTES = "routes"
    ORIGINS = "origins"
    GROUPS = "groups"
    BATCHES = "batches"
    ENDS = "ends"
    OUTCOMES = "outcomes"
    OUTPUTS = "outputs"
    HASHES = "hashes"
    TIMES = "times"


@dataclass(frozen=True, slots=True, kw_only=True)
class LawFacts:
    """The text of a law, and its scope.

    `since` is the first epoch whose runs keep it. A failed run may break a law that holds only `of_completed` runs. A
    run itself proves the laws that are `proved_by_run`. The others concern records that are written after the proof, or
    values that the recorder derives from each other in one step.
    """

    says: str
    since: int = 5
    of_completed: bool = False
    proved_by_run: bool = True


LAWS: Mapping[Law, LawFacts] = {
    Law.NUMBERS: LawFacts(says="The rows of a run are numbered from 0, without a gap.", since=1),
    Law.TOKENS: LawFacts(says="Every row has a token.", since=1),
    Law.READINGS: LawFacts(says="Every row was read once: one visit of one of its tokens to its source."),
    Law.VISITS: LawFacts(
        says="Every token visits nodes, each visit one step after the one before and along an edge of the graph."
    ),
    Law.ROUTES: LawFacts(
        says=(
            "Every decision of a gate, with a copy for each child of a fork, and every diversion of a token that goes "
            "on after a failure, is recorded; it begins where it was made, and the token goes where it says."
        )
    ),
    Law.ORIGINS: LawFacts(
        says=(
            "Every token was sent by the source, made from others, or came out of a batch, and begins one step behind, "
            "along an edge of the graph."
        )
    ),
    Law.GROUPS: LawFacts(
        says=(
            "A token that was forked or expanded has as many children as its outcome says; a merged one has the "
            "parents that were coalesced into it; and what has a parent is such a child."
        )
    ),
    Law.BATCHES: LawFacts(
        says=(
            "Every member of a completed batch was consumed by it or came out of it again, nothing else was consumed, "
            "and every token that came out exists."
        )
    ),
    Law.ENDS: LawFacts(says="Every token has exactly one terminal outcome.", since=3, of_completed=True),
    Law.OUTCOMES: LawFacts(says="How a token ended is what its last visit shows; a sink's name stands for one node."),
    Law.OUTPUTS: LawFacts(
        says=(
            "The source and every sink completed their work, and the hashes of its results are those of as many rows "
            "as the trail has, and of the artifacts in it."
        ),
        of_completed=True,
        proved_by_run=False,
    ),
    Law.HASHES: LawFacts(says="Every hash is right whose text is in the trail.", since=1, proved_by_run=False),
    Law.TIMES: LawFacts(
        says="Nothing ends before it begins, and nothing lies outside of the time of its run.", proved_by_run=False
    ),
}
