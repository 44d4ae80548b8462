"""Small files are read whole, larger ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from elspeth.evidence.format.errors import EvidenceError, KeyFileError
from elspeth.evidence.format.files import read_small_file
from elspeth.evidence.format.timestamp import load_authorities


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_small_file(path, "a key", 5) == b"12345"
    with pytest.raises(EvidenceError) as caught:
        read_small_file(path, "a key", 4)
    assert str(caught.value) == f"{path}: expected a key of at most 4 bytes, got a larger file"


@pytest.mark.parametrize("name", ["missing", "\0", "."])
def test_an_unreadable_file_raises_the_given_type_of_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyFileError, match="cannot be read: "):
        read_small_file(tmp_path / name, "a key", 4, KeyFileError)


def test_root_certificates_have_a_size_limit(tmp_path: Path) -> None:
    path = tmp_path / "roots.pem"
    path.write_bytes(b"x" * (1024 * 1024 + 1))
    with pytest.raises(KeyFileError, match="expected certificates of at most 1,048,576 bytes, got a larger file"):
        load_authorities(path)
