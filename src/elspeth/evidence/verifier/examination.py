"""Looking at the lines of a bag in batches: by this process alone, or beforehand by the processes of an executor.

What they find is a help only: where a batch is not sound beyond doubt, its lines are checked here, one after another,
and what is said about them is the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from elspeth.evidence.format import bag
from elspeth.evidence.format.bag import Salts
from elspeth.evidence.format.canonical import Json, parse_canonical, parse_unambiguous
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.merkle import HASH_SIZE, leaf_hash, root_of_roots, tree_root
from elspeth.evidence.verifier.lines import batches_of_lines
from elspeth.evidence.verifier.record_schema import read_shapes
from elspeth.evidence.verifier.rules import read_rules
from elspeth.evidence.verifier.segments import Segment, SegmentReader
from elspeth.evidence.verifier.trail import TrailChecker

__all__ = ["Batch", "Documents", "Findings", "batches", "document_parser", "examined", "shared_root"]

_AHEAD = 6
"""Batches that are examined, or wait for their turn, at once: a batch is a block of the file."""

_SUBTREE = 1 << 15
"""Leaves of a subtree that is hashed by one process: a power of two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """The documents of a bag by which its lines are checked, as they are.

    They must be canonical JSON if the version of the statement asks for it.
    """

    schema: bytes
    references: bytes
    salts: bytes | None
    version: int

    def checker(self) -> TrailChecker:
        """Return what checks the lines; EvidenceError if a document is malformed."""
        parse = document_parser(self.version)
        rules = read_rules(self.references, bag.REFERENCES, parse)
        salts = None if self.salts is None else Salts.from_bytes(self.salts, bag.SALTS)
        return TrailChecker(rules, read_shapes(self.schema, bag.SCHEMA, parse), salts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some lines, the number of the first, and the leaf hashes that the bag claims for them, if any were read."""

    first: int
    lines: list[bytes]
    claimed: list[bytes] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Whether the lines have the leaf hashes claimed, and the segments that they are made of, as far as is clear."""

    sealed: bool
    segments: list[Segment]


def document_parser(version: int) -> Callable[[bytes, str], Mapping[str, Json]]:
    """Return what reads the JSON documents of a bag whose statement has this version."""
    return parse_canonical if version > 1 else parse_unambiguous


_NOTHING = Findings(sealed=False, segments=[])


def batches(blocks: Iterable[bytes], leaves: Iterator[bytes] | None) -> Iterator[Batch]:
    """The lines of the file with the leaf hashes claimed for them; EvidenceError as `batches_of_lines`."""
    first = 1
    for lines in batches_of_lines(blocks, bag.RECORDS):
        yield Batch(first=first, lines=lines, claimed=None if leaves is None else list(islice(leaves, len(lines))))
        first += len(lines)


def examined(
    some: Iterator[Batch], documents: Documents, executor: Executor | None
) -> Iterator[tuple[Batch, Findings]]:
    """The batches, each with what the executor's processes find; nothing without an executor."""
    if executor is None:
        yield from ((batch, _NOTHING) for batch in some)
        return
    waiting: deque[tuple[Batch, Future[Findings]]] = deque()
    fault = None
    try:
        while True:
            try:
                batch = next(some)
            except StopIteration:
                break
            except EvidenceError as error:
                fault = error  # what stands before it comes first
                break
            claimed = None if batch.claimed is None else b"".join(batch.claimed)
            waiting.append((batch, executor.submit(_examine, documents, b"\n".join(batch.lines), claimed)))
            if len(waiting) > _AHEAD:
                yield _result(*waiting.popleft())
        while waiting:
            yield _result(*waiting.popleft())
    finally:
        for _, future in waiting:
            future.cancel()
    if fault is not None:
        raise fault


def shared_root(leaves: Iterator[bytes], executor: Executor | None) -> bytes:
    """The Merkle root over leaf hashes, 32 bytes; subtrees are hashed by the executor's processes."""
    if executor is None:
        return tree_root(leaves)
    subtrees = iter(lambda: b"".join(islice(leaves, _SUBTREE)), b"")
    return root_of_roots(list(executor.map(_subtree_root, subtrees)))


def _result(batch: Batch, future: Future[Findings]) -> tuple[Batch, Findings]:
    return batch, future.result()


def _examine(documents: Documents, lines: bytes, claimed: bytes | None) -> Findings:
    """What a worker does."""
    some = lines.split(b"\n")
    sealed = claimed is not None and b"".join(map(leaf_hash, some)) == claimed
    try:
        texts = lines.decode().split("\n")
    except UnicodeDecodeError:
        return Findings(sealed=sealed, segments=[])
    return Findings(sealed=sealed, segments=_reader(documents).segments(texts))


@lru_cache(maxsize=1)
def _reader(documents: Documents) -> SegmentReader:
    return documents.checker().segment_reader()


def _subtree_root(leaves: bytes) -> bytes:
    return tree_root(leaves[start : start + HASH_SIZE] for start in range(0, len(leaves), HASH_SIZE))
