"""VERIFY.txt and the documentation have the same working commands."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from elspeth.evidence.format import bag
from elspeth.evidence.format.bag import RunFacts
from elspeth.evidence.format.canonical import canonical
from elspeth.evidence.format.certificates import certify
from elspeth.evidence.format.found import DatabaseFacts
from elspeth.evidence.format.signatures import PRIVATE_KEY, KeyType, Signer, generate_keys, load_signer
from elspeth.evidence.format.timestamp import load_authorities
from elspeth.evidence.verifier.certificates import CertifiedBy
from elspeth.evidence.verifier.procedure import Verdict
from elspeth.evidence.verifier.verify import verify_files
from elspeth.evidence.writer._instructions import (
    commands_for_certificates,
    commands_for_files,
    commands_for_root,
    commands_for_signature,
    commands_for_subjects,
    instructions_text,
)
from elspeth.evidence.writer.bag import write_bag
from tests.evidence.bags import (
    DOCUMENTS,
    SECRET,
    MemoryFiles,
    make_bag,
    read_bag,
    records,
    reseal,
    rewrite_manifests,
    run_facts,
    to_lines,
)

Files = dict[str, bytes]
Completed = subprocess.CompletedProcess[str]

DOCUMENTATION = (Path(__file__).parents[3] / "docs" / "evidence.md").read_text()
COMMON_TOOLS = DOCUMENTATION[DOCUMENTATION.index("## With common tools") : DOCUMENTATION.index("## What is refused")]


def documented(key_type: KeyType) -> list[str]:
    """Return the documented commands for a type of key."""
    shown = "".join(re.findall(r"^```console\n(.*?)^```", COMMON_TOOLS, flags=re.MULTILINE | re.DOTALL))
    *commands, for_ed25519, for_p384, for_rsa = [line.removeprefix("$ ") for line in shown.splitlines()]
    others = {KeyType.ED25519: for_ed25519, KeyType.ECDSA_P384: for_p384, KeyType.RSA_PSS: for_rsa}
    return [others.get(key_type, each) if each.startswith("openssl dgst") else each for each in commands]


def written_in(files: Files) -> list[str]:
    """Return the indented lines of VERIFY.txt."""
    return re.findall(r"^    (.+)$", files[bag.INSTRUCTIONS].decode(), flags=re.MULTILINE)


@pytest.mark.parametrize("key_type", list(KeyType))
def test_the_documentation_shows_the_commands(key_type: KeyType) -> None:
    parts = [commands_for_files(), commands_for_signature(key_type), commands_for_subjects(), commands_for_root()]
    assert documented(key_type) == ["work=$(mktemp -d)", *(each for part in parts for each in part), 'rm -r "$work"']


def test_a_bag_contains_the_commands(any_signer: Signer, tmp_path: Path) -> None:
    files = make_bag(tmp_path, to_lines(records()), any_signer)
    assert written_in(files) == documented(any_signer.public_key.type)


def run(commands: list[str], files: Files, directory: Path, signer: Signer | None = None) -> Completed:
    """Run commands in a bag, until one fails."""
    top = directory / "the bag"
    for name, content in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)
    if signer is not None:
        (directory / "PUBLIC.pem").write_bytes(signer.public_key.pem)
    script = "\n".join(commands).replace("/path/to/PUBLIC.pem", "../PUBLIC.pem")
    return subprocess.run(["sh", "-e"], check=False, capture_output=True, text=True, cwd=top, input=script)


def test_common_tools_verify_a_signed_bag(any_signer: Signer, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    files = make_bag(tmp_path / "made", to_lines(records()), any_signer)
    done = run(documented(any_signer.public_key.type), files, tmp_path, any_signer)
    assert (done.returncode, done.stderr.replace("Signature Verified Successfully\n", "")) == (0, "")
    lines = done.stdout.splitlines()
    assert f"{any_signer.public_key.fingerprint}  -" in lines
    assert any("Verified" in line for line in lines)
    subjects = [name for name in sorted(files) if name.startswith(("data/", "VERIFY", "bag-info"))]
    last = [*(f"{name}: OK" for name in subjects), '"complete":true', "Merkle root: OK"]
    assert lines[-len(last) :] == last


def test_common_tools_verify_the_files_of_an_unsigned_bag(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    files = make_bag(tmp_path / "made", to_lines(records()))
    assert run(written_in(files), files, tmp_path).returncode == 0
    assert b"This bag is UNSIGNED." in files[bag.INSTRUCTIONS]


@pytest.mark.parametrize(
    ("facts", "subject", "checked"),
    [
        (
            run_facts("r\n    rm -r *\u202e"),
            r"the audit trail of run r\n    rm -r *\u202e",
            "that no record is missing to which\nanother refers",
        ),
        (
            DatabaseFacts(name="x\n.db", engine="sqlite", read_at="2026"),
            r"the sqlite database 'x\n.db' as found at 2026",
            "that rows are\nnumbered, and that every value is of the form of its column",
        ),
    ],
)
def test_the_instructions_name_the_content_of_the_bag_on_one_line(
    facts: RunFacts | DatabaseFacts, subject: str, checked: str
) -> None:
    text = instructions_text(facts, None).decode()
    assert text.startswith(f"How to check this bag, {subject}, with common tools.\n")
    assert f"every record is valid and in order, {checked}." in text


def test_a_time_stamp_is_not_a_file_too_many(signed: Files, signer: Signer, tmp_path: Path) -> None:
    assert run(documented(KeyType.ECDSA), {**signed, bag.TIMESTAMP: b"stamp"}, tmp_path, signer).returncode == 0


def cut(files: Files) -> Files:
    """Return a bag without its last three records."""
    return {**files, bag.RECORDS: b"".join(files[bag.RECORDS].splitlines(keepends=True)[:-3])}


def without(files: Files, *names: str) -> Files:
    return {name: content for name, content in files.items() if name not in names}


TAMPERED: dict[str, Callable[[Files], Files]] = {
    "records cut": cut,
    "records cut, manifests rewritten": lambda files: rewrite_manifests(cut(files)),
    "another VERIFY.txt": lambda files: rewrite_manifests({**files, bag.INSTRUCTIONS: b"Believe me."}),
    "a file more": lambda files: {**files, "data/more.txt": b""},
    "a hidden file more": lambda files: {**files, "data/.more": b""},
    "a file more that is listed": lambda files: rewrite_manifests({**files, "data/more.txt": b""}),
    "a tag file more that is listed": lambda files: rewrite_manifests({**files, "more.txt": b""}),
    "an unsigned statement beside": lambda files: rewrite_manifests({**files, bag.STATEMENT: b"{}"}),
    "a stamp in another place": lambda files: {**files, f"data/{bag.TIMESTAMP}": b""},
    "a file less": lambda files: without(files, bag.SALTS),
    "a file less that is not listed": lambda files: rewrite_manifests(without(files, bag.SALTS)),
    "another envelope": lambda files: {**files, bag.ENVELOPE: files[bag.ENVELOPE] + b" "},
}


@pytest.mark.parametrize("case", TAMPERED)
def test_common_tools_find_alterations(case: str, signed: Files, signer: Signer, tmp_path: Path) -> None:
    assert run(documented(KeyType.ECDSA), TAMPERED[case](signed), tmp_path, signer).returncode != 0


def test_common_tools_find_a_link(signed: Files, signer: Signer, tmp_path: Path) -> None:
    top = tmp_path / "the bag"
    top.mkdir()
    (top / "link").symlink_to(tmp_path)
    assert run(documented(KeyType.ECDSA), signed, tmp_path, signer).returncode != 0


def test_common_tools_find_another_signer(signed: Files, signer: Signer, tmp_path: Path) -> None:
    generate_keys(tmp_path / "other")
    other = load_signer(str(tmp_path / "other" / PRIVATE_KEY))
    files = reseal(signed, other)
    assert run(documented(KeyType.ECDSA), files, tmp_path, signer).returncode != 0
    assert run(documented(KeyType.ECDSA), files, tmp_path, other).returncode == 0


def test_common_tools_find_an_incomplete_export(signed: Files, signer: Signer, tmp_path: Path) -> None:
    files = reseal(signed, signer, facts=run_facts(complete=False))
    assert run(documented(KeyType.ECDSA), files, tmp_path, signer).returncode != 0


def test_the_schema_is_compared_as_documented(tmp_path: Path) -> None:
    command = next(line[2:] for line in DOCUMENTATION.splitlines() if line.startswith("$ python3 -c"))
    schema = (Path(__file__).parents[3] / "generated/elspeth_schema/export.schema.json").read_text()
    (tmp_path / "export.schema.json").write_text(schema)
    done = subprocess.run(["sh", "-ec", command], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split()[0] == hashlib.sha256(canonical(json.loads(schema))).hexdigest()


@pytest.mark.parametrize("secret", [SECRET, None])
@pytest.mark.parametrize("count", [1, 2, 1023, 1024, 1025, 3075])
def test_the_program_derives_the_root_of_a_bag_of_any_size(tmp_path: Path, count: int, secret: str | None) -> None:
    (tmp_path / "made").mkdir()
    lines = [b'{"number":%d,"record_type":"thing"}' % number for number in range(count)]
    files = make_bag(tmp_path / "made", lines, secret=secret)
    commands = ["work=../made", f'cp {bag.STATEMENT} "$work/statement"', *commands_for_root()]
    assert run(commands, files, tmp_path).stdout == "Merkle root: OK\n"
    altered = {**files, bag.RECORDS: files[bag.RECORDS].replace(b"thing", b"think", 1)}
    assert run(commands, altered, tmp_path).stderr == "the lines are not those that were sealed\n"


# -- certificates ----------------------------------------------------------------------------------------------------

OPENSSL_CA = """
name() { printf '/O=Example Ltd/CN=%s' "$1"; }
openssl ecparam -name prime256v1 -genkey -noout -out root.key
openssl req -x509 -new -key root.key -days 3650 -subj "$(name 'Example Root')" -out ROOT.pem
openssl ecparam -name secp384r1 -genkey -noout -out middle.key
openssl req -new -key middle.key -subj "$(name 'Example Issuing')" -out middle.csr
printf 'basicConstraints=critical,CA:true,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n' > middle.ext
printf 'subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' >> middle.ext
openssl x509 -req -in middle.csr -CA ROOT.pem -CAkey root.key -CAcreateserial -days 99 -extfile middle.ext > middle.pem
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out leaf.key
openssl req -new -key leaf.key -subj "$(name 'Internal Audit')" -out leaf.csr
printf 'keyUsage=critical,digitalSignature\nextendedKeyUsage=emailProtection\n' > leaf.ext
printf 'subjectAltName=email:audit@example.org\nauthorityKeyIdentifier=keyid\n' >> leaf.ext
openssl x509 -req -in leaf.csr -CA middle.pem -CAkey middle.key -CAcreateserial -days 90 -extfile leaf.ext -out leaf.pem
cat leaf.pem middle.pem > chain.pem
"""


@pytest.fixture(scope="module")
def openssl_ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a root, an authority and a leaf with `openssl`."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    directory = tmp_path_factory.mktemp("ca")
    subprocess.run(["sh", "-e"], check=True, cwd=directory, text=True, input=OPENSSL_CA, capture_output=True)
    return directory


def certified_bag(ca: Path, directory: Path) -> Files:
    signer = certify(load_signer(str(ca / "leaf.key")), ca / "chain.pem")
    day = datetime.now(UTC).date()
    lines, facts = to_lines(records()), run_facts()
    write_bag(directory / "made", [lines], facts=facts, documents=DOCUMENTS, signer=signer, secret=SECRET, date=day)
    return read_bag(directory / "made")


def test_openssl_verifies_a_bag_with_certificates(openssl_ca: Path, tmp_path: Path) -> None:
    files = certified_bag(openssl_ca, tmp_path)
    commands = [line.replace("/path/to/ROOT.pem", str(openssl_ca / "ROOT.pem")) for line in written_in(files)]
    assert {*commands_for_certificates()[1:]} <= {*commands}
    done = run(commands, files, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert {"certificates.pem: OK", "subject=O = Example Ltd, CN = Internal Audit", "Verified OK"} <= {*lines}
    roots = load_authorities(openssl_ca / "ROOT.pem")
    ours = verify_files(MemoryFiles(files), certified_by=CertifiedBy(roots=roots))
    assert ours.verdict is Verdict.VERIFIED
    assert ours.certificate is not None
    said = {line.split("=", 1)[0]: line.split("=", 1)[1] for line in lines if "=" in line}
    assert said["serial"].lower() == ours.certificate.serial
    assert said["sha256 Fingerprint"].replace(":", "").lower() == ours.certificate.fingerprint
    # Under another root, or with another chain, the same commands fail.
    other = [line.replace(str(openssl_ca / "ROOT.pem"), str(openssl_ca / "leaf.pem")) for line in commands]
    assert run(other, files, tmp_path).returncode != 0
    swapped = rewrite_manifests({**files, bag.CERTIFICATES: (openssl_ca / "middle.pem").read_bytes()})
    assert run(commands, swapped, tmp_path).returncode != 0


def test_the_documentation_shows_the_commands_for_certificates() -> None:
    section = DOCUMENTATION[DOCUMENTATION.index("## Certificates of a company") :]
    shown = re.findall(r"^```console\n(\$ root=.*?)^```", section, flags=re.MULTILINE | re.DOTALL)[0]
    assert [line.removeprefix("$ ") for line in shown.splitlines()] == commands_for_certificates()
