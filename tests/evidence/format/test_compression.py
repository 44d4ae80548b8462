"""Compressed files: what is written, and what is refused."""

from __future__ import annotations

import gzip
import io
import zlib
from base64 import b64decode
from hashlib import shake_256
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.evidence.format import compression
from elspeth.evidence.format.compression import Allowance, open_decompressed
from elspeth.evidence.format.errors import EvidenceError
from elspeth.outputs.compression import MARKS, Compression, compressing, find_compression, load_zstd, missing_library
from tests.fixtures.effort import law

EVERY = pytest.mark.parametrize("kind", Compression)

CONTENT = b"elspeth\n"

BY_OTHERS = {
    "gzip -n": b64decode("H4sIAAAAAAAAA0vNKS5ILcngAgCLB6rXCAAAAA=="),
    "zstd": b64decode("KLUv/QRYQQAAZWxzcGV0aAqJRusb"),
    "zstd --no-check": b64decode("KLUv/QBYQQAAZWxzcGV0aAo="),
}
"""What the tools make of the content."""


def compressed(kind: Compression, *pieces: bytes) -> bytes:
    file = io.BytesIO()
    with compressing(file, kind) as opened:
        for piece in pieces:
            assert opened.write(piece) == len(piece)
    return file.getvalue()


def decompressed_by_others(kind: Compression, content: bytes) -> bytes:
    if kind is Compression.GZIP:
        return gzip.decompress(content)
    found: bytes = load_zstd().decompress(content)
    return found


def read(path: Path, content: bytes) -> bytes:
    path.write_bytes(content)
    with open_decompressed(path) as file:
        return file.read()


def problem_of(path: Path, content: bytes) -> str:
    with pytest.raises(EvidenceError) as caught:
        read(path, content)
    assert caught.value.place == str(path)
    return caught.value.problem


@EVERY
@law(200)
@given(content=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=3), size=st.integers(1, 100))
def test_content_compressed_in_any_pieces_is_read_in_any_pieces(
    kind: Compression, content: bytes, cuts: list[int], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    places = [0, *sorted(cuts), len(content)]
    found = compressed(kind, *(content[start:end] for start, end in pairwise(places)))
    assert decompressed_by_others(kind, found) == content
    assert found == compressed(kind, content)
    path = tmp_path_factory.getbasetemp() / "pieces"
    path.write_bytes(found)
    with open_decompressed(path) as file:
        assert b"".join(iter(lambda: file.read(size), b"")) == content


@pytest.mark.parametrize("tool", BY_OTHERS)
def test_files_written_by_gzip_and_zstd_are_read(tmp_path: Path, tool: str) -> None:
    path = tmp_path / "named.txt"
    assert read(path, BY_OTHERS[tool]) == CONTENT
    assert find_compression(path) == tool.partition(" ")[0]


def test_a_file_that_is_not_compressed_is_read_as_it_is(tmp_path: Path) -> None:
    for content in (b"", b"\x1f", CONTENT):
        assert read(tmp_path / "trail.gz", content) == content
        assert find_compression(tmp_path / "trail.gz") is None


@EVERY
def test_the_same_content_gives_the_same_bytes_without_time_or_name(
    tmp_path: Path, kind: Compression, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "named").open("wb") as file, compressing(file, kind) as opened:
        opened.write(CONTENT * 1000)
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert (tmp_path / "named").read_bytes() == compressed(kind, CONTENT * 1000)


def test_a_gzip_member_states_no_time_and_no_name() -> None:
    # RFC 1952, section 2.3: mark, method, flags, time.
    assert compressed(Compression.GZIP, CONTENT)[:8] == b"\x1f\x8b\x08\x00" + bytes(4)


@EVERY
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path, kind: Compression) -> None:
    whole = compressed(kind, bytes(range(32)))
    for size in range(len(MARKS[kind]), len(whole)):
        problem = problem_of(tmp_path / "trail", whole[:size])
        assert problem.endswith("got the end of the file: the file is truncated")


@EVERY
def test_a_damaged_file_never_gives_other_content(tmp_path: Path, kind: Compression) -> None:
    content = bytes(range(40)) * 2
    whole = compressed(kind, content)
    refused = 0
    for place in range(len(MARKS[kind]), len(whole)):
        try:
            found = read(tmp_path / "trail", whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        except EvidenceError as error:
            assert error.problem.startswith("expected ")  # noqa: PT017  most alterations fail, not all
            refused += 1
        else:
            assert found == content
    assert refused > len(whole) - 20 > 20


@EVERY
@pytest.mark.parametrize("added", ["garbage", "zeros", "a second one"])
def test_nothing_may_follow_the_compressed_data(tmp_path: Path, kind: Compression, added: str) -> None:
    first = compressed(kind, CONTENT)
    second = {"garbage": b"x", "zeros": bytes(512), "a second one": first}[added]
    problem = problem_of(tmp_path / "trail", first + second)
    unit = {Compression.GZIP: "gzip member", Compression.ZSTD: "zstd frame"}[kind]
    assert problem == f"expected the end of the file after its {unit}, got more bytes"


@EVERY
def test_nothing_may_follow_even_at_the_start_of_a_block(
    tmp_path: Path, kind: Compression, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compressed(kind, CONTENT)
    monkeypatch.setattr(compression, "_BLOCK", len(first))
    assert "got more bytes" in problem_of(tmp_path / "trail", first + first)


@EVERY
def test_a_file_that_grows_too_large_is_refused_after_little_work(
    tmp_path: Path, kind: Compression, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(compressed(kind, *[bytes(1 << 20)] * 64))
    assert path.stat().st_size < 1 << 19
    monkeypatch.setattr(compression, "MAX_UNPACKED", 1 << 21)
    monkeypatch.setattr(compression, "MAX_FACTOR", 1)
    taken = 0
    with pytest.raises(EvidenceError) as caught, open_decompressed(path) as file:  # noqa: PT012  counts what is read
        while block := file.read(1000):
            taken += len(block)
    assert caught.value.problem == "expected at most 2,097,152 bytes when decompressed, got more"
    assert taken <= 1 << 21


@EVERY
def test_a_file_may_grow_up_to_the_limit(tmp_path: Path, kind: Compression, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(100_000)
    whole = compressed(kind, content)
    monkeypatch.setattr(compression, "MAX_UNPACKED", 0)
    monkeypatch.setattr(compression, "MAX_FACTOR", len(content) // len(whole) + 1)
    assert read(tmp_path / "trail", whole) == content
    monkeypatch.setattr(compression, "MAX_FACTOR", len(content) // len(whole))
    assert problem_of(tmp_path / "trail", whole).startswith("expected at most ")


@EVERY
def test_files_of_one_export_share_one_limit(
    tmp_path: Path, kind: Compression, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "MAX_UNPACKED", 3 * len(CONTENT))
    path, shared = tmp_path / "trail", Allowance(0)
    path.write_bytes(compressed(kind, CONTENT))
    for _ in range(3):
        with open_decompressed(path, shared) as file:
            assert file.read() == CONTENT
    with open_decompressed(path, shared) as file, pytest.raises(EvidenceError, match="expected at most 24 bytes when"):
        file.read()


def test_a_frame_that_needs_a_large_window_is_refused(tmp_path: Path) -> None:
    zstd = load_zstd()
    for window, is_read in ((23, True), (24, False)):
        compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: window})
        whole = compressor.compress(CONTENT) + compressor.flush()
        if is_read:
            assert read(tmp_path / "trail", whole) == CONTENT
        else:
            problem = problem_of(tmp_path / "trail", whole)
            assert problem.startswith("expected a sound zstd frame, got a damaged one: ")
            assert "too much memory" in problem


@EVERY
def test_a_block_that_fails_leaves_a_truncated_file(tmp_path: Path, kind: Compression) -> None:
    file = io.BytesIO()
    with pytest.raises(OSError, match="no more"), compressing(file, kind) as opened:  # noqa: PT012  the failing block
        opened.write(shake_256(b"").digest(1 << 18))
        raise OSError("no more")
    assert "truncated" in problem_of(tmp_path / "trail", file.getvalue())


def test_without_its_library_zstd_is_refused_and_gzip_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elspeth.outputs.compression._ZSTD_MODULE", "no.such_module")
    needed = "needs no.such_module, which is not installed: in a checkout of elspeth, pip install '.[zstd]'"
    assert missing_library(Compression.ZSTD) == needed
    assert missing_library(Compression.GZIP) is None
    assert problem_of(tmp_path / "trail", BY_OTHERS["zstd"]) == f"is compressed with zstd, which {needed}"
    assert read(tmp_path / "trail", zlib.compress(CONTENT, wbits=31)) == CONTENT
