"""`elspeth prove` writes proofs that can be verified."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.evidence.format.signatures import PRIVATE_KEY, PUBLIC_KEY, generate_keys, load_signer
from elspeth.evidence.writer.bag import write_bag
from tests.evidence.bags import DOCUMENTS, SECRET, records, run_facts, to_lines

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to a directory with keys and a signed bag."""
    monkeypatch.chdir(tmp_path)
    generate_keys(Path("keys"))
    signer = load_signer(f"keys/{PRIVATE_KEY}")
    write_bag(Path("bag"), [to_lines(records())], facts=run_facts(), documents=DOCUMENTS, signer=signer, secret=SECRET)


def test_a_proof_is_written_and_verified(capsys: Captured) -> None:
    assert main(["prove", "bag", "link", "a/y", "-o", "proof.json"]) == 0
    captured = capsys.readouterr()
    fingerprint = load_signer(f"keys/{PRIVATE_KEY}").public_key.fingerprint
    size = Path("proof.json").stat().st_size
    assert (captured.out, captured.err) == (
        f"record  link a/y, line 10 of 13\nproof   proof.json ({size:,} bytes)\nbag     signed by {fingerprint}\n",
        "",
    )
    assert main(["verify", "proof.json", "--key", f"keys/{PUBLIC_KEY}"]) == 0
    assert capsys.readouterr().err.endswith("11 verdict                 VERIFIED\n")


def test_a_proof_of_a_record_without_a_salt_gives_a_warning(capsys: Captured) -> None:
    signer = load_signer(f"keys/{PRIVATE_KEY}")
    write_bag(Path("plain"), [to_lines(records())], facts=run_facts(), documents=DOCUMENTS, signer=signer, secret=None)
    assert main(["prove", "plain", "link", "a/y", "-o", "proof.json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == (
        "warning: the records of this bag have no salts:"
        " anyone with the proof can test guesses about neighbouring records\n"
    )


def test_a_missing_record_is_reported(capsys: Captured) -> None:
    assert main(["prove", "bag", "row", "gone", "-o", "proof.json"]) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (
        "",
        "error: bag: expected a record of type row with row_id 'gone', got none\n",
    )
    assert not Path("proof.json").exists()


def test_a_file_that_cannot_be_written_is_named(capsys: Captured) -> None:
    Path("file").write_bytes(b"content")
    assert main(["prove", "bag", "step", "a", "-o", "file/proof.json"]) == 1
    problem = f"its directory cannot be made: {Path('file').absolute()} is a file"
    assert capsys.readouterr().err == f"error: file/proof.json: {problem}\n"
    assert main(["prove", "bag", "step", "a", "-o", "keys"]) == 1
    assert capsys.readouterr().err == "error: keys: expected the path of a file, got that of a directory\n"


def test_an_output_that_must_stay_is_refused_before_the_bag_is_read(capsys: Captured) -> None:
    Path("mine").write_bytes(b"content")
    assert main(["prove", "gone", "step", "a", "-o", "mine"]) == 1
    assert capsys.readouterr().err.startswith("error: mine: is not a proof, ")


def test_a_proof_is_written_completely_or_not_at_all(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["prove", "bag", "step", "a", "-o", "proof.json"]) == 0
    before = Path("proof.json").read_bytes()

    def disk_full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    assert main(["prove", "bag", "step", "b", "-o", "proof.json"]) == 1
    assert capsys.readouterr().err == "error: proof.json: cannot be written: No space left on device\n"
    assert Path("proof.json").read_bytes() == before
    assert sorted(path.name for path in Path().iterdir()) == ["bag", "keys", "proof.json"]


@pytest.mark.parametrize("more", [(), ("--force",)])
@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("bag/proof.json", "is the bag that is read, which no output may touch: name another path"),
        ("bag/data/records.jsonl", "is the bag that is read, which no output may touch: name another path"),
        ("link/proof.json", "is the bag that is read, which no output may touch: name another path"),
        ("other/proof.json", "lies in the bag {here}/other, to which nothing may be added: name another path"),
        (".env", "is the file .env of secrets, which no output may touch: name another path"),
    ],
)
def test_a_proof_is_not_written_into_a_bag(capsys: Captured, path: str, problem: str, more: tuple[str, ...]) -> None:
    Path("link").symlink_to("bag")
    shutil.copytree("bag", "other")
    Path(".env").write_text("SECRET=1\n")
    before = {path: path.read_bytes() for path in Path("bag").rglob("*") if path.is_file()}
    assert main(["prove", "bag", "step", "a", "-o", path, *more]) == 1
    assert capsys.readouterr().err == f"error: {path}: {problem.format(here=Path.cwd())}\n"
    assert {path: path.read_bytes() for path in Path("bag").rglob("*") if path.is_file()} == before


def test_a_proof_replaces_a_proof_and_other_files_only_by_force(capsys: Captured) -> None:
    Path("proof.json").write_text("mine")
    command = ["prove", "bag", "step", "a", "-o", "proof.json"]
    assert main(command) == 1
    problem = "is not a proof, which a new one may replace: name another file, or use --force"
    assert capsys.readouterr().err == f"error: proof.json: {problem}\n"
    assert Path("proof.json").read_text() == "mine"
    assert [main([*command, "--force"]), main(command)] == [0, 0]


def test_a_proof_cannot_be_written_to_a_directory(capsys: Captured) -> None:
    assert main(["prove", "bag", "step", "a", "-o", "new/"]) == 2
    assert capsys.readouterr() == (
        "",
        "error: -o new/: names a directory, and a proof is a file: leave the slash out\n",
    )
    assert not Path("new").exists()


def test_a_proof_goes_to_standard_output(capsys: Captured) -> None:
    assert main(["prove", "bag", "step", "a", "-o", "proof.json"]) == 0
    expected = Path("proof.json").read_bytes()
    capsys.readouterr()
    assert main(["prove", "bag", "step", "a", "-o", "-"]) == 0
    captured = capsys.readouterr()
    assert captured.out.encode() == expected
    assert f"proof   standard output ({len(expected):,} bytes)\n" in captured.err
    assert main(["prove", "bag", "link", "a/y", "-o", "-", "--json"]) == 0
    captured = capsys.readouterr()
    fingerprint = load_signer(f"keys/{PRIVATE_KEY}").public_key.fingerprint
    assert json.loads(captured.err) == {
        "record_type": "link",
        "identity": "a/y",
        "line": 10,
        "records": 13,
        "path": "-",
        "bytes": len(captured.out.encode()),
        "signed_by": fingerprint,
        "salted": True,
    }


def test_standard_output_may_be_a_text_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["prove", "bag", "step", "a", "-o", "proof.json"]) == 0
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["prove", "bag", "step", "a", "-o", "-"]) == 0
    assert stream.getvalue().encode() == Path("proof.json").read_bytes()
