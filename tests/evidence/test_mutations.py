"""Every small change to a signed bag is found.

Messages name a place. `-s` shows how many changes were tried.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from elspeth.evidence.format import bag
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.signatures import PRIVATE_KEY, PublicKey, generate_keys, load_signer
from elspeth.evidence.verifier.procedure import Verdict
from elspeth.evidence.verifier.reader import open_bag
from elspeth.evidence.verifier.verify import verify_bag
from tests.evidence.bags import make_bag, records, rewrite_manifests, to_lines, verify

Files = dict[str, bytes]


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


def with_lines(files: Files, lines: Iterable[bytes]) -> Files:
    return {**files, bag.RECORDS: b"".join(lines)}


def line_mutations(files: Files) -> Iterator[list[bytes]]:
    lines = files[bag.RECORDS].splitlines(keepends=True)
    other = [line + b"\n" for line in to_lines(records("run-2"))]
    for at, line in enumerate(lines):
        before, after = lines[:at], lines[at + 1 :]
        yield before + after
        yield [*before, line, line, *after]
        yield [*before, b"\n", line, *after]
        yield [*before, other[at], *after]
        yield before
        for end in range(1, len(line)):
            yield [*before, line[:end]]
            yield [*before, line[: end - 1] + b"\n", *after]
        if after:
            yield [*before, after[0], line, *after[1:]]


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
    def mutations() -> Iterator[Files]:
        places = [(name, at) for name, content in signed.items() for at in range(len(content))]
        for name, at in places[half::2]:
            content = bytearray(signed[name])
            content[at] ^= 1 << at % 8
            yield {**signed, name: bytes(content)}

    check_all(mutations(), key, "bytes")


@pytest.mark.thorough
def test_every_byte_that_is_flipped_is_found_when_the_manifests_fit(signed: Files, key: PublicKey) -> None:
    def mutations() -> Iterator[Files]:
        for name in sorted(signed.keys() - {bag.MANIFEST, bag.TAG_MANIFEST}):
            for at in range(0, len(signed[name]), 7):
                content = bytearray(signed[name])
                content[at] ^= 1
                yield rewrite_manifests({**signed, name: bytes(content)})

    check_all(mutations(), key, "bytes, resealed")


def test_every_file_added_or_removed_is_found(signed: Files, key: PublicKey) -> None:
    def mutations() -> Iterator[Files]:
        for name in signed:
            files = {other: content for other, content in signed.items() if other != name}
            yield files
            yield {**files, name: b""}
            if name not in {bag.MANIFEST, bag.TAG_MANIFEST}:
                yield rewrite_manifests(files)
        for name in ("more.txt", "data/more.txt", "data/data/records.jsonl", "fetch.txt"):
            yield {**signed, name: b"more"}
            yield rewrite_manifests({**signed, name: b"more"})

    check_all(mutations(), key, "files")


def test_a_bag_by_another_hand_is_found(signed: Files, key: PublicKey, tmp_path: Path) -> None:
    lines = to_lines(records())
    altered = [line.replace(b'"seconds":7', b'"seconds":8') for line in lines]
    unsigned, unsigned_altered = make_bag(tmp_path, lines), make_bag(tmp_path, altered)
    generate_keys(tmp_path / "other")
    other = load_signer(str(tmp_path / "other" / PRIVATE_KEY))
    without = {name: content for name, content in signed.items() if name != bag.ENVELOPE}
    check_all(
        [
            unsigned,
            unsigned_altered,
            make_bag(tmp_path, lines, other),
            make_bag(tmp_path, altered, other),
            rewrite_manifests({**without, bag.STATEMENT: unsigned[bag.STATEMENT]}),
            rewrite_manifests({**signed, bag.STATEMENT: unsigned[bag.STATEMENT]}),
            rewrite_manifests({**unsigned_altered, bag.ENVELOPE: signed[bag.ENVELOPE]}),
            rewrite_manifests({**signed, bag.RECORDS: unsigned_altered[bag.RECORDS]}),
            rewrite_manifests({**signed, **{name: unsigned_altered[name] for name in (bag.RECORDS, bag.LEAVES)}}),
        ],
        key,
        "hands",
    )


def zipped(members: Iterable[tuple[str, bytes]], path: Path) -> Path:
    """Write an archive whose names may occur twice."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about names that occur twice
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(f"bag/{name}"), content)
    return path


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


def member_mutations(signed: Files) -> Iterator[list[tuple[str, bytes]]]:
    members = list(signed.items())
    for at, (name, content) in enumerate(members):
        before, after = members[:at], members[at + 1 :]
        yield before + after
        yield [*members, (name, content)]
        yield [(name, b"other"), *members]
        yield [*members, (f"../bag/{name}", content)]
        yield [*before, (name.upper(), content), *after]
        for place in range(0, len(content), max(1, len(content) // 16)):
            changed = bytearray(content)
            changed[place] ^= 1
            yield [*before, (name, bytes(changed)), *after]
            yield [*before, (name, content[:place]), *after]
    for name in ("more.txt", "data/more.txt", "fetch.txt"):
        yield [*members, (name, b"more")]


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
