"""Outputs are compressed, and recognised by name or content."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest

from elspeth.outputs import compression
from elspeth.outputs.compression import (
    Compression,
    compressing,
    compression_of,
    find_compression,
    guess_compression,
    missing_library,
)

CONTENT = b"a line that is there many times\n" * 100


def compressed(kind: Compression | None) -> bytes:
    file = io.BytesIO()
    with compressing(file, kind) as inner:
        assert inner.writable()
        assert [inner.write(CONTENT[:10]), inner.write(memoryview(CONTENT)[10:])] == [10, len(CONTENT) - 10]
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl.gz", Compression.GZIP),
        ("A.JSONL.GZ", Compression.GZIP),
        ("a.zst", Compression.ZSTD),
        ("a.Zst", Compression.ZSTD),
        ("a.gz.jsonl", None),
        ("gz", None),
    ],
)
def test_a_name_says_how_a_file_is_compressed_in_any_case(name: str, kind: Compression | None) -> None:
    assert guess_compression(Path(name)) == kind


def test_gzip_is_read_by_others_and_gives_the_same_bytes_again(tmp_path: Path) -> None:
    found = compressed(Compression.GZIP)
    assert gzip.decompress(found) == CONTENT
    assert (compressed(Compression.GZIP), len(found) < len(CONTENT) / 10) == (found, True)
    assert compressed(None) == CONTENT
    (tmp_path / "x").write_bytes(found)
    assert (find_compression(tmp_path / "x"), compression_of(CONTENT), compression_of(b"")) == (
        Compression.GZIP,
        None,
        None,
    )


def test_a_damaged_file_of_zstandard_is_noticed() -> None:
    if missing_library(Compression.ZSTD):
        pytest.skip("the library is an extra")
    zstd = compression.load_zstd()
    found = compressed(Compression.ZSTD)
    assert compression_of(found) is Compression.ZSTD
    assert zstd.decompress(found) == CONTENT
    with pytest.raises(zstd.ZstdError):
        zstd.decompress(found[:-1] + bytes([found[-1] ^ 1]))  # the last bytes are the checksum


def test_content_that_could_not_be_written_completely_lacks_its_end() -> None:
    file = io.BytesIO()

    def fail() -> None:
        with compressing(file, Compression.GZIP) as inner:
            inner.write(CONTENT)
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    with pytest.raises(EOFError):
        gzip.decompress(file.getvalue())


def test_a_missing_library_is_named_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "_ZSTD_MODULE", "elspeth.missing")
    assert missing_library(Compression.GZIP) is None
    assert missing_library(Compression.ZSTD) == (
        "needs elspeth.missing, which is not installed: in a checkout of elspeth, pip install '.[zstd]'"
    )
