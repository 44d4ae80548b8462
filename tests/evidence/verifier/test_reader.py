"""Bombs, links and names that lead elsewhere are refused."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elspeth.evidence.format import bag
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.signatures import PublicKey
from elspeth.evidence.verifier import _zip_archive, reader
from elspeth.evidence.verifier.procedure import Verdict
from elspeth.evidence.verifier.reader import batches_of_lines, looks_like_bag, open_bag
from elspeth.evidence.verifier.verify import verify_bag


def read_all(path: Path) -> None:
    with open_bag(path) as files:
        for name in files.sizes:
            files.read(name)


def refusal(path: Path) -> str:
    with pytest.raises(EvidenceError) as caught:
        read_all(path)
    return str(caught.value)


def zipped(path: Path, members: dict[str, bytes], **attributes: int) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            for attribute, value in attributes.items():
                setattr(info, attribute, value)
            archive.writestr(info, content)
    return path


@pytest.mark.parametrize("top", ["", "bag/", "Some directory/"])
def test_a_zip_archive_of_a_bag_is_verified(signed: dict[str, bytes], key: PublicKey, tmp_path: Path, top: str) -> None:
    path = zipped(tmp_path / "bag.zip", {top + name: content for name, content in signed.items()})
    assert verify_bag(path, key=key).verdict is Verdict.VERIFIED


def test_symbolic_links_in_a_directory_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / bag.RECORDS).symlink_to("/etc/hostname")
    assert refusal(tmp_path) == "'data/records.jsonl': expected plain files and directories only, got a symbolic link"


def test_a_linked_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to("/etc")
    assert refusal(tmp_path) == "'data': expected plain files and directories only, got a symbolic link"


def test_devices_and_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path) == "'pipe': expected plain files and directories only, got a device"


def test_a_file_that_became_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    with open_bag(tmp_path) as files:
        (tmp_path / "file").unlink()
        (tmp_path / "file").symlink_to("/etc/hostname")
        with pytest.raises(EvidenceError, match="file: cannot be read: Too many levels of symbolic links"):
            files.read("file")


def test_links_in_an_archive_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "bag.zip", {"file": b"/etc/hostname"}, external_attr=(stat.S_IFLNK | 0o777) << 16)
    assert refusal(path) == "'file': expected plain files and directories only, got a link or device"


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "data/../../up", "data//x", "C:x", "a\\b", "./x", "a\x00b"])
def test_names_that_lead_outside_the_bag_are_refused(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / "bag.zip", {"X" * len(name): b""})
    path.write_bytes(path.read_bytes().replace(b"X" * len(name), name.encode()))
    assert "expected a name inside the bag, got one that leads elsewhere" in refusal(path)


def test_repeated_names_in_an_archive_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "bag.zip", {"one": b"1", "two": b"2"})
    path.write_bytes(path.read_bytes().replace(b"two", b"one"))
    assert refusal(path) == "'one': expected each file once in the archive, got it again"


def test_encrypted_and_oddly_compressed_members_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bag.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("file", b"content")
    expected = "'file': expected it stored or deflated, got it encrypted or in another compression"
    assert refusal(tmp_path / "bag.zip") == expected


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_UNPACKED", 1 << 20)
    with zipfile.ZipFile(tmp_path / "bag.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/records.jsonl", bytes(2 << 20))
    assert refusal(tmp_path / "bag.zip").endswith("bytes in this archive, got 2,097,152")
    for name, bound in (("MAX_UNPACKED", 2 << 20), ("MAX_FACTOR", 2000)):
        with monkeypatch.context() as patched:
            patched.setattr(reader, name, bound)
            read_all(tmp_path / "bag.zip")


@pytest.mark.parametrize("size", [1, 4, 100])
def test_a_line_may_reach_its_size_limit(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_LINE", 5)

    def lines(data: bytes) -> list[bytes]:
        blocks = (data[start : start + size] for start in range(0, len(data), size))
        return [line for batch in batches_of_lines(blocks, "records") for line in batch]

    assert lines(b"12345\n1\n12345\n") == [b"12345", b"1", b"12345"]
    if size < 6:  # a block of whole lines is in memory anyway
        with pytest.raises(EvidenceError, match=r"^records, line 3: expected at most 5 bytes, got more$"):
            lines(b"1\n2\n123456" + b"78" * (size > 1) + b"\n")
    with pytest.raises(EvidenceError, match=r"^records, line 3: expected a line feed at its end, .* after b'3': the"):
        lines(b"1\n2\n3")


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """All members of this bomb share their compressed bytes."""
    path = tmp_path / "bag.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one", bytes(1000))
        info = archive.infolist()[0]
        for number in range(20):
            twin = zipfile.ZipInfo(f"twin-{number}")
            twin.header_offset, twin.file_size, twin.compress_size = info.header_offset, 1000, 1000
            twin.CRC = info.CRC
            archive.filelist.append(twin)
            archive.NameToInfo[twin.filename] = twin
    assert refusal(path).endswith("expected an entry at byte 1,033, got the next at 0")


def test_more_files_than_a_bag_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_FILES", 2)
    for name in "abc":
        (tmp_path / name).touch()
    assert refusal(tmp_path) == f"{tmp_path}: expected at most 2 files, got more"
    path = zipped(tmp_path / "bag.zip", dict.fromkeys("abc", b""))
    assert refusal(path) == f"{path}: expected at most 2 files, got 3"
    monkeypatch.setattr(reader, "MAX_FILES", 4)  # three files, and the archive
    read_all(tmp_path)
    monkeypatch.setattr(reader, "MAX_FILES", 3)
    read_all(path)


def test_a_huge_document_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "bagit.txt").open("wb") as file:
        file.truncate(1 << 40)  # a sparse file: it takes no room
    assert refusal(tmp_path) == "bagit.txt: expected at most 4,194,304 bytes, got 1,099,511,627,776"
    (tmp_path / "bagit.txt").write_bytes(bytes(4_194_304))
    read_all(tmp_path)
    (tmp_path / "bagit.txt").write_bytes(bytes(4_194_305))
    with open_bag(tmp_path) as files:  # other files may be larger: they are read in blocks
        assert files.sha256("bagit.txt") == hashlib.sha256(bytes(4_194_305)).hexdigest()


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "bag.zip", {"file": b"content"})
    path.write_bytes(path.read_bytes().replace(b"content", b"Content"))
    expected = "file: expected 7 bytes with the CRC-32 fec530a9, got 7 with 31780935: the archive is damaged"
    assert refusal(path) == expected


def test_a_compressed_file_of_no_compression_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bag.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("file", b"content")
    data = bytearray((tmp_path / "bag.zip").read_bytes())
    data[30 + len("file")] = 0b111  # a block of the type that DEFLATE reserves
    (tmp_path / "bag.zip").write_bytes(data)
    assert (
        refusal(tmp_path / "bag.zip") == "file: cannot be read: Error -3 while decompressing data: invalid block type"
    )


@pytest.mark.parametrize("packed", [False, True])
def test_the_hash_of_a_file_is_that_of_all_its_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, packed: bool
) -> None:
    monkeypatch.setattr(reader, "_BLOCK", 10)
    monkeypatch.setattr(_zip_archive, "_BLOCK", 10)
    content = bytes(range(35))
    if packed:
        path = zipped(tmp_path / "bag.zip", {"file": content})
    else:
        path = tmp_path / "bag"
        path.mkdir()
        (path / "file").write_bytes(content)
    with open_bag(path) as files:
        assert (files.sizes, files.read("file")) == ({"file": 35}, content)
        assert list(map(len, files.blocks("file"))) == [10, 10, 10, 5]
        assert files.sha256("file") == hashlib.sha256(content).hexdigest()


def test_more_directories_than_a_bag_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_FILES", 3)
    for name in "abcd":
        (tmp_path / name).mkdir()
    assert refusal(tmp_path) == f"{tmp_path}: expected at most 3 files, got more"
    (tmp_path / "a").rmdir()
    read_all(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "is_bag"),
    [
        ("bag.zip", b"damaged", True),
        ("bag", b"PK\x03\x04", True),
        ("bag", b"PK\x03", False),
        ("export.json", b"[\n", False),
        ("bag", b"", False),
    ],
)
def test_an_archive_is_recognised_by_its_name_or_its_first_bytes(
    tmp_path: Path, name: str, content: bytes, *, is_bag: bool
) -> None:
    (tmp_path / name).write_bytes(content)
    assert looks_like_bag(tmp_path / name) is is_bag
    assert looks_like_bag(tmp_path)
    assert not looks_like_bag(tmp_path / "gone")


def test_a_file_beside_the_directory_of_a_bag_is_part_of_the_archive(tmp_path: Path) -> None:
    for more in ("other", "bags/x", "bag2/x", "a"):
        path = zipped(tmp_path / "bag.zip", {"bag/bagit.txt": b"", "bag/data/x": b"", more: b""})
        with open_bag(path) as files:
            assert files.sizes.keys() == {"bag/bagit.txt", "bag/data/x", more}


def test_an_archive_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    for path, problem in (
        (tmp_path / "gone", "No such file or directory"),
        (tmp_path / "file" / "x", "Not a directory"),
    ):
        (tmp_path / "file").touch()
        assert refusal(path) == f"{path}: cannot be read: {problem}"


def test_a_missing_bag_is_named(tmp_path: Path) -> None:
    with open_bag(tmp_path) as files, pytest.raises(EvidenceError, match=r"^file: expected this file, got none$"):
        files.read("file")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(data=st.binary(), at=st.integers(0, 2**16), prefix=st.booleans())
def test_arbitrary_bytes_are_not_a_verified_bag(
    data: bytes, at: int, signed: dict[str, bytes], key: PublicKey, tmp_path: Path, *, prefix: bool
) -> None:
    path = zipped(tmp_path / "bag.zip", signed)
    archive = path.read_bytes()
    path.write_bytes(archive[: at % len(archive)] + data if prefix else data)
    try:
        verdict = verify_bag(path, key=key).verdict
    except EvidenceError:
        return
    assert verdict is Verdict.NOT_VERIFIED
