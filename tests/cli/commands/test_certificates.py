"""Commands and settings that sign with a certificate."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.evidence.format import bag
from tests.evidence.pki import CERTIFIES, DAY, NOW, authority, make_root, pem, write

Captured = pytest.CaptureFixture[str]

SETTINGS = """
datasource: {plugin: "null"}
output_sink: out
sinks: {out: {plugin: "null"}}
landscape:
  url: "sqlite:///audit.db"
  export: {enabled: true, path: bag, format: bag, sign: true, key: leaf.key, certificate: chain.pem}
"""
RUN = ("run", "-s", "settings.yaml", "--execute", "--no-dotenv")

ROOT = make_root()
MIDDLE = ROOT.issue("Issuer", (authority(0), CERTIFIES))
LEAF = MIDDLE.issue("Audit")


@pytest.fixture(autouse=True)
def project(own_directory: Path) -> None:
    """Write settings, and the files of a PKI."""
    (own_directory / "settings.yaml").write_text(SETTINGS)
    write(own_directory / "leaf.key", LEAF.private_pem)
    write(own_directory / "chain.pem", pem(LEAF, MIDDLE))
    write(own_directory / "ROOT.pem", pem(ROOT))


def test_settings_can_name_a_certificate(capsys: Captured) -> None:
    assert main([*RUN]) == 0
    assert Path("bag", bag.CERTIFICATES).read_bytes() == pem(LEAF, MIDDLE)
    capsys.readouterr()
    assert main(["verify", "bag", "--ca", "ROOT.pem", "--json"]) == 0
    said = capsys.readouterr()
    certificate = json.loads(said.out)["certificate"]
    assert certificate["subject"] == "CN=Audit,O=Example"
    assert certificate["issuer"] == "CN=Issuer,O=Example"
    serial = LEAF.certificate.serial_number
    assert certificate["serial"] == serial.to_bytes((serial.bit_length() + 7) // 8).hex()
    assert "by the certificate of CN=Audit,O=Example, issued by CN=Issuer,O=Example" in said.err
    assert main(["verify", "bag", "--ca", "chain.pem", "--subject", "CN=Audit,O=Example"]) == 0
    assert main(["verify", "bag", "--ca", "ROOT.pem", "--subject", "CN=Ann,O=Example"]) == 1
    assert "expected the certificate of 'CN=Ann,O=Example'" in capsys.readouterr().err


def test_the_key_of_a_certificate_can_be_used_as_a_key(capsys: Captured) -> None:
    Path("settings.yaml").write_text(f"{SETTINGS}  seal: {{key: leaf.key}}\n")
    assert main([*RUN]) == 0
    assert main(["landscape", "check", "-d", "audit.db", "--key", "chain.pem"]) == 0
    assert main(["verify", "bag", "--key", "chain.pem"]) == 0
    assert "which was not checked, as no root was given" in capsys.readouterr().err
    assert main(["verify", "bag", "--key", "ROOT.pem"]) == 1


def test_a_run_with_an_unusable_certificate_does_not_start(capsys: Captured) -> None:
    write(Path("chain.pem"), pem(MIDDLE.issue("Audit", key=LEAF.key, ends=NOW - DAY / 2), MIDDLE))
    assert main([*RUN]) == 2
    assert "landscape.export.certificate: chain.pem: expected a certificate valid at" in capsys.readouterr().err
    assert not Path("audit.db").exists()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("sign: true, key: leaf.key, ", "", "landscape.export.certificate: is of a private key that signs"),
        ("format: bag, sign: true, ", "format: jsonl, ", "export.certificate: expected with format: bag only"),
    ],
)
def test_a_certificate_needs_a_bag_and_a_key(old: str, new: str, problem: str, capsys: Captured) -> None:
    Path("settings.yaml").write_text(SETTINGS.replace(old, new))
    assert main([*RUN]) == 2
    assert problem in capsys.readouterr().err


def test_commands_sign_with_a_certificate(capsys: Captured) -> None:
    Path("settings.yaml").write_text(SETTINGS[: SETTINGS.index("  export:")])
    assert main([*RUN]) == 0
    signed = ("--key", "leaf.key", "--certificate", "chain.pem")
    assert main(["export", "latest", "-d", "audit.db", "-o", "made.zip", *signed]) == 0
    assert main(["verify", "made.zip", "--ca", "ROOT.pem"]) == 0
    assert main(["export", "--as-found", "audit.db", "--format", "bag", "-o", "found", *signed]) == 0
    assert main(["verify", "found", "--ca", "ROOT.pem"]) == 0
    assert main(["prove", "found", "row", "main/runs/1", "-o", "proof.json"]) == 0
    assert main(["verify", "proof.json", "--ca", "ROOT.pem"]) == 0
    capsys.readouterr()
    certificate = Path("chain.pem").read_bytes()
    for path in ("chain.pem", "leaf.key"):
        assert main(["export", "latest", "-d", "audit.db", "-o", path, "--format", "bag", *signed, "--force"]) == 1
        assert capsys.readouterr().err == (f"error: {path}: is a key, which no output may touch: name another path\n")
    assert Path("chain.pem").read_bytes() == certificate
    old = ("landscape", "prune", "--before", "2999-01-01", "-d", "audit.db", "--archive", "old")
    assert main([*old, "--execute", *signed]) == 0
    (pruned,) = Path("old").iterdir()
    assert main(["verify", str(pruned), "--ca", "ROOT.pem"]) == 0
    capsys.readouterr()
    assert main([*old, "--certificate", "chain.pem"]) == 2
    assert "--certificate: only with --key: it says whose that key is" in capsys.readouterr().err


def test_options_that_do_not_fit_are_usage_errors(capsys: Captured) -> None:
    export = ("export", "latest", "-d", "audit.db", "-o", "trail.jsonl", "--certificate", "chain.pem")
    assert main([*RUN]) == 0
    assert main(["export", "latest", "-d", "audit.db", "-o", "trail.jsonl"]) == 0
    for arguments, problem in (
        (export, "--certificate: only with --format bag"),
        (("verify", "bag", "--subject", "CN=Audit"), "--subject: only with --ca"),
        (("verify", "trail.jsonl", "--ca", "ROOT.pem"), "--ca is for bags and proofs: leave it out for an export"),
        (("verify", "bag", "--ca", "leaf.key"), "leaf.key: expected certificates in PEM"),
        (("verify", "bag", "--ca", "missing"), "missing: cannot be read: No such file"),
    ):
        capsys.readouterr()
        assert main([*arguments]) == 2
        assert problem in capsys.readouterr().err


def test_a_report_names_the_certificate_and_does_not_check_it(capsys: Captured) -> None:
    hostile = MIDDLE.issue("<script>alert(1)</script>\u202e", key=LEAF.key)
    write(Path("chain.pem"), pem(hostile, MIDDLE))
    assert main([*RUN]) == 0
    assert main(["report", "bag", "-o", "page.html"]) == 0
    page = Path("page.html").read_text(encoding="utf-8")
    assert "<p>The bag has a certificate of the key that signed it: CN=\\&lt;script\\&gt;alert(1)" in page
    assert "\u202e" not in page
    assert "This page checks no certificates: <code>elspeth verify BAG --ca ROOT.pem</code> does.</p>" in page
    assert main(["report", "latest", "-d", "audit.db", "-o", "page.html"]) == 0
    assert "This page checks no certificates" not in Path("page.html").read_text(encoding="utf-8")
    Path("bag", bag.CERTIFICATES).write_bytes(pem(MIDDLE))
    capsys.readouterr()
    assert main(["report", "bag", "-o", "forged.html"]) == 1
    assert "certificates.pem: expected the SHA-256" in capsys.readouterr().err
    assert not Path("forged.html").exists()


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def test_keys_restricted_to_pss_are_refused(capsys: Captured) -> None:
    openssl("genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "pss.key")
    openssl("pkey", "-in", "pss.key", "-pubout", "-out", "pss.pub")
    openssl("req", "-x509", "-key", "pss.key", "-subj", "/CN=x", "-out", "pss.pem")
    Path("settings.yaml").write_text(SETTINGS[: SETTINGS.index("  export:")])
    assert main([*RUN]) == 0
    export = ("export", "latest", "-d", "audit.db", "--format", "bag", "-o", "bag", "--key")
    for arguments in (
        (*export, "pss.key"),
        (*export, "leaf.key", "--certificate", "pss.pem"),
        ("verify", "bag", "--key", "pss.pub"),
        ("verify", "bag", "--key", "pss.pem"),
    ):
        capsys.readouterr()
        assert main([*arguments]) == 2
        assert f"{arguments[-1]}: expected an RSA key of the common kind (rsaEncryption)" in capsys.readouterr().err
    assert not Path("bag").exists()
