"""VERIFY.txt: how to check this very bag with common tools, for those who do not trust our program."""

from __future__ import annotations

from elspeth.evidence.dsse import pae
from elspeth.evidence.keys import KeyType, PublicKey
from elspeth.evidence.layout import ENVELOPE, RECORDS, STATEMENT
from elspeth.evidence.statement import PAYLOAD_TYPE, RunFacts

__all__ = ["instructions_text"]

_FILES = """\
Every file is as the manifests list it. On macOS, `shasum -a 256 -c` stands for `sha256sum -c`.

    sha256sum -c manifest-sha256.txt
    sha256sum -c tagmanifest-sha256.txt
"""

_SUBJECTS = """\
The files are those that the statement names, by their SHA-256.

    grep -o '"sha256":"[0-9a-f]*"}},"name":"[^"]*"' {statement} > /tmp/bag.subjects
    sed 's/"sha256":"\\([0-9a-f]*\\)"}},"name":"\\(.*\\)"/\\1  \\2/' /tmp/bag.subjects | sha256sum -c
"""

_SIGNATURE = """\
The statement is signed. PUBLIC.pem is the public key of whoever made the bag; get it from them, never with the bag.
Its fingerprint, which the first command prints, must be
{fingerprint}

    openssl pkey -pubin -in PUBLIC.pem -outform DER | sha256sum
    sed 's/.*"payload":"\\([^"]*\\)".*/\\1/' {envelope} | base64 -d > /tmp/bag.statement
    sed 's/.*"sig":"\\([^"]*\\)".*/\\1/' {envelope} | base64 -d > /tmp/bag.sig
    printf '{prefix}%d ' "$(wc -c < /tmp/bag.statement)" > /tmp/bag.pae
    cat /tmp/bag.statement >> /tmp/bag.pae
    {openssl}
"""

_OPENSSL = {
    KeyType.ECDSA: "openssl dgst -sha256 -verify PUBLIC.pem -signature /tmp/bag.sig /tmp/bag.pae",
    KeyType.ED25519: "openssl pkeyutl -verify -pubin -inkey PUBLIC.pem -rawin -in /tmp/bag.pae -sigfile /tmp/bag.sig",
}

_UNSIGNED = """\
This bag is UNSIGNED. That its files fit together shows that they are not damaged; anybody could have made it so. An
export without an envelope is incomplete by definition.
"""

_REST = """\
These commands show that the bag is what the holder of the key sealed. They do not show that what was sealed is right or
consistent; `elspeth verify` checks, too, that every record is valid and in order, that none that another refers to is
missing, and that {records} has the Merkle root that the statement gives. A signature cannot show that the holder of the
key recorded the truth.

Read this file with care: it is part of what you check. The same commands are in the documentation of elspeth.
"""


def instructions_text(run: RunFacts, key: PublicKey | None) -> bytes:
    """The text for a bag about the run, signed by the key or not at all. Run the commands inside the bag."""
    title = f"How to check this bag, the audit trail of run {ascii(run.run_id)[1:-1]}, with common tools.\n"
    signature, statement = _UNSIGNED, STATEMENT
    if key is not None:
        prefix = pae(PAYLOAD_TYPE, b"").removesuffix(b"0 ").decode()
        signature, statement = _SIGNATURE, "/tmp/bag.statement"  # noqa: S108 - a command for readers
        signature = signature.format(
            fingerprint=key.fingerprint, envelope=ENVELOPE, prefix=prefix, openssl=_OPENSSL[key.type]
        )
    parts = [title, _FILES, signature, _SUBJECTS.format(statement=statement), _REST.format(records=RECORDS)]
    return "\n".join(parts).encode()
