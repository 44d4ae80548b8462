"""Two runs are compared alike on either database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from elspeth.contracts.schema import SchemaConfig
from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.comparison import (
    AnswerDifference,
    CountDifference,
    DifferingRow,
    RowJourney,
    compare_counts,
    compare_rows,
    compare_settings,
    compare_steps,
)
from elspeth.core.landscape.queries.comparison import _collect as collect
from elspeth.core.landscape.queries.comparison import _compare as compare_facts
from elspeth.core.landscape.queries.runs import RecordedRun
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth_schema.contracts import RowOutcome, Token
from tests.fixtures import told_run
from tests.fixtures.landscapes import NewLandscape
from tests.fixtures.told_run import record_told_run


class OtherRecording(told_run._Recording):
    """Records the told run with another answer, route and end."""

    def complete(self, state_id: str, data: Mapping[str, object], reason: Mapping[str, object] | None = None) -> None:
        """Complete a visit; the call's answer is another one."""
        super().complete(state_id, {**data, "a": 3} if "a" in data else data, reason)

    def end(self, token: Token, outcome: RowOutcome, **more: Any) -> None:  # noqa: ANN401  as in the base class
        """Record an outcome; the routed token is completed."""
        if outcome is RowOutcome.BUFFERED:
            return  # how long a token waited is no difference
        if outcome is RowOutcome.ROUTED:
            outcome, more = RowOutcome.COMPLETED, {"sink_name": "output"}
        super().end(token, outcome, **more)


def compare(db: LandscapeDB, first: str, second: str) -> tuple[list[object], ...]:
    """Compare two runs of a database in every respect."""
    with db.snapshot() as connection:
        runs = RecordedRun(connection, first), RecordedRun(connection, second)
        return (
            list(compare_settings(*runs)),
            list(compare_steps(*runs)),
            list(compare_counts(*runs)),
            list(compare_rows(*runs)),
        )


def test_a_repeated_run_does_not_differ(new_landscape: NewLandscape) -> None:
    with new_landscape() as db:
        for run_id in ("one", "two"):
            record_told_run(db, run_id)
        assert compare(db, "one", "two") == ([], [], [], [])


def test_outcomes_and_answers_that_differ_are_found(
    new_landscape: NewLandscape, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_landscape() as db:
        record_told_run(db, "one")
        monkeypatch.setattr(told_run, "_Recording", OtherRecording)
        record_told_run(db, "two")
        settings, steps, counts, (routed, merged) = compare(db, "one", "two")
    assert (settings, steps) == ([], [])
    assert counts == [
        CountDifference(outcome="completed", sink="output", first=5, second=6),
        CountDifference(outcome="routed", sink="high", first=1, second=0),
    ]
    route = (("gate", "true"),)
    assert routed == DifferingRow(
        row=0,
        differs=("outcomes",),
        first=RowJourney(outcomes=(("routed", "high"),), route=route, failed_at=()),
        second=RowJourney(outcomes=(("completed", "output"),), route=route, failed_at=()),
        answers=(),
    )
    assert isinstance(merged, DifferingRow)
    assert (merged.row, merged.differs, merged.first) == (1, ("answers",), merged.second)
    outputs = [stable_hash({"branch": "left", "a": answer}) for answer in (2, 3)]
    asked = stable_hash({"branch": "left"})
    assert merged.answers == (
        AnswerDifference(step="enrich", input_hash=asked, first=(outputs[0],), second=(outputs[1],)),
    )


def test_rows_settings_and_steps_that_one_run_lacks_are_found(new_landscape: NewLandscape) -> None:
    with new_landscape() as db:
        record_told_run(db, "one")
        recorder = LandscapeRecorder(db)
        recorder.begin_run({"pipeline": "other", "limit": 2}, "sha256-rfc8785-v1", run_id="two")
        schema = SchemaConfig(mode=None, fields=None, is_dynamic=True)
        recorder.register_node("two", "source", "source", "2.0.0", {}, node_id="source", schema_config=schema)
        for index in (0, 1):
            recorder.create_row("two", "source", index, {"row": index * 7})
        settings, steps, counts, rows = compare(db, "one", "two")
        *_, backwards = compare(db, "two", "one")
    assert settings == [("limit", None, 2), ("pipeline", "told", "other")]
    assert ("source source", "source 1.0.0", "source 2.0.0") in steps
    assert ("sink output", "output 1.0.0", None) in steps
    assert steps == sorted(steps, key=str)
    assert CountDifference(outcome="routed", sink="high", first=1, second=0) in counts
    found = [each for each in rows if isinstance(each, DifferingRow)]
    assert [(each.row, each.differs) for each in found[:3]] == [
        (0, ("outcomes", "route")),
        (1, ("content", "outcomes", "route")),
        (2, ("presence",)),
    ]
    assert [each.second for each in found[2:]] == [None] * (told_run.ROWS - 2)
    assert backwards == [replace(each, first=each.second, second=each.first) for each in found]


def test_what_happened_to_a_row_is_compared_whatever_was_recorded_first() -> None:
    facts = [
        (0, "row", "hash", None, None),
        *((0, "outcome", *end, None) for end in (("completed", "b"), ("completed", "a"), ("dropped", None))),
        *((0, "route", gate, label, None) for gate, label in (("g2", "true"), ("g1", "true"), ("g1", "false"))),
        *((0, "failed", step, None, None) for step in ("s2", "s1")),
        *(
            (0, "answer", step, asked, said)
            for step in "dcba"
            for asked, said in (("q", None), ("q", "r"), ("p", step))
        ),
    ]
    one, other = (collect(iter(some), {}) for some in (facts, facts[::-1]))
    assert compare_facts(0, one, other) is None
    assert one == other
    assert one.journey.outcomes == (("completed", "a"), ("completed", "b"), ("dropped", None))
    changed = collect(((*fact[:4], "s") if fact[1] == "answer" and fact[3] == "p" else fact for fact in facts), {})
    found = compare_facts(0, one, changed)
    assert found is not None
    assert [(each.step, each.input_hash, each.first) for each in found.answers] == [
        (step, "p", (step,)) for step in "abcd"
    ]
