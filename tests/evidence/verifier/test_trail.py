"""Checking records in batches finds the same as one-by-one checking."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.evidence.format.salts import KeySalts
from elspeth.evidence.verifier._line_patterns import TextBlock
from elspeth.evidence.verifier._record_schema import read_shapes
from elspeth.evidence.verifier._record_types import build_readers, read_rules
from elspeth.evidence.verifier._trail import TrailChecker
from elspeth.evidence.verifier.procedure import StepError
from tests.evidence.bags import REFERENCES, SCHEMA, SECRET, records, to_lines

RULES = read_rules(json.dumps(REFERENCES).encode(), "rules")
SHAPES = read_shapes(json.dumps(SCHEMA).encode(), "schema")
SALTS = KeySalts(SECRET)

values = st.sampled_from(["a", "b", "c", "0199c2e4a1b27c3d8e9f0a1b2c3d4e5f", "run-1", "open", "done", None, 0, 2, 10])


@st.composite
def nearly_right_lines(draw: st.DrawFn) -> list[bytes]:
    """Draw the lines of a run, some of them wrong."""
    some = [dict(record) for record in records()]
    for _ in range(draw(st.integers(0, 2))):
        record = draw(st.sampled_from(some))
        record[draw(st.sampled_from(sorted(record.keys() - {"record_type"})))] = draw(values)
    if draw(st.booleans()):
        at, to = draw(st.integers(0, len(some) - 1)), draw(st.integers(0, len(some) - 1))
        some[at:to] = draw(st.sampled_from([[], some[to:at], some[at:to] * 2, some[at:to][::-1]]))
    some = [record for record in some if None not in (record.get("row_id", ""), record.get("step_id", ""))]
    return to_lines(some, salts=True)


def findings(lines: Sequence[bytes], batches: Iterator[int]) -> tuple[object, ...]:
    """Check the lines in batches of these sizes."""
    trail = TrailChecker(RULES, SHAPES, SALTS)
    done = 0
    try:
        while done < len(lines):
            size = next(batches)
            trail.check(done + 1, lines[done : done + size])
            done += size
    except StepError as error:
        return error.step, str(error)
    return trail.run_id, trail.run_status, trail.unfinished, dict(trail.counts)


def shared_findings(lines: Sequence[bytes], batches: Iterator[int]) -> tuple[object, ...]:
    """Check the lines, taking segments first."""
    trail = TrailChecker(RULES, SHAPES, SALTS)
    reader = TrailChecker(RULES, SHAPES, SALTS).segment_reader
    done = 0
    try:
        while done < len(lines):
            some = lines[done : done + next(batches)]
            taken = trail.take(reader.read(TextBlock.of_content(b"".join(line + b"\n" for line in some))))
            trail.check(done + 1 + taken, some[taken:])
            done += len(some)
    except StepError as error:
        return error.step, str(error)
    return trail.run_id, trail.run_status, trail.unfinished, dict(trail.counts)


@given(nearly_right_lines(), st.lists(st.integers(1, 5), min_size=30, max_size=30))
def test_segments_do_not_change_the_result(lines: list[bytes], sizes: list[int]) -> None:
    expected = findings(lines, iter([1] * len(lines)))
    assert shared_findings(lines, iter([*sizes, *[1] * len(lines)])) == expected


def test_segments_save_work_of_the_first_process() -> None:
    lines = to_lines(records(), salts=True)
    trail = TrailChecker(RULES, SHAPES, SALTS)
    trail.check(1, lines[:1])
    assert trail.take(trail.segment_reader.read(TextBlock.of_bytes(lines[1:])))


@given(nearly_right_lines(), st.lists(st.integers(1, 5), min_size=30, max_size=30))
def test_the_size_of_batches_does_not_change_the_result(lines: list[bytes], sizes: list[int]) -> None:
    one_by_one = findings(lines, iter([1] * len(lines)))
    assert findings(lines, iter([len(lines)])) == one_by_one
    assert findings(lines, iter([*sizes, *[1] * len(lines)])) == one_by_one


@pytest.mark.parametrize("index", range(1, len(records())))
def test_a_line_at_fault_is_named_by_its_number(index: int) -> None:
    lines = to_lines(records(), salts=True)
    lines.insert(index + 1, lines[index])
    for first_batch in (index + 2, len(lines)):
        step, message = findings(lines, iter([first_batch]))
        assert (step, message) == findings(lines, iter([1] * len(lines)))
        assert f"records.jsonl, line {index + 2}: " in str(message)


def test_a_second_reference_of_a_column_does_not_hide_that_of_the_laws() -> None:
    """Whoever signs a bag also writes its rules."""
    document = json.loads(json.dumps(REFERENCES))
    document["types"]["token"]["references"].append({"columns": ["run_id", "row_id"], "record_type": "thing"})
    reader = build_readers(read_rules(json.dumps(document).encode(), "rules"), SHAPES)["token"]
    assert [reader.references[index][1].record_type for index in reader.links] == ["row"]
