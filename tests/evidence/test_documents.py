"""Arbitrary documents are read, or refused with an EvidenceError."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from elspeth.evidence.format.bag import Statement, parse_manifest
from elspeth.evidence.format.checkpoints import LogProof
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.notes import Note
from elspeth.evidence.format.policy import Policy
from elspeth.evidence.format.salts import Salts
from elspeth.evidence.verifier._record_schema import read_shapes
from elspeth.evidence.verifier._record_types import read_rules
from elspeth.evidence.witness.requests import AddCheckpoint
from tests.evidence.bags import REFERENCES, SCHEMA
from tests.evidence.documents import Document

READERS: list[Callable[[bytes, str], object]] = [
    read_shapes,
    read_rules,
    Statement.from_bytes,
    partial(Salts.from_bytes, version=3),
    parse_manifest,
    Note.parse,
    LogProof.parse,
    Policy.parse,
    AddCheckpoint.parse,
]

names = st.sampled_from(["$defs", "oneOf", "order", "types", "subject", "predicate", "secret"])
trees = st.recursive(st.none() | st.text(), lambda each: st.dictionaries(names, each) | st.lists(each))
documents = st.binary() | trees.map(lambda tree: json.dumps(tree).encode())


@given(documents, st.sampled_from(READERS))
def test_arbitrary_documents_raise_evidence_errors(data: bytes, read: Callable[[bytes, str], object]) -> None:
    try:
        found = read(data, "document")
    except EvidenceError:
        return
    # A schema may have no shapes at all; the rules then ask for some.
    assert (read, found) == (read_shapes, {})


def nodes_of(tree: object) -> list[tuple[Any, Any]]:
    """Return all containers in a document, with their keys."""
    items: list[tuple[Any, Any]] = []
    if isinstance(tree, dict):
        items = list(tree.items())
    elif isinstance(tree, list):
        items = list(enumerate(tree))
    return [(tree, key) for key, _ in items] + [found for _, value in items for found in nodes_of(value)]


@given(st.data(), st.sampled_from([(read_shapes, SCHEMA), (read_rules, REFERENCES)]))
def test_a_document_changed_anywhere_is_read_or_refused(
    data: st.DataObject, case: tuple[Callable[[bytes, str], object], Document]
) -> None:
    read, document = case
    copied = json.loads(json.dumps(document))
    container, key = data.draw(st.sampled_from(nodes_of(copied)))
    container[key] = data.draw(trees | st.integers() | st.booleans() | st.lists(st.text(), max_size=2))
    with suppress(EvidenceError):
        read(json.dumps(copied).encode(), "document")
