"""`elspeth keys generate` writes a pair and never overwrites one."""

from __future__ import annotations

from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.evidence.format.signatures import KeyType, load_public_key
from tests.fixtures.full_disk import largest_file

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to an empty directory."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("arguments", "key_type"), [((), KeyType.ECDSA), (("--type", "ed25519"), KeyType.ED25519)])
def test_a_pair_is_written(capsys: Captured, arguments: tuple[str, ...], key_type: KeyType) -> None:
    assert main(["keys", "generate", "-o", "keys", *arguments]) == 0
    public = load_public_key(Path("keys/elspeth.pub.pem"))
    assert public.type is key_type
    assert capsys.readouterr().out == (
        "private key  keys/elspeth.key.pem (keep it secret)\n"
        "public key   keys/elspeth.pub.pem (give it to those who verify)\n"
        f"fingerprint  {public.fingerprint}\n"
    )


def test_a_key_is_never_overwritten(capsys: Captured) -> None:
    assert main(["keys", "generate", "-o", "keys"]) == 0
    key = Path("keys/elspeth.key.pem").read_bytes()
    capsys.readouterr()
    assert main(["keys", "generate", "-o", "keys"]) == 1
    problem = "exists already, and a key is never overwritten: name another directory"
    assert capsys.readouterr().err == f"error: keys/elspeth.key.pem: {problem}\n"
    assert Path("keys/elspeth.key.pem").read_bytes() == key


def test_a_full_disk_leaves_no_key(capsys: Captured) -> None:
    with largest_file(100):
        assert main(["keys", "generate", "-o", "keys"]) == 1
    assert capsys.readouterr().err == "error: keys/elspeth.pub.pem: File too large\n"
    assert list(Path("keys").iterdir()) == []


def test_an_unknown_key_type_is_a_usage_error(capsys: Captured) -> None:
    assert main(["keys", "generate", "-o", "keys", "--type", "rsa"]) == 2
    assert "'rsa' is not one of 'ecdsa', 'ed25519'" in capsys.readouterr().err
    assert not Path("keys").exists()
