"""Every small change to a signed bag is found, and the message names a place. `-s` shows how many were tried."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from elspeth.evidence import layout
from elspeth.evidence.keys import PublicKey
from elspeth.evidence.procedure import Verdict
from tests.evidence.bags import as_lines, bag, records, verified

Files = dict[str, bytes]


def check_all(mutations: Iterable[Files], key: PublicKey, name: str) -> None:
    """Nothing passes; every fault has a place."""
    count = 0
    for files in mutations:
        result = verified(files, key)
        assert result.verdict is Verdict.NOT_VERIFIED
        assert all(":" in fault.detail for fault in result.faults)
        assert result.faults
        count += 1
    print(f"{name}: {count:,} mutations, all found")  # noqa: T201 - the count is asked for
    assert count


def with_lines(files: Files, lines: Iterable[bytes]) -> Files:
    return {**files, layout.RECORDS: b"".join(lines)}


def consistent(files: Files) -> Files:
    """The bag with manifests that fit, as anybody can write them."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    payload = {name: digest for name, digest in hashes.items() if name.startswith("data/")}
    manifest = layout.manifest_text(payload)
    tags = {name: digest for name, digest in hashes.items() if name not in {*payload, layout.TAG_MANIFEST}}
    tags[layout.MANIFEST] = hashlib.sha256(manifest).hexdigest()
    return {**files, layout.MANIFEST: manifest, layout.TAG_MANIFEST: layout.manifest_text(tags)}


def line_mutations(files: Files) -> Iterator[list[bytes]]:
    lines = files[layout.RECORDS].splitlines(keepends=True)
    other = [line + b"\n" for line in as_lines(records("run-2"))]
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


def test_every_change_to_a_line_is_found(signed: Files, key: PublicKey) -> None:
    check_all((with_lines(signed, lines) for lines in line_mutations(signed)), key, "lines")


def test_every_change_to_a_line_is_found_when_the_manifests_fit(signed: Files, key: PublicKey) -> None:
    check_all((consistent(with_lines(signed, lines)) for lines in line_mutations(signed)), key, "lines, resealed")


@pytest.mark.parametrize("half", [0, 1])
def test_every_byte_that_is_flipped_is_found(signed: Files, key: PublicKey, half: int) -> None:
    def mutations() -> Iterator[Files]:
        places = [(name, at) for name, content in signed.items() for at in range(len(content))]
        for name, at in places[half::2]:
            content = bytearray(signed[name])
            content[at] ^= 1 << at % 8
            yield {**signed, name: bytes(content)}

    check_all(mutations(), key, "bytes")


def test_every_byte_that_is_flipped_is_found_when_the_manifests_fit(signed: Files, key: PublicKey) -> None:
    def mutations() -> Iterator[Files]:
        for name in sorted(signed.keys() - {layout.MANIFEST, layout.TAG_MANIFEST}):
            for at in range(0, len(signed[name]), 7):
                content = bytearray(signed[name])
                content[at] ^= 1
                yield consistent({**signed, name: bytes(content)})

    check_all(mutations(), key, "bytes, resealed")


def test_every_file_added_or_removed_is_found(signed: Files, key: PublicKey) -> None:
    def mutations() -> Iterator[Files]:
        for name in signed:
            files = {other: content for other, content in signed.items() if other != name}
            yield files
            yield {**files, name: b""}
            if name not in {layout.MANIFEST, layout.TAG_MANIFEST}:
                yield consistent(files)
        for name in ("more.txt", "data/more.txt", "data/data/records.jsonl", "fetch.txt"):
            yield {**signed, name: b"more"}
            yield consistent({**signed, name: b"more"})

    check_all(mutations(), key, "files")


def test_a_bag_by_another_hand_is_found(signed: Files, key: PublicKey, tmp_path: Path) -> None:
    lines = as_lines(records())
    altered = [line.replace(b'"seconds":7', b'"seconds":8') for line in lines]
    unsigned, unsigned_altered = bag(tmp_path, lines), bag(tmp_path, altered)
    without = {name: content for name, content in signed.items() if name != layout.ENVELOPE}
    check_all(
        [
            unsigned,
            unsigned_altered,
            consistent({**without, layout.STATEMENT: unsigned[layout.STATEMENT]}),
            consistent({**signed, layout.STATEMENT: unsigned[layout.STATEMENT]}),
            consistent({**unsigned_altered, layout.ENVELOPE: signed[layout.ENVELOPE]}),
            consistent({**signed, layout.RECORDS: unsigned_altered[layout.RECORDS]}),
            consistent({**signed, **{name: unsigned_altered[name] for name in (layout.RECORDS, layout.LEAVES)}}),
        ],
        key,
        "hands",
    )
