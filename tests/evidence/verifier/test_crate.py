"""The first difference between RO-Crate and records is named."""

from __future__ import annotations

import pytest

from elspeth.evidence.format.canonical import Json, canonical
from elspeth.evidence.verifier._crate import _difference

RUN: dict[str, Json] = {"@id": "#run", "name": "Run", "agent": "alice"}
FILE: dict[str, Json] = {"@id": "out.csv", "size": 3}
SAID = "as records and files say, got"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([{**RUN, "agent": "bob"}, FILE], f"entity '#run': agent: expected 'alice' {SAID} 'bob'"),
        ([{**RUN, "more": 1}, FILE], f"entity '#run': more: expected None {SAID} 1"),
        ([{"@id": "#run", "name": "Run"}, FILE], f"entity '#run': agent: expected 'alice' {SAID} None"),
        ([RUN], f"entity 'out.csv': @id: expected 'out.csv' {SAID} None"),
        ([RUN, FILE, {"@id": "more"}], f"entity 'more': @id: expected None {SAID} 'more'"),
        ([FILE, RUN], "expected the entities as records and files say, each once and in their order, got others"),
        ([RUN, FILE, FILE], "expected the entities as records and files say, each once and in their order, got others"),
        (
            [RUN, FILE, "out.csv", 5, None],
            "expected the entities as records and files say, each once and in their order, got others",
        ),
        ({}, f"entity '#run': @id: expected '#run' {SAID} None"),
        (None, f"entity '#run': @id: expected '#run' {SAID} None"),
    ],
)
def test_a_difference_is_named_by_its_entity(document: Json, message: str) -> None:
    found = _difference(canonical({"@graph": [RUN, FILE]}), canonical({"@graph": document}))
    assert found.replace("name: expected 'Run'", "@id: expected '#run'") == message or found == message
