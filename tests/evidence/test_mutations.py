"""Every small change to a signed bag is found.

Messages name a place. `-s` shows how many changes were tried.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.signatures import PRIVATE_KEY, PublicKey, generate_keys, load_signer
from elspeth.evidence.verifier.procedure import Verdict
from elspeth.evidence.verifier.reader import open_bag
from elspeth.evidence.verifier.verify import verify_bag
from tests.evidence.bags import rewrite_manifests, verify
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


def check_all(mutations: Iterable[Files], key: PublicKey, name: str) -> None:
    """Check that no change passes, and faults have places."""
    count = 0
    for files in mutations:
        result = verify(files, key)
        assert result.verdict is Verdict.NOT_VERIFIED
        assert all(":" in fault.detail for fault in result.faults)
        assert result.faults
        count += 1
    print(f"{name}: {count:,} mutations, all found")  # noqa: T201 - the count is asked for
    assert count


@pytest.mark.thorough
def test_every_change_to_a_line_is_found(signed: Files, key: PublicKey) -> None:
    check_all((with_lines(signed, lines) for lines in line_mutations(signed)), key, "lines")


@pytest.mark.thorough
def test_every_change_to_a_line_is_found_when_the_manifests_fit(signed: Files, key: PublicKey) -> None:
    check_all(
        (rewrite_manifests(with_lines(signed, lines)) for lines in line_mutations(signed)), key, "lines, resealed"
    )


@pytest.mark.thorough
@pytest.mark.parametrize("half", [0, 1])
def test_every_byte_that_is_flipped_is_found(signed: Files, key: PublicKey, half: int) -> None:
    check_all(byte_mutations(signed, half, 2), key, "bytes")


@pytest.mark.thorough
def test_every_byte_that_is_flipped_is_found_when_the_manifests_fit(signed: Files, key: PublicKey) -> None:
    check_all(resealed_byte_mutations(signed), key, "bytes, resealed")


def test_every_file_added_or_removed_is_found(signed: Files, key: PublicKey) -> None:
    check_all(file_mutations(signed), key, "files")


def test_a_bag_signed_by_somebody_else_is_found(signed: Files, key: PublicKey, tmp_path: Path) -> None:
    generate_keys(tmp_path / "other")
    other = load_signer(str(tmp_path / "other" / PRIVATE_KEY))
    check_all(hand_mutations(signed, other, tmp_path), key, "hands")


def is_found(path: Path, key: PublicKey, files: Files) -> bool:
    """Return whether an archive is not verified.

    A verified archive must hold the very same files.
    """
    try:
        if verify_bag(path, key=key).verdict is Verdict.NOT_VERIFIED:
            return True
        with open_bag(path) as found:
            assert {name: found.read(name) for name in found.sizes} == files
    except EvidenceError:
        return True
    return False


def test_every_change_to_a_member_of_an_archive_is_found(signed: Files, key: PublicKey, tmp_path: Path) -> None:
    count = 0
    for members in member_mutations(signed):
        assert is_found(zipped(members, tmp_path / "bag.zip"), key, signed)
        count += 1
    print(f"members of an archive: {count:,} mutations, all found")  # noqa: T201 - the count is asked for


@pytest.mark.thorough
def test_every_byte_of_an_archive_that_is_flipped_is_found_or_changes_no_file(
    signed: Files, key: PublicKey, tmp_path: Path
) -> None:
    path = zipped(signed.items(), tmp_path / "bag.zip")
    sound = path.read_bytes()
    assert verify_bag(path, key=key).verdict is Verdict.VERIFIED
    found = 0
    places = range(0, len(sound), 5)
    for at in places:
        changed = bytearray(sound)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        found += is_found(path, key, signed)
    for end in range(0, len(sound), 100):
        path.write_bytes(sound[:end])
        assert is_found(path, key, signed)
    rest = len(places) - found
    print(f"bytes of an archive: {len(places):,} mutations, all found but {rest:,} that change no file")  # noqa: T201
    # Times, attributes and what else an archive says of its files beside their names and bytes.
    assert found > 0.9 * len(places)
