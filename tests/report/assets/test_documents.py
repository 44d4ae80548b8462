"""The page refuses the documents that the verifier refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import orjson
import pytest

from elspeth.evidence.format.bag import Contact, Statement, manifest_text, parse_manifest
from elspeth.evidence.format.canonical import canonical, parse_canonical
from elspeth.evidence.format.envelopes import Envelope
from elspeth.evidence.format.errors import EvidenceError
from tests.evidence.documents import Document, change_copy
from tests.evidence.format.test_bag import FOUND, MANIFESTS, OLDER, STATEMENT, STATEMENTS
from tests.evidence.format.test_envelopes import MALFORMED
from tests.fixtures.browser import Tab
from tests.report.scripts import bytes_in

ENVELOPE = Envelope(payload_type="text", payload=b"payload", keyid="0", signature=b"signature")

COUNTS: list[object] = [0, -1, True, "1"]
ROOTS: list[object] = ["1" * 65, "A" * 64, None]


def refusals(code: Tab, function: str, documents: Sequence[bytes]) -> list[str | None]:
    """Return why the page refuses each document, or None."""
    found: list[str | None] = code.evaluate(
        f"""
        [{",".join(map(bytes_in, documents))}].map((bytes) => {{
          try {{
            {function}(bytes, "document");
            return null;
          }} catch (error) {{
            if (error instanceof EvidenceError) return error.message;
            throw error;
          }}
        }})
        """
    )
    return found


def is_refused(read: Callable[[bytes, str], object], document: bytes) -> bool:
    try:
        read(document, "document")
    except EvidenceError:
        return True
    return False


def without(name: str) -> Callable[[Document], object]:
    return lambda document: document.pop(name)


def changed(statement: Statement, *path: str, value: object) -> bytes:
    """Return a statement with another value of a member."""
    document = orjson.loads(statement.to_bytes())
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return canonical(document)


def test_statements_are_refused_as_by_the_verifier(code: Tab) -> None:
    sound = [
        STATEMENT,
        FOUND,
        replace(STATEMENT, contact=Contact(name="Ada")),
        replace(STATEMENT, version=2, salted=False),
        replace(STATEMENT, version=1, salted=False, facts=OLDER),
    ]
    assert refusals(code, "parseStatement", [each.to_bytes() for each in sound]) == [None] * len(sound)
    document = json.loads(STATEMENT.to_bytes())
    wrong = [canonical(change_copy(document, change)) for change, _ in STATEMENTS.values()]
    for statement in sound:
        given = orjson.loads(statement.to_bytes())
        wrong += [canonical(change_copy(given, without(name))) for name in given]
        for name in given["predicate"]:
            if name != "contact":
                wrong.append(canonical({**given, "predicate": change_copy(given["predicate"], without(name))}))
            values: list[object] = [1.5, [[]], {"a": "b"}]
            wrong += [changed(statement, "predicate", name, value=value) for value in values]
        wrong.append(changed(statement, "predicate", "merkle_tree", "more", value=1))
        wrong.append(changed(statement, "predicate", "more", value=None))
    kinds = (
        "urn:elspeth:audit-trail-export:v0",
        "urn:elspeth:audit-trail-export:v10",
        "urn:elspeth:database-as-found:v2",
    )
    wrong += [changed(STATEMENT, "predicateType", value=kind) for kind in kinds]
    wrong += [changed(STATEMENT, "predicate", "counts", value={"run": count}) for count in COUNTS]
    wrong += [changed(STATEMENT, "predicate", "merkle_tree", "root", value=root) for root in ROOTS]
    wrong.append(changed(FOUND, "predicate", "complete", value=False))
    assert all(is_refused(Statement.from_bytes, each) for each in wrong)
    found = refusals(code, "parseStatement", wrong)
    assert [each for each, problem in zip(wrong, found, strict=True) if problem is None] == []
    # The page shows only bags of whole runs.
    [problem] = refusals(code, "parseStatement", [changed(STATEMENT, "predicate", "complete", value=False)])
    assert problem == "document: complete: expected true, got false: the export says that it is incomplete"


def test_envelopes_are_refused_as_by_the_verifier(code: Tab) -> None:
    wrong = [canonical({**ENVELOPE.to_json(), **change}) for change, _ in MALFORMED.values()]  # type: ignore[dict-item]
    wrong += [canonical({**ENVELOPE.to_json(), "payload": text}) for text in ("AB==", "AA=", "-_8=", "AA==\n", " AA==")]
    assert refusals(code, "parseEnvelope", [ENVELOPE.to_bytes()]) == [None]
    assert all(is_refused(Envelope.from_bytes, each) for each in wrong)
    assert None not in refusals(code, "parseEnvelope", wrong)


def test_manifests_are_refused_as_by_the_verifier(code: Tab) -> None:
    line = b"0" * 64 + b"  "
    wrong = [text for text, _ in MANIFESTS.values()]
    wrong += [line + b"a b\n", b"0" * 63 + b"  a\n", b"A" * 64 + b"  a\n", line + b"a\r\n", b"\n" + line + b"a\n"]
    sound = manifest_text({"a": "0" * 64, "B": "1" * 64, "data/a-b_c.d": "f" * 64})
    assert refusals(code, "parseManifest", [sound]) == [None]
    assert all(is_refused(parse_manifest, each) for each in wrong)
    assert None not in refusals(code, "parseManifest", wrong)


@pytest.mark.parametrize(
    "documents",
    [
        [b'{"a":1.0}', b'{"a":1e3}', b'{"a":-0}', b'{"a":1,"a":1}', b'{"b":1,"a":2}', b'{"a": 1}', b'{"a":1}\n'],
        [b"[]", b"null", b'"a"', b"1", b"", b"{", b'{"a":"\xff"}', b'\xef\xbb\xbf{"a":1}', b'{"a":"\\ud800"}'],
        ['{"\U00010000":1,"\ue000":2}'.encode()[:-1], '{"\ue000":2,"\U00010000":1}'.encode(), b'{"a":"\\u0041"}'],
        [b'{"a":%b}' % (b"[" * 1000 + b"]" * 1000)],
    ],
    ids=["spelling", "no object", "names", "depth"],
)
def test_json_that_is_not_canonical_is_refused_as_by_the_verifier(code: Tab, documents: list[bytes]) -> None:
    assert all(is_refused(parse_canonical, each) for each in documents)
    assert None not in refusals(code, "parseCanonical", documents)


def test_canonical_json_of_any_value_is_read(code: Tab) -> None:
    values: list[dict[str, object]] = [
        {"\U00010000": 1, "\ue000": 2, "\r": "\u20ac\x0f"},
        {"e": 1e21, "d": 1e-7, "c": 0.1, "b": -5, "a": [None, True, {}]},
    ]
    assert refusals(code, "parseCanonical", [canonical(each) for each in values]) == [None] * len(values)  # type: ignore[arg-type]
