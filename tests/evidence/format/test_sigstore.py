"""Another program reads and verifies our checkpoints."""

from __future__ import annotations

import base64
import importlib
import os

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from elspeth.evidence.format.checkpoints import Checkpoint
from elspeth.evidence.format.merkle import leaf_hashes, tree_root
from elspeth.evidence.format.notes import NoteKeyType
from tests.evidence.format.test_notes import signer_of

LOG_KEY = Ed25519PrivateKey.from_private_bytes(b"\3" * 32)
LOG = signer_of(LOG_KEY, "elspeth.local/58d1")
WITNESS = signer_of(Ed25519PrivateKey.from_private_bytes(b"\4" * 32), "witness.example")

# The package has no public way to read a checkpoint; its version is locked.
load = importlib.import_module if "CI" in os.environ else pytest.importorskip
rekor = load("sigstore._internal.rekor.checkpoint")
trust = load("sigstore._internal.trust")
models = load("sigstore_models.common.v1")
errors = load("sigstore.errors")


def cosigned(text: bytes) -> str:
    note = LOG.sign(text)
    return note.with_signatures([WITNESS.cosign(text, 1_800_000_000)]).to_bytes().decode()


@pytest.mark.parametrize("size", [0, 1, 5])
def test_sigstore_reads_and_verifies_a_cosigned_checkpoint(size: int) -> None:
    root = tree_root(leaf_hashes([b"%d" % number for number in range(size)]))
    text = Checkpoint(origin=LOG.name, size=size, root=root).text
    found = rekor.SignedCheckpoint.from_text(cosigned(text))
    read = found.checkpoint
    assert (read.origin, read.log_size, read.log_hash, read.other_content) == (LOG.name, size, root.hex(), [])
    keys = [LOG.verifier_key(NoteKeyType.ED25519), WITNESS.verifier_key(NoteKeyType.COSIGNATURE)]
    signatures = [(each.name, each.sig_hash) for each in found.signed_note.signatures]
    assert signatures == [(key.name, key.key_id) for key in keys]
    der = LOG_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    public = models.PublicKey(
        raw_bytes=base64.b64encode(der), key_details=models.PublicKeyDetails.PKIX_ED25519, valid_for=None
    )
    keyring = trust.Keyring([public])
    found.signed_note.verify(keyring, keys[0].key_id)
    altered = rekor.SignedCheckpoint.from_text(cosigned(text).replace(f"\n{size}\n", f"\n{size + 1}\n", 1))
    with pytest.raises(errors.VerificationError, match="invalid signature"):
        altered.signed_note.verify(keyring, keys[0].key_id)
