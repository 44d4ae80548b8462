"""Policies: the checkpoints that they accept, and malformed ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from elspeth.evidence.format import policy as policies
from elspeth.evidence.format.checkpoints import Checkpoint
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.merkle import tree_root
from elspeth.evidence.format.notes import Note, NoteKeyType
from elspeth.evidence.format.policy import Policy, load_policy
from tests.evidence.format.test_notes import LOG_KEY, WITNESS_KEY, WITNESSED, WITNESSED_AT, signer_of

SIGNERS = [signer_of(Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32), f"w{n}.example") for n in range(6)]
LOG, *WITNESSES = SIGNERS
LOG_VKEY = str(LOG.verifier_key(NoteKeyType.ED25519))
VKEYS = [str(each.verifier_key(NoteKeyType.COSIGNATURE)) for each in WITNESSES]
CHECKPOINT = Checkpoint(origin=LOG.name, size=1, root=tree_root([bytes(32)]))

TWO_LEVELS = f"""\
# The example of the specification, with other names.
log {LOG_VKEY} https://log.example

witness X1 {VKEYS[0]}
witness X2 {VKEYS[1]}\thttps://x2.example
 witness\tX3 {VKEYS[2]} \n\
group X-witnesses 2 X1 X2 X3

witness Y1 {VKEYS[3]}
witness Y2 {VKEYS[4]}
group Y-witnesses any Y1 Y2
group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def policy(text: str) -> Policy:
    return Policy.parse(text.encode(), "policy")


def cosigned(*numbers: int) -> Note:
    note = LOG.sign(CHECKPOINT.text)
    return note.with_signatures(WITNESSES[number].cosign(CHECKPOINT.text, 1000 + number) for number in numbers)


def test_a_public_checkpoint_is_accepted_with_its_witness() -> None:
    found = policy(f"log {LOG_KEY}\nwitness remora {WITNESS_KEY}\nquorum remora\n")
    accepted = found.accept(Note.parse(WITNESSED, "note"), "note")
    assert accepted.checkpoint.size == 1432088532
    assert accepted.cosignatures == {"remora": WITNESSED_AT}


@pytest.mark.parametrize(
    ("numbers", "is_met"),
    [
        ((0, 1, 3), True),
        ((0, 2, 4), True),
        ((0, 1, 2, 3, 4), True),
        ((0, 1), False),
        ((0, 3, 4), False),
        ((1, 2), False),
        ((), False),
    ],
)
def test_a_quorum_of_groups_needs_enough_of_each(numbers: tuple[int, ...], *, is_met: bool) -> None:
    if is_met:
        names = set(policy(TWO_LEVELS).accept(cosigned(*numbers), "note").cosignatures)
        assert len(names) == len(numbers)
        return
    with pytest.raises(EvidenceError, match=r"^note: expected cosignatures of the quorum 'X-and-Y', got "):
        policy(TWO_LEVELS).accept(cosigned(*numbers), "note")


def test_the_same_witness_counts_once() -> None:
    twice = cosigned(0).with_signatures([WITNESSES[0].cosign(CHECKPOINT.text, 2000)])
    with pytest.raises(EvidenceError, match=r"expected cosignatures of the quorum 'g', got 'X1'$"):
        policy(f"log {LOG_VKEY}\nwitness X1 {VKEYS[0]}\nwitness X2 {VKEYS[1]}\ngroup g all X1 X2\nquorum g\n").accept(
            twice, "note"
        )


def test_without_a_quorum_only_the_log_must_sign() -> None:
    assert policy(f"log {LOG_VKEY}\nquorum none\n").accept(cosigned(), "note").log.name == LOG.name


def test_a_checkpoint_of_another_log_is_refused() -> None:
    other = Checkpoint(origin="other.example", size=1, root=CHECKPOINT.root)
    with pytest.raises(EvidenceError, match=r"^note: the policy does not name the log 'other\.example'$"):
        policy(f"log {LOG_VKEY}\nquorum none\n").accept(LOG.sign(other.text), "note")
    impostor = signer_of(Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32), LOG.name)
    with pytest.raises(EvidenceError, match=r"^note: expected a signature by the log 'w0\.example', got none$"):
        policy(f"log {LOG_VKEY}\nquorum none\n").accept(impostor.sign(CHECKPOINT.text), "note")


def test_urls_and_names_are_kept() -> None:
    found = policy(TWO_LEVELS)
    assert found.urls == {"X2": "https://x2.example"}
    assert list(found.witnesses) == ["X1", "X2", "X3", "Y1", "Y2"]


def test_names_are_compared_as_bytes() -> None:
    text = b"witness K\xff %b\nquorum K\xff\n" % VKEYS[0].encode()
    assert Policy.parse(text, "policy").quorum == "K\udcff"
    with pytest.raises(EvidenceError, match="line 2: expected none, or a witness or group of an earlier line"):
        Policy.parse(text.replace(b"quorum K\xff", b"quorum K\xfe"), "policy")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("quorum none", "policy: expected a line feed at the end of the last line"),
        ("", "policy: expected a line feed"),
        ("# nothing\n", "policy: expected a quorum line, got none"),
        ("quorum none\nquorum none\n", "policy, line 2: expected one quorum line, got a second one"),
        ("quorum none\r\n", "policy, line 1: expected no control characters"),
        ("quorum none none\n", "policy, line 1: expected 'quorum NAME', got 2 items"),
        ("quorum X\n", "policy, line 1: expected none, or a witness or group of an earlier line, got 'X'"),
        ("logs\n", "policy, line 1: expected log, witness, group or quorum, got 'logs'"),
        ("log\nquorum none\n", r"policy, line 1: expected 'log VKEY \[URL\]', got 0 items"),
        (f"log {VKEYS[0]}\n", "policy, line 1: expected the key of a log, of the signature type 1, got type 4"),
        (
            f"witness X {LOG_VKEY}\n",
            "policy, line 1: expected the key of a witness, of the signature type 4, got type 1",
        ),
        (f"log {LOG_VKEY}\nlog {LOG_VKEY}\n", r"policy, line 2: the key of 'w0\.example' was given before"),
        (f"witness X {VKEYS[0]}\nwitness Y {VKEYS[0]}\n", r"policy, line 2: the key of 'w1\.example' was given before"),
        (f"witness X {VKEYS[0]}\nwitness X {VKEYS[1]}\n", "policy, line 2: expected a new name, got 'X'"),
        (f"witness none {VKEYS[0]}\n", "policy, line 1: expected a new name, got 'none'"),
        (f"witness X {VKEYS[0]}\ngroup X any X\n", "policy, line 2: expected a new name, got 'X'"),
        (f"witness X {VKEYS[0]}\ngroup g any none\n", "policy, line 2: expected a witness or group of an earlier line"),
        ("group g any g\n", "policy, line 1: expected a witness or group of an earlier line, got 'g'"),
        (f"witness X {VKEYS[0]}\ngroup g any X X\n", "policy, line 2: 'X' is a member of a group already"),
        (f"witness X {VKEYS[0]}\ngroup g any X\ngroup h any X\n", "policy, line 3: 'X' is a member of a group already"),
        (f"witness X {VKEYS[0]}\ngroup g 2 X\n", "policy, line 2: expected all, any or a number from 1 to 1, got '2'"),
        (f"witness X {VKEYS[0]}\ngroup g 01 X\n", "policy, line 2: expected all, any or a number from 1 to 1"),
        (f"witness X {VKEYS[0]}\ngroup g all\n", "policy, line 2: expected 'group NAME all|any|NUMBER NAME...'"),
        ("x" * (1 << 20) + "\n", "policy: expected a policy of at most 1,048,576 bytes"),
    ],
)
def test_text_that_is_not_a_policy_is_refused(text: str, problem: str) -> None:
    with pytest.raises(EvidenceError, match=f"^{problem.replace('|', chr(92) + '|')}"):
        policy(text)


def test_a_policy_may_reach_its_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"log {LOG_VKEY}\nwitness X1 {VKEYS[0]}\ngroup g any X1\nquorum g\n"
    monkeypatch.setattr(policies, "MAX_POLICY", len(text))
    monkeypatch.setattr(policies, "MAX_POLICY_NAMES", 3)
    assert policy(text).quorum == "g"
    monkeypatch.setattr(policies, "MAX_POLICY_NAMES", 2)
    with pytest.raises(EvidenceError, match=r"^policy, line 3: expected at most 2 logs, witnesses and groups$"):
        policy(text)


def test_a_policy_may_have_32_entries_of_each_kind() -> None:
    keys = [signer_of(Ed25519PrivateKey.from_private_bytes(bytes([n, *[7] * 31])), f"n{n}") for n in range(64)]
    logs = "".join(f"log {each.verifier_key(NoteKeyType.ED25519)}\n" for each in keys[:32])
    witnesses = "".join(f"witness w{n} {k.verifier_key(NoteKeyType.COSIGNATURE)}\n" for n, k in enumerate(keys[32:]))
    groups = "".join(f"group g{n} all w{n}\n" for n in range(32))
    assert len(policy(f"{logs}{witnesses}{groups}quorum g31\n").groups) == 32


def test_a_policy_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "policy").write_text("quorum none\n")
    assert load_policy(tmp_path / "policy").quorum is None
    with pytest.raises(EvidenceError, match=r"missing: cannot be read: No such file or directory$"):
        load_policy(tmp_path / "missing")
