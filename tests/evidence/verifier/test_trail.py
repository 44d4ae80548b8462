"""Checking records in batches finds the same as one-by-one checking."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from elspeth.evidence.format.salts import KeySalts
from elspeth.evidence.verifier._line_patterns import TextBlock
from elspeth.evidence.verifier._record_schema import read_shapes
from elspeth.evidence.verifier._record_types import build_readers, read_rules
from elspeth.evidence.verifier._trail import TrailChecker
from elspeth.evidence.verifier.accounting.accountant import LEDGERS
from elspeth.evidence.verifier.procedure import Step, StepError
from tests.evidence.accounts import in_order, sound_trail
from tests.evidence.bags import REFERENCES, SCHEMA, SECRET, Record, records, to_lines

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
            taken = trail.take(reader.read(TextBlock.of_content(b"".join(line + b"\n" for line in some), len(some))))
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


@pytest.mark.parametrize("turn", [1, -1])
def test_the_order_of_references_in_the_rules_does_not_matter(turn: int) -> None:
    """The laws take the references that they name."""
    document = json.loads(json.dumps(REFERENCES))
    for rules in document["types"].values():
        rules["references"] = rules["references"][::turn]
    readers = build_readers(read_rules(json.dumps(document).encode(), "rules"), SHAPES)
    for name, ledger in LEDGERS.items():
        found = [readers[name].references[index][1] for index in readers[name].links]
        assert [(each.columns[1], each.record_type) for each in found] == list(ledger.links.items())
    trail = sound_trail()
    checker = TrailChecker(read_rules(json.dumps(document).encode(), "rules"), SHAPES, None)
    checker.check(1, [rfc8785.dumps(record) for record in in_order(trail)])
    assert checker.accounting(5) == "all 13 laws hold"


def test_a_second_reference_of_a_column_does_not_hide_that_of_the_laws() -> None:
    """Whoever signs a bag also writes its rules."""
    document = json.loads(json.dumps(REFERENCES))
    document["types"]["token"]["references"].append({"columns": ["run_id", "row_id"], "record_type": "thing"})
    reader = build_readers(read_rules(json.dumps(document).encode(), "rules"), SHAPES)["token"]
    assert [reader.references[index][1].record_type for index in reader.links] == ["row"]


def problem_of(some: Sequence[Record], batches: Sequence[int], *, salts: bool = True) -> tuple[object, ...]:
    """Return what is found, the same with and without segments."""
    lines = to_lines(some, salts=salts)
    found = findings(lines, iter([*batches, *[1] * len(lines)]))
    assert shared_findings(lines, iter([*batches, *[1] * len(lines)])) == found
    return found


def changed(*changes: tuple[int, Record]) -> list[Record]:
    """Return the records with some of them changed."""
    some = records()
    for at, values in changes:
        some[at] = {**some[at], **values}
    return some


UUID = "0199c2e4a1b27c3d8e9f0a1b2c3d4e5f"
RULES_OF_LINES: dict[str, tuple[list[Record], Step, str]] = {
    "another run": (
        changed((4, {"run_id": "run-2"})),
        Step.LINES,
        "line 5: run_id: expected 'run-1' as in the records before, got 'run-2'",
    ),
    "a key again, of neighbours": (
        changed((2, {"row_id": UUID})),
        Step.LINES,
        f"line 3: row_id: expected each key once, got '{UUID}' again",
    ),
    "a key again, far away": (
        [*changed()[:3], {**changed()[1], "row_index": 11}, *changed()[3:]],
        Step.LINES,
        f"line 4: row_id: expected each key once, got '{UUID}' again",
    ),
    "the same place again": (
        changed((2, {"row_index": 2})),
        Step.LINES,
        "line 3: row_index: expected a value after '2', got '2': repeated, or out of order",
    ),
    "an earlier type": (
        [changed()[at] for at in (0, 1, 3, 2, *range(4, 13))],
        Step.LINES,
        "line 4: expected a record of type step or a later one, got one of type thing: out of order",
    ),
    "an earlier type at the end": (
        [*changed(), {**changed()[2], "row_id": "new", "row_index": 11}],
        Step.LINES,
        "line 14: expected a record of type operation or a later one, got one of type thing: out of order",
    ),
    "a first reference to nothing": (
        changed((10, {"step_id": "gone"})),
        Step.REFERENCES,
        "line 11: step_id: expected the key of an earlier step record, got 'gone'",
    ),
    "a second reference to nothing": (
        changed((10, {"row": "gone"})),
        Step.REFERENCES,
        "line 11: row: expected the key of an earlier thing record, got 'gone'",
    ),
    "unfinished among finished": (
        changed((6, {"status": "open", "seconds": None})),
        Step.LIFECYCLES,
        "line 7: status: expected done, as the run is completed, got 'open'",
    ),
}


@pytest.mark.parametrize("case", RULES_OF_LINES)
@pytest.mark.parametrize("batches", [[], [1, 20], [2, 2, 20], [3, 1, 3, 20], [1, 5, 5, 20]])
def test_the_first_broken_rule_is_named_however_lines_arrive(case: str, batches: list[int]) -> None:
    some, step, problem = RULES_OF_LINES[case]
    assert problem_of(some, batches) == (step, f"data/records.jsonl, {problem}")


@pytest.mark.parametrize("at", [1, 2, 4, 8, 12])
@pytest.mark.parametrize("batches", [[], [1, 20], [2, 2, 20], [1, 5, 5, 20]])
def test_each_record_must_have_its_own_salt(at: int, batches: list[int]) -> None:
    lines = to_lines(records(), salts=True)
    right, wrong = (json.loads(lines[number])["salt"] for number in (at, 0))
    lines[at] = lines[at].replace(right.encode(), wrong.encode())
    expected = (
        Step.LINES,
        f"data/records.jsonl, line {at + 1}: salt: expected {right}, derived from the key, got '{wrong}'",
    )
    for find in (findings, shared_findings):
        assert find(lines, iter([*batches, *[1] * len(lines)])) == expected


def test_an_abandoned_run_may_leave_records_unfinished_and_a_completed_one_none() -> None:
    open_step: Record = {"status": "open", "seconds": None}
    some = changed((0, {"status": "failed"}), (4, open_step), (6, open_step))
    assert problem_of(some, [20])[:3] == problem_of(some, [])[:3] == ("run-1", "failed", 2)
    found = findings(to_lines(some), iter([20]))
    assert found[0] is Step.LINES  # they have no salts


@pytest.mark.parametrize("name", [["run"], {"run": 1}, 5, None])
def test_a_record_type_that_is_no_text_is_unknown(name: object) -> None:
    lines = to_lines(records(), salts=True)
    lines[3] = to_lines([{**records()[3], "record_type": name}])[0]
    step, message = findings(lines, iter([20]))
    problem = f"record_type: expected one of {', '.join(RULES.types)}, got {name!r}"
    assert (step, message) == (Step.LINES, f"data/records.jsonl, line 4: {problem}")


@pytest.mark.parametrize("at", [0, 1, 5, 12])
@pytest.mark.parametrize("batches", [[], [1, 20], [20], [3, 20]])
def test_a_line_that_is_no_text_is_named(at: int, batches: list[int]) -> None:
    lines = to_lines(records(), salts=True)
    lines[at] = lines[at][:-1] + b"\xff"
    expected = (Step.LINES, f"data/records.jsonl, line {at + 1}: expected UTF-8, got other bytes")
    assert findings(lines, iter([*batches, *[1] * len(lines)])) == expected


@pytest.mark.parametrize("batches", [[], [20], [4, 20]])
def test_the_first_record_must_be_the_run(batches: list[int]) -> None:
    for at, name in ((1, "thing"), (3, "step")):
        expected = f"data/records.jsonl, line 1: expected the run record first, got one of type {name}"
        assert problem_of(records()[at:], batches) == (Step.LINES, expected)


def test_a_reference_that_is_partly_null_is_none() -> None:
    """As in SQL, it refers to nothing."""
    rules, schema = json.loads(json.dumps(REFERENCES)), json.loads(json.dumps(SCHEMA))
    rules["types"]["checkpoint"]["references"].append(
        {"columns": ["run_id", "token_id", "other"], "record_type": "batch_member"}
    )
    properties = schema["$defs"]["checkpoint"]["properties"]
    for name in ("token_id", "other"):
        properties[name] = {"anyOf": [{"type": "string"}, {"type": "null"}]}
        schema["$defs"]["checkpoint"]["required"].append(name)
    read = read_rules(json.dumps(rules).encode(), "rules"), read_shapes(json.dumps(schema).encode(), "schema")
    point = {"record_type": "checkpoint", "run_id": "run-1", "created_at": "2026-02-01T00:00:00.000000Z"}
    for token, other, is_missing in ((None, None, False), ("a", None, False), (None, "a", False), ("a", "b", True)):
        trail = TrailChecker(*read, None)
        trail.check(1, to_lines(records()))
        lines = to_lines([{**point, "checkpoint_id": key, "token_id": token, "other": other} for key in "12"])
        if is_missing:
            expected = "line 14: token_id, other: expected the key of an earlier batch_member record, got 'a, b'"
            with pytest.raises(StepError, match=expected):
                trail.check(14, lines)
        else:
            trail.check(14, lines)
            assert trail.counts["checkpoint"] == 2


def test_a_key_is_repeated_though_the_order_has_more_columns() -> None:
    document = json.loads(json.dumps(REFERENCES))
    document["types"]["thing"]["order"] = ["run_id", "row_index", "row_id"]
    rules = read_rules(json.dumps(document).encode(), "rules")
    some = records()
    some[2:2] = [{**some[1], "row_index": 5, "row_id": "other"}, {**some[1], "row_index": 6}]
    expected = f"data/records.jsonl, line 4: row_id: expected each key once, got '{UUID}' again"

    def check(size: int) -> None:
        trail = TrailChecker(rules, SHAPES, None)
        for start in range(0, len(some), size):
            trail.check(start + 1, to_lines(some[start : start + size]))

    for size in (1, 2, 3, 20):
        with pytest.raises(StepError) as caught:
            check(size)
        assert str(caught.value) == expected


def plain(count: int = 6) -> list[Record]:
    """Return ordinary things and steps, which are read in blocks."""
    run, thing, _, step, *_ = records()
    things = [{**thing, "row_id": f"thing-{at}", "row_index": at} for at in range(count)]
    return [run, *things, *({**step, "step_id": f"step-{at}", "row_id": f"thing-{at}"} for at in range(count))]


FAULTS: dict[str, tuple[int, Record, Step, str]] = {
    "run": (3, {"run_id": "run-2"}, Step.LINES, "run_id: expected 'run-1' as in the records before, got 'run-2'"),
    "order": (3, {"row_index": 1}, Step.LINES, "row_index: expected a value after '1', got '1': repeated, or out of"),
    "order after a block": (
        4,
        {"row_index": 1},
        Step.LINES,
        "row_index: expected a value after '2', got '1': repeated",
    ),
    "key": (5, {"row_id": "thing-1"}, Step.LINES, "row_id: expected each key once, got 'thing-1' again"),
    "key of the neighbour": (3, {"row_id": "thing-1"}, Step.LINES, "row_id: expected each key once, got 'thing-1'"),
    "reference": (9, {"row_id": "gone"}, Step.REFERENCES, "row_id: expected the key of an earlier thing record, got"),
    "lifecycle": (9, {"status": "open", "seconds": None}, Step.LIFECYCLES, "status: expected done, as the run is"),
    "salt": (9, {"salt": "0" * 64}, Step.LINES, "salt: expected "),
}


@pytest.mark.parametrize("case", FAULTS)
@pytest.mark.parametrize("batches", [[], [1, 20], [1, 3, 20], [1, 6, 6], [2, 4, 4, 4], [8, 5], [3, 3, 3, 3, 3]])
def test_a_fault_in_the_midst_of_a_block_is_found(case: str, batches: list[int]) -> None:
    at, values, step, problem = FAULTS[case]
    lines = to_lines(plain(), salts=True)
    assert findings(lines, iter([*batches, *[1] * 13])) == shared_findings(lines, iter([*batches, *[1] * 13]))
    some = plain()
    some[at] = {**some[at], **values}
    lines[at] = to_lines([some[at]], salts="salt" not in values)[0]
    for find in (findings, shared_findings):
        found, message = find(lines, iter([*batches, *[1] * 13]))
        assert (found, str(message).startswith(f"data/records.jsonl, line {at + 1}: {problem}")) == (step, True)
