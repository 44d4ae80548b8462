"""Archives that two programs could read differently are refused."""

from __future__ import annotations

import io
import stat
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from elspeth.evidence.format import bag
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.signatures import PublicKey
from elspeth.evidence.verifier import _zip_archive
from elspeth.evidence.verifier._zip_archive import member_blocks, read_members
from elspeth.evidence.verifier.procedure import Verdict
from elspeth.evidence.verifier.reader import open_bag
from elspeth.evidence.verifier.verify import verify_bag

Files = dict[str, bytes]
Change = Callable[[bytearray], object]


def zipped(files: Files, *, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return an archive as common tools write it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(f"bag/{name}"), content, compression)
    return buffer.getvalue()


def central(data: bytes | bytearray, number: int = 0) -> int:
    """Return the position of an entry of the directory."""
    position = int(struct.unpack_from("<I", data, len(data) - 6)[0])
    for _ in range(number):
        position += 46 + sum(struct.unpack_from("<HHH", data, position + 28))
    return position


def put(position: int, form: str, *values: int) -> Change:
    """Write values at a position.

    Negative positions count from the end.
    """
    return lambda data: struct.pack_into(form, data, position % len(data), *values)


def put_central(offset: int, form: str, *values: int, number: int = 0) -> Change:
    """Write values into an entry of the central directory."""
    return lambda data: struct.pack_into(form, data, central(data, number) + offset, *values)


def in_both(offset: int, form: str, value: int) -> Change:
    """Write a value into both headers of the first entry."""

    def change(data: bytearray) -> None:
        struct.pack_into(form, data, offset, value)
        struct.pack_into(form, data, central(data) + offset + 2, value)

    return change


def with_extra(identifier: int, content: bytes, more: bytes = b"") -> Callable[[Files], bytes]:
    """Build an archive whose first entry has an extra field."""

    def build(files: Files) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for number, (name, data) in enumerate(files.items()):
                info = zipfile.ZipInfo(f"bag/{name}")
                if number == 0:
                    info.extra = struct.pack("<HH", identifier, len(content)) + content + more
                archive.writestr(info, data)
        return buffer.getvalue()

    return build


def with_members(*more: tuple[str, bytes]) -> Callable[[Files], bytes]:
    """Build an archive with further members."""

    def build(files: Files) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in [*((f"bag/{name}", data) for name, data in files.items()), *more]:
                archive.writestr(zipfile.ZipInfo(name), data)
        return buffer.getvalue()

    return build


def hidden_entry(files: Files) -> bytes:
    """Return an archive with an unlisted entry."""
    evil = zipped({bag.RECORDS: b'{"evil":1}\n'})
    return moved(zipped(files), evil[: central(evil)])


def moved(archive: bytes, before: bytes) -> bytes:
    """Put bytes before an archive, and adapt its positions."""
    data = bytearray(before + archive)
    start = central(archive) + len(before)
    struct.pack_into("<I", data, len(data) - 6, start)
    position = start
    while position < len(data) - 22:
        (offset,) = struct.unpack_from("<I", data, position + 42)
        struct.pack_into("<I", data, position + 42, offset + len(before))
        position += 46 + sum(struct.unpack_from("<HHH", data, position + 28))
    return bytes(data)


def changed(change: Change) -> Callable[[Files], bytes]:
    """Build an archive, then change some of its bytes."""

    def build(files: Files) -> bytes:
        data = bytearray(zipped(files))
        change(data)
        return bytes(data)

    return build


def streamed(files: Files) -> bytes:
    """Return an archive whose sizes follow the data."""

    class Pipe(io.BytesIO):
        def tell(self) -> int:
            raise io.UnsupportedOperation

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(f"bag/{name}"), content)
    return pipe.getvalue()


def with_longer_data(files: Files) -> bytes:
    """Return an archive with bytes after compressed data."""
    name, content = next(iter(files.items()))
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(content) + packer.flush() + b"more"
    facts = struct.pack("<5HIII", 20, 0, 8, 0, 33, zlib.crc32(content), len(packed), len(content))
    path = f"bag/{name}".encode()
    local = b"PK\x03\x04" + facts + struct.pack("<HH", len(path), 0) + path + packed
    rest = moved(zipped({other: data for other, data in files.items() if other != name}), local)
    entry = b"PK\x01\x02" + struct.pack("<H", 20) + facts + struct.pack("<5HII", len(path), 0, 0, 0, 0, 0, 0) + path
    start = central(rest)
    count = struct.unpack_from("<H", rest, len(rest) - 12)[0] + 1
    end = struct.pack("<4s4HIIH", b"PK\x05\x06", 0, 0, count, count, len(rest) - 22 - start + len(entry), start, 0)
    return rest[:start] + entry + rest[start:-22] + end


def with_mode(files: Files, name: str, mode: int) -> bytes:
    """Return an archive with an empty entry of this mode."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for other, data in files.items():
            archive.writestr(zipfile.ZipInfo(f"bag/{other}"), data)
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, b"")
    return buffer.getvalue()


def gap_before_the_directory(files: Files) -> bytes:
    """Return an archive with bytes that nothing lists."""
    data = zipped(files)
    start = central(data)
    end = bytearray(data[-22:])
    struct.pack_into("<I", end, 16, start + 4)
    return data[:start] + b"evil" + data[start:-22] + bytes(end)


TWICE = "expected each file once in the archive, got it again"
HEADERS = "expected both of its headers in the archive to say the same"

ATTACKS: dict[str, tuple[Callable[[Files], bytes], str]] = {
    "an entry that the directory does not list": (hidden_entry, "expected an entry at byte 0"),
    "bytes before": (lambda files: b"#!/bin/sh\n" + zipped(files), "expected"),
    "bytes before that the directory knows": (
        lambda files: moved(zipped(files), b"PK\x03\x04\n"),
        "expected an entry at byte 0, got the next at 5",
    ),
    "another archive before": (lambda files: zipped({"a": b"b"}) + zipped(files), "expected"),
    "bytes before the directory": (gap_before_the_directory, "expected the central directory at byte"),
    "another mark before an entry": (
        changed(lambda data: struct.pack_into("<I", data, data.index(b"PK\x03\x04", 4), 0x08074B50)),
        HEADERS,
    ),
    "a file in capitals where a directory in capitals is": (
        with_members(("bag/More", b""), ("bag/MORE/x", b"")),
        "expected a directory above it",
    ),
    "a name with a dot": (with_members(("bag/./more", b"")), "expected a name inside the bag"),
    "a name with two dots": (with_members(("bag/../more", b"")), "expected a name inside the bag"),
    "the mode of a file on a directory": (
        lambda files: with_mode(files, "bag/more/", stat.S_IFREG | 0o644),
        "expected plain files and directories only",
    ),
    "bytes behind": (lambda files: zipped(files) + b"more", "expected a zip archive that ends with its end record"),
    "a comment": (
        lambda files: zipped(files)[:-2] + struct.pack("<H", 4) + b"more",
        "expected a zip archive that ends with its end record",
    ),
    "a comment that is not there": (changed(put(-2, "<H", 4)), "expected a zip archive that ends with its end record"),
    "a number of entries that lies": (changed(put(-14, "<HH", 1, 1)), "expected 1 entries in the central directory"),
    "numbers of entries that differ": (changed(put(-14, "<H", 1)), "expected one archive, whose end records agree"),
    "a disk of several": (changed(put(-18, "<H", 1)), "expected one archive, whose end records agree"),
    "a size of the directory that lies": (changed(put(-10, "<I", 7)), "expected a central directory of 7 bytes"),
    "encrypted in one header": (changed(put(6, "<H", 1)), HEADERS),
    "encrypted in both": (changed(in_both(6, "<H", 1)), "expected it stored or deflated"),
    "another method in one header": (changed(put(8, "<H", 0)), HEADERS),
    "another size in one header": (changed(put(22, "<I", 1)), HEADERS),
    "another CRC in one header": (changed(put(14, "<I", 1)), HEADERS),
    "another time in one header": (changed(put(10, "<H", 1)), HEADERS),
    "another name in one header": (changed(put(34, "<B", 88)), HEADERS),
    "a comment of an entry": (changed(put_central(32, "<H", 1)), "expected an entry without a comment"),
    "another disk of an entry": (changed(put_central(34, "<H", 1)), "expected an entry without a comment"),
    "an entry somewhere else": (changed(put_central(42, "<I", 9, number=1)), "expected an entry at byte"),
    "sizes behind the data": (streamed, "expected it stored or deflated"),
    "the mode of a directory on a file": (
        changed(put_central(38, "<I", (stat.S_IFDIR | 0o755) << 16)),
        "expected plain files and directories only",
    ),
    "times twice in an extra field": (
        with_extra(0x5455, b"time", b"UT\x04\x00time"),
        "expected extra fields with times and sizes at most",
    ),
    "an extra field that is cut off": (
        with_extra(0x000A, b"time", b"UT\x05\x00time"),
        "expected extra fields with times and sizes at most",
    ),
    "a name in an extra field": (
        with_extra(0x7075, b"\x01\x00\x00\x00\x00bag/evil"),
        "expected extra fields with times and sizes at most",
    ),
    "an unknown extra field": (with_extra(0xCAFE, b""), "expected extra fields with times and sizes at most"),
    "an extra field for sizes that need none": (
        with_extra(1, bytes(8)),
        "expected an entry without a comment, whose sizes are all there",
    ),
    "a directory with content": (with_members(("bag/more/", b"evil")), "expected a directory without content"),
    "a directory with the name of a file": (with_members((f"bag/{bag.RECORDS}/", b"")), TWICE),
    "a file where a directory is": (with_members(("bag/data/salts.json/x", b"")), "expected a directory above it"),
    "a file in capitals where a directory is": (
        with_members(("bag/MORE", b""), ("bag/more/x", b"")),
        "expected a directory above it",
    ),
    "a name in capitals": (with_members(("bag/DATA/records.jsonl", b"")), TWICE),
    "a name in another character set": (with_members(("bag/\u00e4", b"")), "expected a name inside the bag"),
    "bytes behind compressed data": (with_longer_data, "expected compressed data up to the next entry"),
}


def faults_of(path: Path, key: PublicKey) -> list[str]:
    """Return why an archive is refused or not verified."""
    try:
        result = verify_bag(path, key=key)
    except EvidenceError as error:
        return [str(error)]
    return [fault.detail for fault in result.faults]


@pytest.mark.parametrize("case", ATTACKS)
def test_an_ambiguous_archive_is_refused(case: str, signed: Files, key: PublicKey, tmp_path: Path) -> None:
    build, problem = ATTACKS[case]
    path = tmp_path / "bag.zip"
    path.write_bytes(build(signed))
    assert any(problem in fault for fault in faults_of(path, key))


def test_an_archive_made_by_the_usual_command_is_verified(signed: Files, key: PublicKey, tmp_path: Path) -> None:
    """Info-ZIP writes directories, times and owners."""
    for name, content in signed.items():
        (tmp_path / "trail" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "trail" / name).write_bytes(content)
    command = ["zip", "-q", "-r", "bag.zip", "trail"]
    try:
        subprocess.run(command, cwd=tmp_path, check=True)
    except FileNotFoundError:
        pytest.skip("no zip on this machine")
    assert verify_bag(tmp_path / "bag.zip", key=key).verdict is Verdict.VERIFIED


LARGE = {"bagit.txt": b"x" * 50, "data/large": b"0123456789" * 50, "small": b"y"}


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return an archive whose writer took its files for large."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    with zipfile.ZipFile(tmp_path / "bag.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in LARGE.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.file_size = len(content)
            with archive.open(info, "w") as member:
                member.write(content)
    return tmp_path / "bag.zip"


def test_zip64_archives_are_read(large: Path) -> None:
    assert large.read_bytes().count(b"PK\x06\x06") == 1
    with open_bag(large) as found:
        assert {name: found.read(name) for name in found.sizes} == LARGE


NOT_PRECEDED = "expected the end record for large archives before the other"
END_FIELDS = {
    0: NOT_PRECEDED,
    4: NOT_PRECEDED,
    16: NOT_PRECEDED,
    20: NOT_PRECEDED,
    24: "expected one archive, whose end records agree",
    32: "expected one archive, whose end records agree",
    40: "expected one archive, whose end records agree",
    48: "expected one archive, whose end records agree",
    60: NOT_PRECEDED,
    64: NOT_PRECEDED,
    72: NOT_PRECEDED,
}
"""The fields of the end record for large archives, and of its locator, by their offsets (APPNOTE, section 4.3.14)."""


@pytest.mark.parametrize("offset", END_FIELDS)
def test_every_field_of_the_end_of_a_large_archive_is_checked(large: Path, offset: int) -> None:
    data = bytearray(large.read_bytes())
    data[data.index(b"PK\x06\x06") + offset] ^= 1
    large.write_bytes(data)
    with pytest.raises(EvidenceError) as caught, open_bag(large):
        pass
    assert str(caught.value) == f"{large}: {END_FIELDS[offset]}"


@pytest.mark.parametrize("copies", [2, 3])
def test_the_sizes_of_a_large_file_are_there_once(large: Path, copies: int) -> None:
    data = large.read_bytes()
    at = data.index(b"data/large") + len(b"data/large")
    extra = data[at : at + 20]
    assert extra[:4] == b"\x01\x00\x10\x00"
    changed_data = bytearray(data)
    changed_data[at + 4 : at + 12] = (copies).to_bytes(8, "little")
    large.write_bytes(changed_data)
    with pytest.raises(EvidenceError) as caught, open_bag(large):
        pass
    assert str(caught.value) == "'data/large': expected the same sizes in both of its headers"


@pytest.mark.parametrize("size", [0, 1, 21, 22, 41, 97])
def test_a_file_that_is_too_short_for_an_archive_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "bag.zip"
    path.write_bytes((b"PK\x03\x04" + bytes(size))[: size + 4])
    with pytest.raises(EvidenceError) as caught, open_bag(path):
        pass
    short = "expected a zip archive, got one that is truncated, or another file"
    ends = "expected a zip archive that ends with its end record, without a comment"
    assert str(caught.value) == f"{path}: {short if size + 4 < 22 else ends}"


def test_the_central_directory_has_a_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = zipped({"bagit.txt": b""})
    length = len(data) - 22 - central(data)
    monkeypatch.setattr(_zip_archive, "MAX_DIRECTORY", length)
    assert read_members(io.BytesIO(data), len(data), "bag.zip", most=1)
    monkeypatch.setattr(_zip_archive, "MAX_DIRECTORY", length - 1)
    with pytest.raises(
        EvidenceError, match=f"^bag.zip: expected a central directory of at most {length - 1} bytes, got"
    ):
        read_members(io.BytesIO(data), len(data), "bag.zip", most=1)


def test_a_member_unpacks_a_block_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_zip_archive, "_BLOCK", 1000)
    data = zipped({"bagit.txt": bytes(1_000_000)})
    file = io.BytesIO(data)
    [member] = read_members(file, len(data), "bag.zip", most=1)
    sizes = [len(block) for block in member_blocks(file, member)]
    assert (max(sizes), sum(sizes)) == (1000, 1_000_000)


def test_a_member_that_is_larger_than_it_says_is_not_unpacked_further() -> None:
    data = bytearray(zipped({"bagit.txt": bytes(50 << 20)}))
    in_both(22, "<I", 10)(data)
    file = io.BytesIO(data)
    [member] = read_members(file, len(data), "bag.zip", most=1)
    blocks = member_blocks(file, member)
    with pytest.raises(EvidenceError, match=r"^bag/bagit\.txt: expected 10 bytes with the CRC-32"):
        next(blocks)
