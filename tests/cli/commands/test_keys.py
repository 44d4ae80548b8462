"""`elspeth keys generate` writes a pair and never overwrites one."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
)

from elspeth.cli import main
from elspeth.evidence.format.signatures import KeyType, load_public_key
from tests.fixtures.full_disk import largest_file

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to an empty directory."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "key_type"), [((), KeyType.ECDSA), *((("--type", each.value), each) for each in KeyType)]
)
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
    assert "'rsa' is not one of 'ecdsa', 'ecdsa-p384', 'ed25519', 'rsa-pss'" in capsys.readouterr().err
    assert not Path("keys").exists()


# -- encrypted keys --------------------------------------------------------------------------------------------------


@pytest.fixture
def encrypted(own_directory: Path) -> Path:
    """Record a run beside an encrypted key."""
    text = SETTINGS[: SETTINGS.index("  seal:")].replace("runs.db", "audit.db")
    Path("settings.yaml").write_text(text)
    assert main(["run", "-s", "settings.yaml", "--execute", "--no-dotenv"]) == 0
    key = ec.generate_private_key(ec.SECP384R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame"))
    (own_directory / "key.pem").write_bytes(pem)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (own_directory / "pub.pem").write_bytes(public)
    return own_directory / "key.pem"


EXPORT = ("export", "latest", "-d", "audit.db", "--format", "bag", "-o", "bag", "--key", "key.pem")


@pytest.mark.usefixtures("encrypted")
def test_an_encrypted_key_is_opened_with_the_phrase_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    assert main([*EXPORT]) == 2
    assert "key.pem: is encrypted: set ELSPETH_KEY_PASSPHRASE to its pass phrase" in capsys.readouterr().err
    monkeypatch.setenv("ELSPETH_KEY_PASSPHRASE", "another")
    assert main([*EXPORT]) == 2
    assert "key.pem: cannot be decrypted: the pass phrase is not the key's" in capsys.readouterr().err
    assert not Path("bag").exists()
    monkeypatch.setenv("ELSPETH_KEY_PASSPHRASE", "open sesame")
    assert main([*EXPORT]) == 0
    assert main(["verify", "bag", "--key", "pub.pem"]) == 0
    assert "open sesame" not in "".join(map(str, capsys.readouterr()))


@pytest.mark.usefixtures("encrypted")
def test_the_phrase_is_requested_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(prompt: str, stream: object) -> str:
        assert stream is sys.stderr
        asked.append(prompt)
        return "open sesame"

    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("getpass.getpass", answer)
    assert main([*EXPORT]) == 0
    assert asked == ["pass phrase of key.pem: "]


SETTINGS = """
datasource: {plugin: "null"}
output_sink: out
sinks: {out: {plugin: "null"}}
landscape:
  url: "sqlite:///runs.db"
  seal: {key: key.pem, passphrase_env: SEAL_PHRASE}
  export: {enabled: true, path: bag, format: bag, key: key.pem}
"""


@pytest.mark.usefixtures("encrypted")
def test_settings_can_name_the_variable_of_a_phrase(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    Path("settings.yaml").write_text(SETTINGS)
    run = ["run", "-s", "settings.yaml", "--execute", "--no-dotenv"]
    assert main(run) == 2
    said = capsys.readouterr().err
    assert "landscape.seal.key: key.pem: is encrypted: set SEAL_PHRASE to its pass phrase" in said
    assert "landscape.export.key: key.pem: is encrypted: set ELSPETH_KEY_PASSPHRASE to its pass phrase" in said
    assert not Path("runs.db").exists()
    for name in ("SEAL_PHRASE", "ELSPETH_KEY_PASSPHRASE"):
        monkeypatch.setenv(name, "open sesame")
    assert main(run) == 0
    assert main(["verify", "bag", "--key", "pub.pem"]) == 0
    assert main(["landscape", "check", "-d", "runs.db", "--key", "pub.pem"]) == 0
    assert b"open sesame" not in Path("runs.db").read_bytes()
