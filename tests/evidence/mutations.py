"""Every small change to the files of a bag."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from elspeth.evidence.format import bag
from elspeth.evidence.format.signatures import Signer
from tests.evidence.bags import make_bag, records, rewrite_manifests, to_lines

__all__ = [
    "Files",
    "byte_mutations",
    "file_mutations",
    "hand_mutations",
    "line_mutations",
    "member_mutations",
    "resealed_byte_mutations",
    "with_lines",
    "zipped",
]

Files = dict[str, bytes]


def with_lines(files: Files, lines: Iterable[bytes]) -> Files:
    """Return a bag with other lines."""
    return {**files, bag.RECORDS: b"".join(lines)}


def line_mutations(files: Files) -> Iterator[list[bytes]]:
    """Yield the lines with each change to one of them."""
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


def byte_mutations(files: Files, start: int = 0, step: int = 1) -> Iterator[Files]:
    """Yield a bag with one bit of each byte flipped."""
    places = [(name, at) for name, content in files.items() for at in range(len(content))]
    for name, at in places[start::step]:
        content = bytearray(files[name])
        content[at] ^= 1 << at % 8
        yield {**files, name: bytes(content)}


def resealed_byte_mutations(files: Files, step: int = 7) -> Iterator[Files]:
    """Yield a bag with bytes flipped, whose manifests fit."""
    for name in sorted(files.keys() - {bag.MANIFEST, bag.TAG_MANIFEST}):
        for at in range(0, len(files[name]), step):
            content = bytearray(files[name])
            content[at] ^= 1
            yield rewrite_manifests({**files, name: bytes(content)})


def file_mutations(files: Files) -> Iterator[Files]:
    """Yield a bag with files removed, emptied or added."""
    for name in files:
        rest = {other: content for other, content in files.items() if other != name}
        yield rest
        yield {**rest, name: b""}
        if name not in {bag.MANIFEST, bag.TAG_MANIFEST}:
            yield rewrite_manifests(rest)
    for name in ("more.txt", "data/more.txt", "data/data/records.jsonl", "fetch.txt"):
        yield {**files, name: b"more"}
        yield rewrite_manifests({**files, name: b"more"})


def hand_mutations(files: Files, other: Signer, directory: Path) -> list[Files]:
    """Return bags that are unsigned, signed by another, or mixed."""
    lines = to_lines(records())
    altered = [line.replace(b'"seconds":7', b'"seconds":8') for line in lines]
    unsigned, unsigned_altered = make_bag(directory, lines), make_bag(directory, altered)
    without = {name: content for name, content in files.items() if name != bag.ENVELOPE}
    return [
        unsigned,
        unsigned_altered,
        make_bag(directory, lines, other),
        make_bag(directory, altered, other),
        rewrite_manifests({**without, bag.STATEMENT: unsigned[bag.STATEMENT]}),
        rewrite_manifests({**files, bag.STATEMENT: unsigned[bag.STATEMENT]}),
        rewrite_manifests({**unsigned_altered, bag.ENVELOPE: files[bag.ENVELOPE]}),
        rewrite_manifests({**files, bag.RECORDS: unsigned_altered[bag.RECORDS]}),
        rewrite_manifests({**files, **{name: unsigned_altered[name] for name in (bag.RECORDS, bag.LEAVES)}}),
    ]


def zipped(members: Iterable[tuple[str, bytes]], path: Path) -> Path:
    """Write an archive whose names may occur twice."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about names that occur twice
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(f"bag/{name}"), content)
    return path


def member_mutations(signed: Files) -> Iterator[list[tuple[str, bytes]]]:
    """Yield the members with each change to one of them."""
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
