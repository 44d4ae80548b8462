"""`elspeth prove`: what it writes, and that it verifies."""

from __future__ import annotations

from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.evidence.bag import write_bag
from elspeth.evidence.keys import PRIVATE_KEY, PUBLIC_KEY, generate, load_signer
from tests.evidence.bags import DOCUMENTS, SECRET, as_lines, facts, records

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with keys and a signed bag."""
    monkeypatch.chdir(tmp_path)
    generate(Path("keys"))
    signer = load_signer(f"keys/{PRIVATE_KEY}")
    write_bag(Path("bag"), as_lines(records()), run=facts(), documents=DOCUMENTS, signer=signer, secret=SECRET)


def test_a_proof_is_written_and_verified(capsys: Captured) -> None:
    assert main(["prove", "bag", "link", "a/y", "-o", "proof.json"]) == 0
    captured = capsys.readouterr()
    fingerprint = load_signer(f"keys/{PRIVATE_KEY}").public_key.fingerprint
    size = Path("proof.json").stat().st_size
    assert (captured.out, captured.err) == (
        f"record  link a/y, line 10 of 11\nproof   proof.json ({size:,} bytes)\nbag     signed by {fingerprint}\n",
        "",
    )
    assert main(["verify", "proof.json", "--key", f"keys/{PUBLIC_KEY}"]) == 0
    assert capsys.readouterr().err.endswith("9 verdict                  VERIFIED\n")


def test_a_record_that_is_not_there(capsys: Captured) -> None:
    assert main(["prove", "bag", "row", "gone", "-o", "proof.json"]) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "error: bag: expected a row record with row_id 'gone', got none\n")
    assert not Path("proof.json").exists()


def test_a_file_that_cannot_be_written(capsys: Captured) -> None:
    assert main(["prove", "bag", "step", "a", "-o", "gone/proof.json"]) == 1
    assert capsys.readouterr().err == "error: gone/proof.json: cannot be written: No such file or directory\n"
    assert main(["prove", "bag", "step", "a", "-o", "keys"]) == 1
    assert capsys.readouterr().err == "error: keys: cannot be written: Is a directory\n"
    assert not Path("keys.partial").exists()


def test_a_proof_is_there_whole_or_not_at_all(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["prove", "bag", "step", "a", "-o", "proof.json"]) == 0
    before = Path("proof.json").read_bytes()

    def disk_full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    assert main(["prove", "bag", "step", "b", "-o", "proof.json"]) == 1
    assert capsys.readouterr().err == "error: proof.json: cannot be written: No space left on device\n"
    assert Path("proof.json").read_bytes() == before
    assert sorted(path.name for path in Path().iterdir()) == ["bag", "keys", "proof.json"]
