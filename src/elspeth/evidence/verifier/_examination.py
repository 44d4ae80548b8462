"""Examines lines in batches, with the help of other processes.

The findings of the processes only save work: a batch that is not clearly sound is checked line by line in this process,
with the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, lru_cache

from elspeth.evidence.format import bag
from elspeth.evidence.format.canonical import Json, parse_canonical, parse_unambiguous
from elspeth.evidence.format.merkle import HASH_SIZE, root_of_roots, split_hashes, tree_root
from elspeth.evidence.format.salts import LeafHasher, Salts
from elspeth.evidence.sharing import send, share
from elspeth.evidence.verifier._line_patterns import TextBlock
from elspeth.evidence.verifier._record_schema import read_shapes
from elspeth.evidence.verifier._record_types import read_rules
from elspeth.evidence.verifier._segments import Segment, SegmentReader
from elspeth.evidence.verifier._trail import TrailChecker
from elspeth.evidence.verifier.reader import blocks_of_lines

__all__ = ["Documents", "Findings", "LineBatch", "compute_root", "document_parser", "examine", "read_batches"]

_SUBTREE = 1 << 15
"""The number of leaves of a subtree that one process hashes: a power of two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """The documents of a bag that its lines must fit.

    They must be canonical JSON if `version`, the version of the statement, requires it.
    """

    schema: bytes
    references: bytes
    salts: bytes | None
    version: int

    def checker(self) -> TrailChecker:
        """Return the checker of the lines.

        Raises EvidenceError for malformed documents.
        """
        parse = document_parser(self.version)
        rules = read_rules(self.references, bag.REFERENCES, parse)
        salts = self._salts()
        return TrailChecker(
            rules, read_shapes(self.schema, bag.SCHEMA, parse), None if salts is None else salts.of_keys
        )

    def leaf_hasher(self) -> LeafHasher:
        """Return the hasher of the lines.

        Raises EvidenceError for malformed documents.
        """
        return LeafHasher(self._salts())

    def _salts(self) -> Salts | None:
        return None if self.salts is None else Salts.from_bytes(self.salts, bag.SALTS, self.version)


class LineBatch:
    """Consecutive lines, with the leaf hashes claimed for them.

    The first of the `size` lines has the number `first`, from 0. `content` holds the lines with their line feeds.
    `claimed` holds the joined leaf hashes of the bag, or is None if these do not lead to the statement's root.
    """

    def __init__(self, *, first: int, size: int, content: bytes, claimed: bytes | None) -> None:
        self.first = first
        self.size = size
        self.content = content
        self.claimed = claimed

    @cached_property
    def lines(self) -> list[bytes]:
        """The lines without line feeds."""
        return self.content[:-1].split(b"\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The findings of a process about a batch of lines.

    `sealed` tells whether the lines have the claimed leaf hashes. `segments` cover the lines up to the first one that
    must be checked by itself.
    """

    sealed: bool
    segments: list[Segment]


_NO_FINDINGS = Findings(sealed=False, segments=[])


def document_parser(version: int) -> Callable[[bytes, str], Mapping[str, Json]]:
    """Return the parser for documents of a statement's version."""
    return parse_canonical if version > 1 else parse_unambiguous


def read_batches(blocks: Iterable[bytes], leaves: Iterable[bytes] | None) -> Iterator[LineBatch]:
    """Yield batches of lines with their claimed leaf hashes.

    `leaves` are the leaf hashes, in blocks of any size. Raises EvidenceError as `blocks_of_lines` does.
    """
    first, hashes = 0, _Bytes(leaves or ())
    for size, content in blocks_of_lines(blocks, bag.RECORDS):
        claimed = None if leaves is None else hashes.take(HASH_SIZE * size)
        yield LineBatch(first=first, size=size, content=content, claimed=claimed)
        first += size


def examine(
    batches: Iterator[LineBatch], documents: Documents | None, executor: Executor | None
) -> Generator[tuple[LineBatch, Findings], None, None]:
    """Yield each batch with the findings of the executor's processes.

    Without an executor, or without documents, the findings are empty.
    """
    if executor is None or documents is None:
        yield from ((batch, _NO_FINDINGS) for batch in batches)
        return

    def submit(batch: LineBatch) -> Future[Findings] | None:
        return send(executor, _find, documents, batch.first, batch.content, batch.claimed)

    def find_here(batch: LineBatch) -> Findings:
        return _find(documents, batch.first, batch.content, batch.claimed)

    with closing(share(batches, executor, submit, find_here)) as examined:
        yield from examined


def compute_root(leaves: Iterable[bytes], executor: Executor | None) -> bytes:
    """Return the Merkle root over leaf hashes, 32 bytes.

    The leaf hashes come in blocks of any size. The executor's processes hash subtrees.
    """
    subtrees = _subtrees(leaves)
    if executor is None:
        return root_of_roots(list(map(_subtree_root, subtrees)))
    found = share(subtrees, executor, lambda each: send(executor, _subtree_root, each), _subtree_root)
    with closing(found) as roots:
        return root_of_roots([root for _, root in roots])


def _subtrees(leaves: Iterable[bytes]) -> Iterator[bytes]:
    hashes = _Bytes(leaves)
    while subtree := hashes.take(HASH_SIZE * _SUBTREE):
        yield subtree


class _Bytes:
    """Reads a stream of blocks as bytes."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._rest = b""

    def take(self, size: int) -> bytes:
        """Return the next bytes, fewer only at the end."""
        parts, length = [self._rest], len(self._rest)
        while length < size and (block := next(self._blocks, b"")):
            parts.append(block)
            length += len(block)
        joined = b"".join(parts)
        self._rest = joined[size:]
        return joined[:size]


def _find(documents: Documents, first: int, content: bytes, claimed: bytes | None) -> Findings:
    """Examine a batch, in any process."""
    lines = content[:-1].split(b"\n")
    sealed = claimed is not None and b"".join(_leaf_hasher(documents).hashes(first, lines)) == claimed
    try:
        block = TextBlock.of_content(content, len(lines))
    except UnicodeDecodeError:
        return Findings(sealed=sealed, segments=[])
    return Findings(sealed=sealed, segments=_segment_reader(documents).read(block))


@lru_cache(maxsize=1)
def _segment_reader(documents: Documents) -> SegmentReader:
    return documents.checker().segment_reader


@lru_cache(maxsize=1)
def _leaf_hasher(documents: Documents) -> LeafHasher:
    return documents.leaf_hasher()


def _subtree_root(leaves: bytes) -> bytes:
    return tree_root(split_hashes(leaves))
