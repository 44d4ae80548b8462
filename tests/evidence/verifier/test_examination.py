"""Sharing the work does not change what is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elspeth.evidence.format import bag
from elspeth.evidence.format.merkle import leaf_hash, tree_root
from elspeth.evidence.format.signatures import PublicKey, Signer
from elspeth.evidence.verifier import _examination, reader
from elspeth.evidence.verifier._examination import compute_root
from elspeth.evidence.verifier.procedure import Verdict, Verification
from elspeth.evidence.verifier.verify import verify_files
from tests.evidence.bags import MemoryFiles, faults, make_bag, records, reseal, to_lines, verify
from tests.fixtures.executors import ClusterExecutor, InlineExecutor

Files = dict[str, bytes]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make blocks of two or three lines, small subtrees."""
    monkeypatch.setattr(reader, "_BLOCK", 700)
    monkeypatch.setattr(_examination, "_SUBTREE", 4)


def both(files: Files) -> tuple[Verification, Verification]:
    """Verify without workers, and with them."""
    return verify(files), verify_files(MemoryFiles(files), executor=InlineExecutor())


@pytest.mark.parametrize("kind", [InlineExecutor, ClusterExecutor])
def test_a_sound_bag_is_verified(signed: Files, key: PublicKey, kind: type[InlineExecutor]) -> None:
    executor = kind()
    assert verify_files(MemoryFiles(signed), key=key, executor=executor) == verify(signed, key)
    assert executor.jobs


def test_numbers_and_salts_continue_from_block_to_block(
    signed: Files, signer: Signer, key: PublicKey, tmp_path: Path
) -> None:
    seen: list[int] = []
    assert verify_files(MemoryFiles(signed), key=key, progress=seen.append).verdict is Verdict.VERIFIED
    assert (seen, seen[-1]) == (sorted(set(seen)), 13)
    assert len(seen) > 3
    altered = signed[bag.RECORDS].replace(b'"seconds":0.5,', b'"seconds":0.6,')
    assert faults(verify({**signed, bag.RECORDS: altered}))[-1][1].startswith(
        "data/records.jsonl, line 6: expected the"
    )
    first, second, *rest = records()
    lines = to_lines([first, {**second, "row_index": "2"}, *rest])
    assert [step for step, _ in faults(verify(make_bag(tmp_path, lines, signer), key))] == [4]


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_several_processes_find_the_same_fault_in_an_altered_bag(signed: Files, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([bag.RECORDS, bag.RECORDS, bag.LEAVES, bag.REFERENCES, bag.SALTS]))
    content = signed[name]
    start = data.draw(st.integers(0, len(content) - 1))
    end = data.draw(st.integers(start, min(start + 400, len(content))))
    altered = content[:start] + data.draw(st.binary(max_size=2)) + content[end:]
    one, shared = both(reseal({**signed, name: altered}))
    assert shared == one


@pytest.mark.parametrize("at", [0, 4, 12])
def test_several_processes_find_a_line_that_is_no_text(signed: Files, at: int) -> None:
    lines = signed[bag.RECORDS].splitlines()
    lines[at] = lines[at][:-1] + b"\xff"
    one, shared = both(reseal({**signed, bag.RECORDS: b"".join(line + b"\n" for line in lines)}))
    assert shared == one
    assert faults(one)[0] == (4, f"data/records.jsonl, line {at + 1}: expected UTF-8, got other bytes")


@given(entries=st.lists(st.binary(max_size=3), max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_root_computed_from_subtrees_is_the_root(entries: list[bytes]) -> None:
    leaves = list(map(leaf_hash, entries))
    assert compute_root(iter(leaves), InlineExecutor()) == tree_root(leaves)


def test_a_few_subtrees_wait_at_a_time() -> None:
    leaves = list(map(leaf_hash, [b"leaf"] * 200))
    executor = InlineExecutor()
    assert compute_root(iter(leaves), executor) == tree_root(leaves)
    assert executor.jobs == 50
    assert executor.most_waiting <= 12
