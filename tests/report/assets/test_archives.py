"""The page refuses the archives that `elspeth verify` refuses."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest

from elspeth.evidence.format.bag import Contact
from elspeth.evidence.format.limits import MAX_DIRECTORY, MAX_FILES
from elspeth.evidence.format.signatures import PublicKey, Signer
from tests.evidence.bags import reseal
from tests.evidence.verifier.test_zip_archive import ATTACKS, in_both, zipped
from tests.fixtures.browser import Tab
from tests.report.scripts import Verdict, bytes_in, check_archive


def refusal(found: Verdict | str) -> str:
    """Return why an archive or its bag is refused."""
    if isinstance(found, str):
        return found
    assert found.verdict == "refused"
    return found.text


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_of_a_bag_is_checked(code: Tab, signed: dict[str, bytes], key: PublicKey, compression: int) -> None:
    found = check_archive(code, zipped(signed, compression=compression), key)
    assert isinstance(found, Verdict)
    assert found.verdict == "signed"


def test_a_bag_with_a_contact_is_checked(code: Tab, signed: dict[str, bytes], signer: Signer, key: PublicKey) -> None:
    files = reseal(signed, signer, contact=Contact(name="Anna Müller"))
    found = check_archive(code, zipped(files), key)
    assert isinstance(found, Verdict)
    assert found.verdict == "signed"


@pytest.mark.parametrize("case", ATTACKS)
def test_an_ambiguous_archive_is_refused(case: str, code: Tab, signed: dict[str, bytes], key: PublicKey) -> None:
    build, problem = ATTACKS[case]
    if case == "bytes behind compressed data":
        problem = "cannot be read"  # followed by the browser's own text
    assert problem in refusal(check_archive(code, build(signed), key))


def test_zip64_archives_are_read(code: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's writer takes more than 100 bytes for large."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"bagit.txt": b"x" * 50, "data/large": b"0123456789" * 50}.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.file_size = len(content)
            with archive.open(info, "w") as member:
                member.write(content)
    data = buffer.getvalue()
    assert data.count(b"PK\x06\x06") == 1
    assert refusal(check_archive(code, data, None)).endswith(
        "bagit.txt: expected BagIt 1.0 in UTF-8, got another declaration"
    )


def test_an_archive_that_is_much_larger_unpacked_is_refused(code: Tab) -> None:
    data = bytearray(zipped({"bagit.txt": b"x", "data/records.jsonl": b""}))
    in_both(22, "<I", 2**30 + 1)(data)
    assert check_archive(code, bytes(data), None) == (
        "archive: expected at most 1073741824 bytes in this archive, got 1073741825"
    )


def test_a_member_that_is_larger_than_it_says_is_not_unpacked_further(code: Tab) -> None:
    data = bytearray(zipped({"bagit.txt": bytes(50 << 20)}))
    in_both(22, "<I", 10)(data)
    assert "bag/bagit.txt: expected 10 bytes with the CRC-32 of the archive" in refusal(
        check_archive(code, bytes(data), None)
    )


def test_a_million_files_are_refused_before_they_are_read(code: Tab) -> None:
    many = MAX_FILES + 1
    end_record = struct.pack("<4s4HIIH", b"PK\x05\x06", 0, 0, many, many, 0, 0, 0)
    assert check_archive(code, end_record, None) == f"archive: expected at most {MAX_FILES} files, got {many}"
    entries = b"PK\x01\x02" + bytes(42)
    large = entries * 1_000_000
    directory = (
        b"PK\x06\x06"
        + (44).to_bytes(8, "little")
        + bytes(12)
        + (1_000_000).to_bytes(8, "little") * 2
        + len(large).to_bytes(8, "little")
        + bytes(8)
        + b"PK\x06\x07"
        + bytes(4)
        + len(large).to_bytes(8, "little")
        + (1).to_bytes(4, "little")
    )
    end = b"PK\x05\x06" + bytes(4) + b"\xff" * 12 + bytes(2)
    script = f"""(async () => {{
      const entries = new Blob([new Uint8Array({len(large)}), {bytes_in(directory + end)}]);
      try {{ await BagFiles.ofArchive(entries); }} catch (error) {{ return error.message; }}
    }})()"""
    assert code.evaluate(script) == (
        f"archive: expected a central directory of at most {MAX_DIRECTORY} bytes, got {len(large)}"
    )
