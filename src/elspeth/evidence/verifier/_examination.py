"""Examines lines in batches, with the help of other processes.

What the processes find only saves work: where a batch is not clearly sound, its lines are checked here one after
another, with the same result.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from elspeth.evidence.format import bag
from elspeth.evidence.format.canonical import Json, parse_canonical, parse_unambiguous
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.merkle import HASH_SIZE, root_of_roots, tree_root
from elspeth.evidence.format.salts import LeafHasher, Salts
from elspeth.evidence.verifier._record_schema import read_shapes
from elspeth.evidence.verifier._record_types import read_rules
from elspeth.evidence.verifier._segments import Segment, SegmentReader
from elspeth.evidence.verifier._trail import TrailChecker
from elspeth.evidence.verifier.reader import batches_of_lines

__all__ = ["Documents", "Findings", "LineBatch", "compute_root", "document_parser", "examine", "read_batches"]

_AHEAD = 6
"""Batches or subtrees that are with the executor at once. A batch is a block of the file."""

_SUBTREE = 1 << 15
"""Leaves of a subtree that one process hashes: a power of two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """The documents of a bag that its lines must fit.

    They must be canonical JSON if `version`, that of the statement, demands it.
    """

    schema: bytes
    references: bytes
    salts: bytes | None
    version: int

    def checker(self) -> TrailChecker:
        """Return what checks the lines.

        Raises EvidenceError for malformed documents.
        """
        parse = document_parser(self.version)
        rules = read_rules(self.references, bag.REFERENCES, parse)
        salts = self._salts()
        return TrailChecker(
            rules, read_shapes(self.schema, bag.SCHEMA, parse), None if salts is None else salts.of_keys
        )

    def leaf_hasher(self) -> LeafHasher:
        """Return what computes the leaf hashes of the lines.

        Raises EvidenceError for malformed documents.
        """
        return LeafHasher(self._salts())

    def _salts(self) -> Salts | None:
        return None if self.salts is None else Salts.from_bytes(self.salts, bag.SALTS, self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineBatch:
    """Consecutive lines, with the leaf hashes claimed for them.

    The first has the number `first`, from 0. `claimed` is None if the leaf hashes are not the statement's.
    """

    first: int
    lines: list[bytes]
    claimed: list[bytes] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What other processes find out about a batch.

    `sealed` tells whether the lines have the claimed leaf hashes. `segments` are those of the lines, up to the first
    line that needs a closer look.
    """

    sealed: bool
    segments: list[Segment]


_NO_FINDINGS = Findings(sealed=False, segments=[])


def document_parser(version: int) -> Callable[[bytes, str], Mapping[str, Json]]:
    """Return the parser of documents for a statement's version."""
    return parse_canonical if version > 1 else parse_unambiguous


def read_batches(blocks: Iterable[bytes], leaves: Iterator[bytes] | None) -> Iterator[LineBatch]:
    """Yield lines with the leaf hashes claimed for them.

    Raises EvidenceError as `batches_of_lines` does.
    """
    first = 0
    for lines in batches_of_lines(blocks, bag.RECORDS):
        yield LineBatch(first=first, lines=lines, claimed=None if leaves is None else list(islice(leaves, len(lines))))
        first += len(lines)


def examine(
    batches: Iterator[LineBatch], documents: Documents | None, executor: Executor | None
) -> Iterator[tuple[LineBatch, Findings]]:
    """Yield each batch with what the executor's processes find.

    Without an executor, or documents that the lines must fit, nothing is found.
    """
    if executor is None or documents is None:
        yield from ((batch, _NO_FINDINGS) for batch in batches)
        return
    waiting: deque[tuple[LineBatch, Future[Findings]]] = deque()
    fault = None
    try:
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                break
            except EvidenceError as error:
                fault = error  # raised after the batches before it
                break
            claimed = None if batch.claimed is None else b"".join(batch.claimed)
            waiting.append((batch, executor.submit(_find, documents, batch.first, b"\n".join(batch.lines), claimed)))
            if len(waiting) > _AHEAD:
                yield _result(*waiting.popleft())
        while waiting:
            yield _result(*waiting.popleft())
    finally:
        for _, future in waiting:
            future.cancel()
    if fault is not None:
        raise fault


def compute_root(leaves: Iterator[bytes], executor: Executor | None) -> bytes:
    """Return the Merkle root over leaf hashes, 32 bytes.

    The executor's processes hash subtrees.
    """
    if executor is None:
        return tree_root(leaves)
    return root_of_roots(list(_subtree_roots(leaves, executor)))


def _subtree_roots(leaves: Iterator[bytes], executor: Executor) -> Iterator[bytes]:
    """Yield the roots of the subtrees in order.

    `executor.map` would read all leaves at once, and those of clusters refuse iterators.
    """
    waiting: deque[Future[bytes]] = deque()
    try:
        while subtree := b"".join(islice(leaves, _SUBTREE)):
            waiting.append(executor.submit(_subtree_root, subtree))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _result(batch: LineBatch, future: Future[Findings]) -> tuple[LineBatch, Findings]:
    return batch, future.result()


def _find(documents: Documents, first: int, lines: bytes, claimed: bytes | None) -> Findings:
    """Examine a batch in a worker process."""
    hasher = _leaf_hasher(documents)
    sealed = claimed is not None and b"".join(hasher.hashes(first, lines.split(b"\n"))) == claimed
    try:
        texts = lines.decode().split("\n")
    except UnicodeDecodeError:
        return Findings(sealed=sealed, segments=[])
    return Findings(sealed=sealed, segments=_segment_reader(documents).read(texts))


@lru_cache(maxsize=1)
def _segment_reader(documents: Documents) -> SegmentReader:
    return documents.checker().segment_reader


@lru_cache(maxsize=1)
def _leaf_hasher(documents: Documents) -> LeafHasher:
    return documents.leaf_hasher()


def _subtree_root(leaves: bytes) -> bytes:
    return tree_root(leaves[start : start + HASH_SIZE] for start in range(0, len(leaves), HASH_SIZE))
