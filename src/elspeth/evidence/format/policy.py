"""Policies: which logs and how many witnesses are trusted.

The format is that of c2sp.org/tlog-policy. In it names are bytes. Bytes that are not UTF-8 become surrogates here, so
that different names stay different.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from elspeth.evidence.format.checkpoints import Checkpoint
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.files import read_small_file
from elspeth.evidence.format.limits import MAX_POLICY, MAX_POLICY_NAMES
from elspeth.evidence.format.notes import Note, NoteKeyType, VerifierKey

__all__ = ["AcceptedCheckpoint", "Group", "Policy", "load_policy"]

_NONE = "none"
_ITEM = re.compile(r"[^ \t]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_THRESHOLD = re.compile(r"[1-9][0-9]{0,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Some witnesses or groups, of which `threshold` must agree."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedCheckpoint:
    """A checkpoint that a policy accepts.

    `cosignatures` maps the witnesses, by their names in the policy, to the POSIX times of their cosignatures.
    """

    checkpoint: Checkpoint
    log: VerifierKey
    cosignatures: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The logs and witnesses that somebody trusts.

    `quorum` names a witness or group; None requires no cosignature. `urls` are the addresses of witnesses, by name.
    """

    logs: tuple[VerifierKey, ...]
    witnesses: Mapping[str, VerifierKey]
    groups: Mapping[str, Group]
    quorum: str | None
    urls: Mapping[str, str]

    @classmethod
    def parse(cls, data: bytes, place: str) -> Policy:
        """Read a policy.

        Raises EvidenceError for the first problem, with its line.
        """
        if len(data) > MAX_POLICY:
            raise EvidenceError(place, f"expected a policy of at most {MAX_POLICY:,} bytes, got {len(data):,}")
        if not data.endswith(b"\n"):
            raise EvidenceError(place, "expected a line feed at the end of the last line")
        if found := _CONTROL.search(data):
            before = data.count(b"\n", 0, found.start())
            raise EvidenceError(f"{place}, line {before + 1}", "expected no control characters but tabs and line feeds")
        reader = _Reader()
        for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), 1):
            items = _ITEM.findall(line)
            if items and not items[0].startswith("#"):
                reader.read(items, f"{place}, line {number}")
        if not reader.has_quorum:
            raise EvidenceError(place, "expected a quorum line, got none: 'quorum none' asks for no witness")
        return cls(
            logs=tuple(reader.logs),
            witnesses=reader.witnesses,
            groups=reader.groups,
            quorum=reader.quorum,
            urls=reader.urls,
        )

    def accept(self, note: Note, place: str) -> AcceptedCheckpoint:
        """Verify a checkpoint by the policy.

        Raises EvidenceError unless a log of the policy signed it and the quorum cosigned it.
        """
        checkpoint = Checkpoint.parse(note.text, place)
        logs = [key for key in self.logs if key.name == checkpoint.origin]
        if not logs:
            raise EvidenceError(place, f"the policy does not name the log {shown(checkpoint.origin)}")
        found = note.verify([*logs, *self.witnesses.values()], place)
        log = next((key for key in logs if key in found), None)
        if log is None:
            raise EvidenceError(place, f"expected a signature by the log {shown(checkpoint.origin)}, got none")
        cosignatures = {name: found[key].timestamp or 0 for name, key in self.witnesses.items() if key in found}
        if self.quorum is not None and not self._is_met(self.quorum, cosignatures):
            cosigned = ", ".join(map(shown, cosignatures)) or "none"
            raise EvidenceError(place, f"expected cosignatures of the quorum {shown(self.quorum)}, got {cosigned}")
        return AcceptedCheckpoint(checkpoint=checkpoint, log=log, cosignatures=cosignatures)

    def _is_met(self, name: str, cosigned: Collection[str]) -> bool:
        # A group names only witnesses and groups that are defined before it, so the recursion ends.
        group = self.groups.get(name)
        if group is None:
            return name in cosigned
        return sum(self._is_met(member, cosigned) for member in group.members) >= group.threshold


@dataclass(slots=True)
class _Reader:
    """Reads a policy line by line, and keeps its definitions."""

    logs: list[VerifierKey] = field(default_factory=list)
    witnesses: dict[str, VerifierKey] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    quorum: str | None = None
    has_quorum: bool = False

    def read(self, items: Sequence[str], place: str) -> None:
        """Read one line, split into its items."""
        readers: Mapping[str, Callable[[Sequence[str], str], None]] = {
            "log": self._log,
            "witness": self._witness,
            "group": self._group,
            "quorum": self._quorum,
        }
        if items[0] not in readers:
            raise EvidenceError(place, f"expected log, witness, group or quorum, got {shown(items[0])}")
        readers[items[0]](items[1:], place)
        if len(self.logs) + len(self.witnesses) + len(self.groups) > MAX_POLICY_NAMES:
            raise EvidenceError(place, f"expected at most {MAX_POLICY_NAMES} logs, witnesses and groups")

    def _log(self, items: Sequence[str], place: str) -> None:
        _expect_items(items, range(1, 3), "log VKEY [URL]", place)
        key = _key(items[0], NoteKeyType.ED25519, "a log", place)
        _refuse_duplicate(key, self.logs, place)
        self.logs.append(key)

    def _witness(self, items: Sequence[str], place: str) -> None:
        _expect_items(items, range(2, 4), "witness NAME VKEY [URL]", place)
        name, text, *urls = items
        self._refuse_known(name, place)
        key = _key(text, NoteKeyType.COSIGNATURE, "a witness", place)
        _refuse_duplicate(key, self.witnesses.values(), place)
        self.witnesses[name] = key
        if urls:
            self.urls[name] = urls[0]

    def _group(self, items: Sequence[str], place: str) -> None:
        _expect_items(items, range(3, MAX_POLICY_NAMES + 3), "group NAME all|any|NUMBER NAME...", place)
        name, word, *members = items
        self._refuse_known(name, place)
        for member in members:
            if member not in self.witnesses and member not in self.groups:
                raise EvidenceError(place, f"expected a witness or group of an earlier line, got {shown(member)}")
            if member in self.members:
                raise EvidenceError(place, f"{shown(member)} is a member of a group already")
            self.members.add(member)
        words = {"all": len(members), "any": 1}
        threshold = words[word] if word in words else int(word) if _THRESHOLD.fullmatch(word) else 0
        if not 1 <= threshold <= len(members):
            raise EvidenceError(place, f"expected all, any or a number from 1 to {len(members)}, got {shown(word)}")
        self.groups[name] = Group(threshold=threshold, members=tuple(members))

    def _quorum(self, items: Sequence[str], place: str) -> None:
        _expect_items(items, range(1, 2), "quorum NAME", place)
        (name,) = items
        if self.has_quorum:
            raise EvidenceError(place, "expected one quorum line, got a second one")
        if name != _NONE and name not in self.witnesses and name not in self.groups:
            raise EvidenceError(place, f"expected none, or a witness or group of an earlier line, got {shown(name)}")
        self.has_quorum, self.quorum = True, None if name == _NONE else name

    def _refuse_known(self, name: str, place: str) -> None:
        if name == _NONE or name in self.witnesses or name in self.groups:
            raise EvidenceError(place, f"expected a new name, got {shown(name)}, which is taken")


def load_policy(path: Path) -> Policy:
    """Read the policy in a file.

    Raises EvidenceError if it cannot be read.
    """
    return Policy.parse(read_small_file(path, "a policy", MAX_POLICY), str(path))


def _expect_items(items: Sequence[str], counts: range, form: str, place: str) -> None:
    if len(items) not in counts:
        raise EvidenceError(place, f"expected {form!r}, got {len(items)} items after the first word")


def _key(text: str, key_type: NoteKeyType, owner: str, place: str) -> VerifierKey:
    key = VerifierKey.parse(text, place)
    if key.type is not key_type:
        raise EvidenceError(
            place, f"expected the key of {owner}, of the signature type {key_type:d}, got type {key.type:d}"
        )
    return key


def _refuse_duplicate(key: VerifierKey, others: Collection[VerifierKey], place: str) -> None:
    if any(key.public == other.public for other in others):
        raise EvidenceError(place, f"the key of {shown(key.name)} was given before")
