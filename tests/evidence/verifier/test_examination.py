"""Sharing the work does not change what is found."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elspeth.evidence.format import bag
from elspeth.evidence.format.merkle import leaf_hash, tree_root
from elspeth.evidence.format.signatures import PublicKey
from elspeth.evidence.verifier import _examination, reader
from elspeth.evidence.verifier._examination import compute_root
from elspeth.evidence.verifier.procedure import Verification
from elspeth.evidence.verifier.verify import verify_files
from tests.evidence.bags import MemoryFiles, reseal, verify
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


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_found_in_an_altered_bag_is_the_same(signed: Files, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([bag.RECORDS, bag.RECORDS, bag.LEAVES, bag.REFERENCES, bag.SALTS]))
    content = signed[name]
    start = data.draw(st.integers(0, len(content) - 1))
    end = data.draw(st.integers(start, min(start + 400, len(content))))
    altered = content[:start] + data.draw(st.binary(max_size=2)) + content[end:]
    one, shared = both(reseal({**signed, name: altered}))
    assert shared == one


@given(entries=st.lists(st.binary(max_size=3), max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_root_of_subtrees_is_the_root(entries: list[bytes]) -> None:
    leaves = list(map(leaf_hash, entries))
    assert compute_root(iter(leaves), InlineExecutor()) == tree_root(leaves)


def test_a_few_subtrees_wait_at_a_time() -> None:
    leaves = list(map(leaf_hash, [b"leaf"] * 200))
    executor = InlineExecutor()
    assert compute_root(iter(leaves), executor) == tree_root(leaves)
    assert executor.jobs == 50
    assert executor.most_waiting <= 12
