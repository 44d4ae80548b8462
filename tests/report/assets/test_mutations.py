"""No small change to a signed bag passes the page.

By default some changes of each kind are tried, in the session `thorough` many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import pytest

from elspeth.evidence.format.signatures import PRIVATE_KEY, PublicKey, generate_keys, load_signer
from tests.evidence.bags import rewrite_manifests
from tests.evidence.mutations import (
    Files,
    byte_mutations,
    file_mutations,
    hand_mutations,
    line_mutations,
    member_mutations,
    resealed_byte_mutations,
    with_lines,
    zipped,
)
from tests.fixtures.browser import Tab
from tests.fixtures.effort import THOROUGH
from tests.report.scripts import Verdict, check_archive, check_bags

AT_ONCE = 500
"""Bags that are sent to the browser at once."""

KINDS: dict[str, tuple[Callable[[Files], Iterable[Files]], int, int]] = {
    "lines": (lambda files: (with_lines(files, lines) for lines in line_mutations(files)), 401, 7),
    "lines, manifests rewritten": (
        lambda files: (rewrite_manifests(with_lines(files, lines)) for lines in line_mutations(files)),
        397,
        7,
    ),
    "bytes": (byte_mutations, 997, 23),
    "bytes, manifests rewritten": (resealed_byte_mutations, 199, 5),
    "files": (file_mutations, 4, 1),
}
"""Changes of a kind: each of how many is tried by default, and in the session `thorough`."""


def check_all(code: Tab, signed: Files, key: PublicKey, mutations: Iterable[Files]) -> int:
    """Check that no change passes, and return their number."""
    rest, count = iter(mutations), 0
    while some := list(islice(rest, AT_ONCE)):
        for number, found in enumerate(check_bags(code, signed, some, key), start=count):
            assert found.verdict == "refused", f"change {number}: {found.text}"
            assert any(status == "FAILED" for status, _ in found.steps.values())
        count += len(some)
    return count


@pytest.mark.parametrize("kind", KINDS)
def test_every_change_is_found(code: Tab, signed: Files, key: PublicKey, kind: str) -> None:
    make, part, _ = KINDS[kind]
    assert check_all(code, signed, key, islice(make(signed), 0, None, part)) > 5


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_every_change_to_one_of_many_records_is_found(code: Tab, signed: Files, key: PublicKey, kind: str) -> None:
    make, _, part = KINDS[kind]
    count = check_all(code, signed, key, islice(make(signed), 0, None, part))
    print(f"{kind}: {count:,} mutations, all found")  # noqa: T201  the count is asked for


def test_a_bag_signed_by_somebody_else_is_found(code: Tab, signed: Files, key: PublicKey, tmp_path: Path) -> None:
    generate_keys(tmp_path / "other")
    other = load_signer(str(tmp_path / "other" / PRIVATE_KEY))
    check_all(code, signed, key, hand_mutations(signed, other, tmp_path))


def test_every_change_to_a_member_of_an_archive_is_found(
    code: Tab, signed: Files, key: PublicKey, tmp_path: Path
) -> None:
    for members in islice(member_mutations(signed), 0, None, 1 if THOROUGH else 17):
        found = check_archive(code, zipped(members, tmp_path / "bag.zip").read_bytes(), key)
        assert isinstance(found, str) or found.verdict == "refused"


@pytest.mark.thorough
def test_every_byte_of_an_archive_that_is_flipped_is_found_or_changes_no_file(
    code: Tab, signed: Files, key: PublicKey, tmp_path: Path
) -> None:
    sound = zipped(signed.items(), tmp_path / "bag.zip").read_bytes()
    places = range(0, len(sound), 5)
    passed = 0
    for at in places:
        changed = bytearray(sound)
        changed[at] ^= 1 << at % 8
        found = check_archive(code, bytes(changed), key)
        passed += isinstance(found, Verdict) and found.verdict == "signed"
    # Times, attributes and what else an archive says of its files beside their names and bytes.
    assert passed < 0.1 * len(places)
