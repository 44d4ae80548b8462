"""Writes VERIFY.txt: how to check a bag with common tools.

It is for people who do not want to rely on elspeth. docs/evidence.md shows the same commands; a test compares them.
"""

from __future__ import annotations

from elspeth.evidence.format.bag import (
    BAG_INFO,
    BAGIT,
    CERTIFICATES,
    ENVELOPE,
    MANIFEST,
    PAYLOAD_TYPE,
    STATEMENT,
    TAG_MANIFEST,
    TIMESTAMP,
    RunFacts,
)
from elspeth.evidence.format.envelopes import pae
from elspeth.evidence.format.found import DatabaseFacts
from elspeth.evidence.format.signatures import KeyType, Signer

__all__ = [
    "commands_for_certificates",
    "commands_for_files",
    "commands_for_root",
    "commands_for_signature",
    "commands_for_subjects",
    "instructions_text",
]

_OPENSSL = {
    KeyType.ECDSA: 'openssl dgst -sha256 -verify "$key" -signature "$work/signature" "$work/signed"',
    KeyType.ECDSA_P384: 'openssl dgst -sha384 -verify "$key" -signature "$work/signature" "$work/signed"',
    KeyType.RSA_PSS: (
        "openssl dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest"
        ' -verify "$key" -signature "$work/signature" "$work/signed"'
    ),
    KeyType.ED25519: (
        'openssl pkeyutl -verify -pubin -inkey "$key" -rawin -in "$work/signed" -sigfile "$work/signature"'
    ),
}

_PROGRAM = """\
python3 -c 'if True:
    import json, sys
    from hashlib import sha256, shake_256
    tree = json.load(open(sys.argv[1]))["predicate"]["merkle_tree"]
    secret = json.load(open("data/salts.json"))["secret"].encode() if tree["salted"] else b""
    nodes, salts = [], b""
    for number, line in enumerate(open("data/records.jsonl", "rb")):
        block, place = divmod(number, 1024)
        if tree["salted"] and place == 0:
            salts = shake_256(b"elspeth leaf salts\\0" + block.to_bytes(8, "big") + secret).digest(1024 * 32)
        salt = salts[32 * place : 32 * place + 32]
        nodes.append(sha256(b"\\0" + salt + line.rstrip(b"\\n")).digest())
    if b"".join(nodes) != open("data/leaf-hashes.bin", "rb").read():
        sys.exit("the lines are not those that were sealed")
    while len(nodes) > 1:
        pairs = zip(nodes[0::2], nodes[1::2])
        nodes = [sha256(b"\\1" + left + right).digest() for left, right in pairs] + nodes[len(nodes) & ~1 :]
    if nodes[0].hex() != tree["root"]:
        sys.exit("the Merkle root is not that of the statement")
    print("Merkle root: OK")
' "$work/statement"
"""

_START = """\
Run the commands inside the bag, one after another, in one shell. Each must succeed. On macOS, `shasum -a 256 -c`
stands for `sha256sum -c`.

    work=$(mktemp -d)
"""

_FILES = """\
Every file is as the manifests list it, and there are no others.

{commands}
"""

_SIGNATURE = """\
The statement is signed. `key` is the file with the public key of whoever made the bag; get it from them, never with the
bag. Its fingerprint, which `openssl pkey` prints, must be
{fingerprint}

{commands}
"""

_CERTIFIED = """\
The statement is signed by a key that has a certificate. `root` is the file with the root certificates that you trust;
get it from their authority, never with the bag. The certificates must lead to one of them on the day of the signature,
and the first must be that of the signer. `openssl` does not ask whether they were revoked. The fingerprint of the key
must be
{fingerprint}

{commands}
"""

_SUBJECTS = """\
The files are those that the statement names, by their SHA-256, and the statement names them all.

{commands}
"""

_UNSIGNED = """\
This bag is UNSIGNED. That its files fit together shows that they are not damaged; anybody could have made it so. An
export without an envelope is incomplete by definition.

    cp {statement} "$work/statement"
"""

_ROOT = """\
The lines are those whose Merkle root (RFC 9162) the statement gives. This needs Python; it stands for no other check.

{commands}
"""

_REST = """\
    rm -r "$work"

These commands show that the bag is what the holder of the key sealed. They do not show that what was sealed is right or
consistent: `elspeth verify` also checks that every record is valid and in order, {more}.\
 A signature cannot show that the holder of the key recorded the truth.

Read this file with care: it is part of what you check. The same commands are in the documentation of elspeth.
"""

_MORE_OF_RUN = "that no record is missing to which\nanother refers"
_MORE_OF_DATABASE = "that rows are\nnumbered, and that every value is of the form of its column"


def commands_for_files() -> list[str]:
    """Return the commands that compare the files with the manifests."""
    names = f"sed 's/^[0-9a-f]*  //' {MANIFEST} {TAG_MANIFEST}"
    return [
        f"sha256sum -c {MANIFEST}",
        f"sha256sum -c {TAG_MANIFEST}",
        # No manifest lists the time-stamp, because it is made last.
        f"""find . ! -type d ! -path ./{TIMESTAMP} | sed 's|^[.]/||' | LC_ALL=C sort > "$work/found\"""",
        f'({names}; echo {TAG_MANIFEST}) | LC_ALL=C sort | diff - "$work/found"',
    ]


def commands_for_certificates() -> list[str]:
    """Return the commands that check a key's certificates.

    They write the key to the file from which the commands for the signature read it.
    """
    return [
        "root=/path/to/ROOT.pem",
        f"day=$(sed -n 's/^Bagging-Date: //p' {BAG_INFO})",
        'at=$(date -u -d "$day 23:59:59" +%s)',  # the end of the day, on which the certificates may have been issued
        f'openssl verify -attime "$at" -CAfile "$root" -untrusted {CERTIFICATES} {CERTIFICATES}',
        f"openssl x509 -in {CERTIFICATES} -noout -subject -issuer -serial -dates -fingerprint -sha256",
        f'openssl x509 -in {CERTIFICATES} -noout -pubkey > "$work/key.pem"',
        'key="$work/key.pem"',
    ]


def commands_for_signature(key_type: KeyType, *, certified: bool = False) -> list[str]:
    """Return the commands that check the signature of the statement.

    With `certified`, they use the key of the certificates in the bag.
    """
    prefix = pae(PAYLOAD_TYPE, b"").removesuffix(b"0 ").decode()
    return [
        *(commands_for_certificates() if certified else ["key=/path/to/PUBLIC.pem"]),
        'openssl pkey -pubin -in "$key" -outform DER | sha256sum',
        f"""sed 's/.*"payload":"\\([^"]*\\)".*/\\1/' {ENVELOPE} | base64 -d > "$work/statement\"""",
        f"""sed 's/.*"sig":"\\([^"]*\\)".*/\\1/' {ENVELOPE} | base64 -d > "$work/signature\"""",
        f"""printf '{prefix}%d ' "$(wc -c < "$work/statement")" > "$work/signed\"""",
        'cat "$work/statement" >> "$work/signed"',
        _OPENSSL[key_type],
    ]


def commands_for_subjects(statement: str = ENVELOPE) -> list[str]:
    """Return the commands that compare the files with the statement.

    `statement` is the file that holds the statement.
    """
    made_of_others = " ".join(f"-e {name}" for name in (BAGIT, MANIFEST, TAG_MANIFEST, statement))
    return [
        """grep -o '"sha256":"[0-9a-f]*"},"name":"[^"]*"' "$work/statement" > "$work/subjects\"""",
        """sed 's/"sha256":"\\([0-9a-f]*\\)"},"name":"\\(.*\\)"/\\1  \\2/' "$work/subjects" > "$work/sums\"""",
        'sha256sum -c "$work/sums"',
        """sed 's/^[0-9a-f]*  //' "$work/sums" | LC_ALL=C sort > "$work/named\"""",
        f'grep -v -x -F {made_of_others} "$work/found" | diff - "$work/named"',
        """grep -o '"complete":true' "$work/statement\"""",
    ]


def commands_for_root() -> list[str]:
    """Return the lines of a program checking the Merkle root.

    It shares no code with this package.
    """
    return _PROGRAM.splitlines()


def instructions_text(facts: RunFacts | DatabaseFacts, signer: Signer | None) -> bytes:
    """Return the content of VERIFY.txt.

    `signer` is None if the bag is unsigned.
    """
    if isinstance(facts, RunFacts):
        content, more = f"the audit trail of run {ascii(facts.run_id)[1:-1]}", _MORE_OF_RUN
    else:
        content, more = facts.title, _MORE_OF_DATABASE
    title = f"How to check this bag, {content}, with common tools.\n"
    if signer is None:
        signature = _UNSIGNED.format(statement=STATEMENT)
    else:
        key, is_certified = signer.public_key, signer.certificates is not None
        commands = _indented(commands_for_signature(key.type, certified=is_certified))
        text = _CERTIFIED if is_certified else _SIGNATURE
        signature = text.format(fingerprint=key.fingerprint, commands=commands)
    files = _FILES.format(commands=_indented(commands_for_files()))
    subjects = commands_for_subjects(STATEMENT if signer is None else ENVELOPE)
    root = _ROOT.format(commands=_indented(commands_for_root()))
    rest = [_SUBJECTS.format(commands=_indented(subjects)), root, _REST.format(more=more)]
    return "\n".join([title, _START, files, signature, *rest]).encode()


def _indented(commands: list[str]) -> str:
    return "\n".join(f"    {command}" for command in commands)
