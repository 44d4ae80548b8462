"""Collects the data with which a page checks its records.

A page made from a bag also holds the other files of the bag, so that it can perform the steps of `elspeth verify` that
compare bytes. A page made from a database holds the seal of the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from elspeth.core.landscape.exporting.reader import ExportKind, find_place
from elspeth.core.landscape.sealing.scope import locate, scope_from_json, seals_whole_lines
from elspeth.core.landscape.sealing.seal import read_seals
from elspeth.evidence.format import bag
from elspeth.evidence.verifier.reader import open_bag
from elspeth.evidence.verifier.statements import leaf_hashes, read_statement
from elspeth_schema import EPOCH

if TYPE_CHECKING:
    from elspeth.evidence.format.certificates import CertificateFacts
    from elspeth.evidence.format.signatures import PublicKey

__all__ = ["PageEvidence", "read_bag_certificate", "read_bag_contents", "read_bag_files", "read_seal"]

_LARGE = (bag.RECORDS, bag.LEAVES, bag.CONTENTS)
"""Files not read here: the page holds records in blocks and computes their hashes, and contents are read singly."""

_PREFIXES, _PREFIX_SIZE = "leaf-prefixes", 4
"""The first bytes of each leaf hash, by which the page finds an altered line. No file of a bag has this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageEvidence:
    """The data with which a page checks its records.

    `files` are the files of a bag by name, without records and contents; `seal` is for the script. `key` is the key
    that the reader is told to expect, `certificate` that of the bag, which the page does not check. `contents` are the
    contents of rows and calls, by their hashes.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    contents: Iterable[tuple[str, bytes]] = ()
    seal: Mapping[str, object] | None = None
    key: PublicKey | None = None
    certificate: CertificateFacts | None = None


def read_bag_files(path: Path) -> dict[str, bytes]:
    """Return the files of a bag without records and contents.

    Returns only the first bytes of each leaf hash, and nothing for an export that is not a bag.

    Raises ExportError or EvidenceError if it cannot be read.
    """
    place = find_place(path)
    if place.kind is not ExportKind.BAG:
        return {}
    with open_bag(place.path) as files:
        names = [name for name in sorted(files.sizes) if not name.startswith(_LARGE)]
        found = {name: b"".join(files.blocks(name)) for name in names}
        return {**found, _PREFIXES: b"".join(leaf[:_PREFIX_SIZE] for leaf in leaf_hashes(files))}


def read_bag_certificate(path: Path) -> CertificateFacts | None:
    """Return what the certificate of a bag says, if any.

    Raises ExportError if the bag cannot be read, EvidenceError if the certificate is not that of the signing key.
    """
    place = find_place(path)
    if place.kind is not ExportKind.BAG:
        return None
    with open_bag(place.path) as files:
        if bag.CERTIFICATES not in files.sizes:
            return None
        from elspeth.evidence.verifier.certificates import read_chain  # noqa: PLC0415  loads cryptography

        chain = read_chain(files, *read_statement(files))
        return None if chain is None else chain.facts


def read_bag_contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the contents of a bag with their hashes.

    Nothing is yielded for an export that is not a bag. Raises ExportError or EvidenceError if it cannot be read.
    """
    place = find_place(path)
    if place.kind is not ExportKind.BAG:
        return
    with open_bag(place.path) as files:
        for name in sorted(files.sizes):
            if name.startswith(bag.CONTENTS):
                yield name.removeprefix(bag.CONTENTS), b"".join(files.blocks(name))


def read_seal(connection: Connection, run_id: str) -> Mapping[str, object] | None:
    """Return the seal of a run for the script.

    Returns None if the run has no seal, or one of an older epoch, which covers other lines than the page holds.
    `columns` names the sealed columns of each type whose lines also have other columns.
    """
    seal = next(iter(read_seals(connection, run_id)), None)
    if seal is None or seal.epoch != EPOCH:
        return None
    try:
        payload = seal.payload.decode()
        located = [locate(each, EPOCH) for each in scope_from_json(seal.scope_json)]
    except (KeyError, TypeError, ValueError):
        return None  # it was tampered with: `elspeth landscape check` says what is wrong
    columns = {each.sealed.record_type: each.sealed.columns for each in located if not seals_whole_lines(each)}
    return {"payload": payload, "envelope": seal.envelope_json, "columns": columns}
