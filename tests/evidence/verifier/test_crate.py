"""The first difference between RO-Crate and records is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from elspeth.evidence.format import bag
from elspeth.evidence.format.canonical import Json, canonical
from elspeth.evidence.format.crate import CRATE_TYPES
from elspeth.evidence.verifier import _crate
from elspeth.evidence.verifier._crate import CrateCheck, _difference
from elspeth.evidence.verifier._examination import Findings, LineBatch
from tests.evidence.bags import MemoryFiles

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


def lines_of(order: Sequence[str], counts: Mapping[str, int]) -> list[bytes]:
    return [canonical({"record_type": name, "n": number}) for name in order for number in range(counts.get(name, 0))]


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_the_records_in_question_are_found_wherever_they_lie(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(_crate, "MOST_LISTED", 4)
    order = ["run", "other", *CRATE_TYPES[1:], "last"]
    counts = {"run": 1, "other": 5, **dict.fromkeys(CRATE_TYPES[1:], 6), CRATE_TYPES[1]: 2, "last": 3}
    files = {bag.CRATE: b"{}", bag.REFERENCES: canonical({"order": [*order]})}
    lines = lines_of(order, counts)
    check = CrateCheck(MemoryFiles(files), counts)
    findings = Findings(sealed=False, segments=[])
    batches = [
        LineBatch(
            first=start,
            size=len(lines[start : start + size]),
            content=b"".join(line + b"\n" for line in lines[start : start + size]),
            claimed=None,
        )
        for start in range(0, len(lines), size)
    ]
    assert [batch for batch, _ in check.watch((batch, findings) for batch in batches)] == batches
    expected = {
        name: [{"record_type": name, "n": number} for number in range(min(4, counts[name]))] for name in CRATE_TYPES
    }
    assert check._found == expected
