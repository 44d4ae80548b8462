"""The writer of bags, judged by other people's tools."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import date
from pathlib import Path

import bagit
import pytest

from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.signatures import PublicKey, Signer
from elspeth.evidence.verifier.procedure import Verdict
from elspeth.evidence.verifier.verify import verify_bag
from elspeth.evidence.writer.bag import BagSummary, write_bag
from elspeth.outputs.policy import OutputRefusedError
from tests.evidence.bags import DOCUMENTS, SECRET, read_bag, records, run_facts, to_lines


def written(
    target: Path,
    signer: Signer | None = None,
    *,
    archive: bool = False,
    run_id: str = "run-1",
    contents: Sequence[tuple[str, bytes]] = (),
) -> BagSummary:
    return write_bag(
        target,
        [to_lines(records(run_id))],
        facts=run_facts(run_id),
        documents=DOCUMENTS,
        signer=signer,
        secret=SECRET,
        archive=archive,
        date=date(2026, 2, 1),
        contents=contents,
    )


def test_a_bag_is_written_with_all_its_files(tmp_path: Path, signer: Signer) -> None:
    summary = written(tmp_path / "bag", signer)
    assert (summary.path, summary.record_count) == (tmp_path / "bag", 13)
    assert summary.counts == {"run": 1, "thing": 2, "step": 5, "link": 3, "node": 1, "operation": 1}
    assert summary.signed_by == signer.public_key.fingerprint
    assert sorted(read_bag(tmp_path / "bag")) == [
        "VERIFY.txt",
        "bag-info.txt",
        "bagit.txt",
        "data/data-dictionary.md",
        "data/export.schema.json",
        "data/leaf-hashes.bin",
        "data/records.jsonl",
        "data/references.json",
        "data/salts.json",
        "manifest-sha256.txt",
        "statement.dsse.json",
        "tagmanifest-sha256.txt",
    ]
    payload = {name: len(data) for name, data in read_bag(tmp_path / "bag").items() if name.startswith("data/")}
    assert (tmp_path / "bag" / "bag-info.txt").read_text() == (
        "Bagging-Date: 2026-02-01\n"
        "External-Description: Audit trail of one run, epoch 5\n"
        "External-Identifier: run-1\n"
        f"Payload-Oxum: {sum(payload.values())}.{len(payload)}\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]


@pytest.mark.parametrize("run_id", ["run-1", "r\u00fcn 1\nBagging-Date: today"])
def test_other_implementations_accept_the_bag(tmp_path: Path, signer: Signer, run_id: str) -> None:
    written(tmp_path / "bag", signer, run_id=run_id)
    other = bagit.Bag(str(tmp_path / "bag"))
    other.validate()
    assert other.info["Bagging-Date"] == "2026-02-01"
    assert verify_bag(tmp_path / "bag", key=signer.public_key).verdict is Verdict.VERIFIED


def test_an_archive_does_not_depend_on_how_the_file_system_lists_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, archives = Path.rglob, []
    for number, backwards in enumerate((False, True)):

        def files(directory: Path, pattern: str, *, backwards: bool = backwards) -> list[Path]:
            return sorted(listed(directory, pattern), reverse=backwards)

        monkeypatch.setattr(Path, "rglob", files)
        written(tmp_path / f"{number}.zip", archive=True)
        archives.append((tmp_path / f"{number}.zip").read_bytes())
    assert archives[0] == archives[1]


def test_an_archive_is_the_same_bytes_whenever_it_is_written(tmp_path: Path, key: PublicKey) -> None:
    written(tmp_path / "one.zip", archive=True)
    written(tmp_path / "two.zip", archive=True)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert {each.external_attr >> 16 for each in archive.infolist()} == {stat.S_IFREG | 0o644}
        archive.extractall(tmp_path)
    assert verify_bag(tmp_path / "one.zip").verdict is Verdict.UNSIGNED
    bagit.Bag(str(tmp_path / "bag")).validate()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bag", "one.zip", "two.zip"]
    assert verify_bag(tmp_path / "one.zip", key=key).verdict is Verdict.NOT_VERIFIED


def test_an_existing_path_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "bag").mkdir()
    with pytest.raises(OutputRefusedError) as caught:
        written(tmp_path / "bag")
    problem = "exists already, and evidence is never overwritten: name another path"
    assert str(caught.value) == f"{tmp_path / 'bag'}: {problem}"


@pytest.mark.parametrize("archive", [False, True])
def test_two_simultaneous_bags_are_both_whole_or_one_is_refused(tmp_path: Path, archive: bool) -> None:
    def batches() -> Iterator[list[bytes]]:
        yield to_lines(records())
        with pytest.raises(OutputRefusedError, match="is being written by another process"):
            written(tmp_path / "bag", archive=archive)

    write_bag(
        tmp_path / "bag", batches(), facts=run_facts(), documents=DOCUMENTS, signer=None, secret=SECRET, archive=archive
    )
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]
    assert verify_bag(tmp_path / "bag").verdict is Verdict.UNSIGNED


@pytest.mark.parametrize("archive", [False, True])
def test_a_file_that_appears_while_a_bag_is_written_is_kept(tmp_path: Path, archive: bool) -> None:
    def batches() -> Iterator[list[bytes]]:
        yield to_lines(records())
        (tmp_path / "bag").write_bytes(b"precious")

    with pytest.raises(OutputRefusedError, match="exists already, and evidence is never overwritten"):
        write_bag(
            tmp_path / "bag",
            batches(),
            facts=run_facts(),
            documents=DOCUMENTS,
            signer=None,
            secret=None,
            archive=archive,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]
    assert (tmp_path / "bag").read_bytes() == b"precious"


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def failing() -> Iterator[list[bytes]]:
        yield to_lines(records())
        message = "the database went away"
        raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="the database went away"):
        write_bag(tmp_path / "bag", failing(), facts=run_facts(), documents=DOCUMENTS, signer=None, secret=None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("archive", [False, True])
def test_every_file_is_on_disk_before_the_bag_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: bool
) -> None:
    states: list[bool] = []

    def fsync(_: int) -> None:
        states.append((tmp_path / "bag").exists())

    monkeypatch.setattr(os, "fsync", fsync)
    written(tmp_path / "bag", archive=archive, contents=[("0" * 64, b"content")])
    # The directory above, every file, three directories, the archive of them, and at last the directory in which the
    # bag has its name.
    files = 12 + 1
    assert states == [False] * (1 + files + 3 + archive) + [True]


@pytest.mark.parametrize("name", ["export.schema.json", "references.json"])
def test_a_bag_without_schema_or_rules_is_refused(tmp_path: Path, name: str) -> None:
    documents = {other: content for other, content in DOCUMENTS.items() if other != name}
    with pytest.raises(EvidenceError) as caught:
        write_bag(tmp_path / "bag", [], facts=run_facts(), documents=documents, signer=None, secret=None)
    problem = f"expected the documents that verifiers read, got none at data/{name}"
    assert str(caught.value) == f"{tmp_path / 'bag'}: {problem}"


def test_a_document_cannot_replace_the_records(tmp_path: Path) -> None:
    documents = {**DOCUMENTS, "records.jsonl": b""}
    with pytest.raises(EvidenceError, match=r"expected other names for documents than data/records.jsonl"):
        write_bag(tmp_path / "bag", [], facts=run_facts(), documents=documents, signer=None, secret=None)


def test_a_document_that_is_not_canonical_is_refused(tmp_path: Path) -> None:
    documents = {**DOCUMENTS, "more.json": b"{ }"}
    with pytest.raises(EvidenceError, match=r"^data/more.json: is not canonical JSON"):
        write_bag(tmp_path / "bag", [], facts=run_facts(), documents=documents, signer=None, secret=None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../up", "", "a/b", ".hidden", "a b"])
def test_a_document_with_a_strange_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="expected a document name of ASCII letters"):
        write_bag(tmp_path / "bag", [], facts=run_facts(), documents={name: b""}, signer=None, secret=None)


@pytest.mark.parametrize("line", [b"", b"{}", b'{"record_type":"x"\n}', b'{"record_type":"x'])
def test_a_line_that_is_not_a_record_is_refused(tmp_path: Path, line: bytes) -> None:
    sound, several = b'{"record_type":"x"}', to_lines(records())
    for batches, number in (([[line]], 1), ([[sound, line]], 2), ([several, [*several, line]], 27)):
        with pytest.raises(ValueError, match=f"line {number}: expected a record in canonical JSON, on one line"):
            write_bag(tmp_path / "bag", batches, facts=run_facts(), documents=DOCUMENTS, signer=None, secret=None)


@pytest.mark.parametrize("number", [1, 2])
def test_a_bag_has_as_many_contents_as_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr("elspeth.evidence.writer.bag.MAX_CONTENTS", 1)
    refusal = pytest.raises(EvidenceError, match="data/contents/: expected at most 1 contents, got more")
    with nullcontext() if number == 1 else refusal:
        written(tmp_path / "bag", contents=[(f"{each}" * 64, b"content") for each in range(number)])
    assert (tmp_path / "bag").exists() is (number == 1)


def test_progress_is_reported(tmp_path: Path) -> None:
    seen: list[int] = []
    lines = [b'{"record_type":"x","n":%d}' % number for number in range(2500)]
    batches: tuple[list[bytes], ...] = (lines[:1000], [], lines[1000:2000], lines[2000:])
    summary = write_bag(
        tmp_path / "bag",
        batches,
        facts=run_facts(),
        documents=DOCUMENTS,
        signer=None,
        secret=None,
        progress=seen.append,
    )
    assert (seen, summary.counts) == ([1000, 2000, 2500], {"x": 2500})


def test_the_salts_of_a_bag_are_beside_its_records(tmp_path: Path) -> None:
    written(tmp_path / "bag")
    files = read_bag(tmp_path / "bag")
    assert SECRET.encode() in files["data/salts.json"]
    assert SECRET.encode() not in files["data/records.jsonl"]
