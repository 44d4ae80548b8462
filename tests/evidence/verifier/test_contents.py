"""Contents in a bag are those that records name."""

from __future__ import annotations

import pytest

from elspeth.evidence.format import bag
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.verifier._contents import ContentNames, check_names

HASH, OTHER = "0" * 64, "f" * 64
LINE = f'{{"reason_ref":"{HASH}","row_ref":"{OTHER}"}}\n'.encode()


def described(*blocks: bytes, names: tuple[str, ...] = (HASH,)) -> str:
    contents = ContentNames(frozenset({bag.RECORDS, *(bag.CONTENTS + name for name in names)}))
    for block in blocks:
        contents.read(block)
    return contents.describe()


def test_a_reference_is_found_wherever_blocks_end() -> None:
    expected = "; 1 contents, each named by a record, 1 more that records name are not in the bag"
    assert {described(LINE[:at], LINE[at:]) for at in range(len(LINE))} == {expected}
    assert described(*(LINE[at : at + 1] for at in range(len(LINE))), names=(HASH, OTHER)) == (
        "; 2 contents, each named by a record"
    )
    assert described(LINE, names=()) == ""


@pytest.mark.parametrize("line", [b"", LINE.replace(b"_ref", b"_hash"), LINE.replace(b'"', rb"\"")])
def test_what_is_no_reference_names_no_content(line: bytes) -> None:
    with pytest.raises(EvidenceError, match=f"data/contents/{HASH}: expected a record that names this content"):
        described(line)


@pytest.mark.parametrize("name", [f"more/{HASH}", f"x{HASH}", HASH.upper(), HASH[:-1]])
def test_a_content_has_its_hash_as_its_whole_name(name: str) -> None:
    check_names({bag.CONTENTS + HASH: HASH, bag.RECORDS: OTHER})
    digest = OTHER if name == HASH.upper() else HASH
    with pytest.raises(EvidenceError) as caught:
        check_names({bag.CONTENTS + HASH: HASH, bag.CONTENTS + name: digest})
    problem = f"expected the content whose SHA-256 is its name, got one with {digest}"
    assert str(caught.value) == f"{shown(bag.CONTENTS + name)}: {problem}"
