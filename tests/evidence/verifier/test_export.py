"""Exports that are not bags, verified without the exporter's code."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.evidence.format.canonical import canonical
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.export_lines import looks_like_export, read_lines
from elspeth.evidence.verifier.export import ExportRules, verify_export
from elspeth.evidence.verifier.procedure import Status, Step, Verdict, Verification
from elspeth_schema import EPOCH
from elspeth_schema.contracts import RunStatus
from tests.evidence.bags import faults
from tests.fixtures.rich_run import export_to, rich_run

KEY = b"key"
RULES = ExportRules(newest_epoch=EPOCH, ended={"completed", "failed"})


def verified(path: Path, key: bytes | None = KEY) -> Verification:
    lines = ((each.place, each.line) for each in read_lines(path))
    return verify_export(lines, RULES, signing_key=key)


@pytest.fixture(scope="module", params=[ExportFormat.JSONL, ExportFormat.JSON])
def export(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a signed export in each form (read only)."""
    return export_to(tmp_path_factory.mktemp("exports") / "export", request.param, signing_key=KEY)


def test_a_signed_export_is_verified(export: Path) -> None:
    result = verified(export, KEY)
    assert (result.verdict, result.run_id, result.record_count) == (Verdict.VERIFIED, "run-1", 37)
    assert [step.status for step in result.steps].count(Status.PASSED) == 4


def test_a_signature_by_another_key_is_refused(export: Path) -> None:
    [(step, message)] = faults(verified(export, b"other"))
    assert step == 2
    assert message.endswith("the record was altered, or signed with another key")


def test_an_unsigned_export_is_not_verified(tmp_path: Path) -> None:
    path = export_to(tmp_path / "export.jsonl", ExportFormat.JSONL)
    problem = "expected one by the key given, got an unsigned export"
    assert faults(verified(path, KEY)) == [(2, f"line 1: signature: {problem}")]


@pytest.mark.parametrize("form", [ExportFormat.JSONL, ExportFormat.JSON])
@pytest.mark.parametrize(
    ("signed_with", "verdict"),
    [(None, Verdict.UNSIGNED), (KEY, Verdict.SIGNATURE_UNCHECKED)],
    ids=["unsigned", "signed"],
)
def test_without_a_key_a_sound_export_is_consistent(
    tmp_path: Path, form: ExportFormat, signed_with: bytes | None, verdict: Verdict
) -> None:
    path = export_to(tmp_path / "export", form, signing_key=signed_with)
    result = verified(path, None)
    assert (result.verdict, result.run_id, result.record_count) == (verdict, "run-1", 37)
    statuses = {step.step: step.status for step in result.steps}
    assert statuses.pop(Step.SIGNATURE) is Status.OPEN
    assert {step for step, status in statuses.items() if status is Status.PASSED} == {
        Step.STRUCTURE,
        Step.LINES,
        Step.COUNTS,
    }


def test_without_a_key_an_altered_record_is_found(tmp_path: Path) -> None:
    path = export_to(tmp_path / "export.jsonl", ExportFormat.JSONL)
    lines = path.read_bytes().splitlines(keepends=True)
    for at in range(len(lines) - 1):
        path.write_bytes(
            b"".join([*lines[:at], lines[at].replace(b'"run_id":"run-1"', b'"run_id":"run-2"'), *lines[at + 1 :]])
        )
        assert verified(path, None).verdict is Verdict.NOT_VERIFIED
    path.write_bytes(
        b"".join(lines).replace(b'"seconds":1', b'"seconds":2').replace(b"expected a number", b"expected a numbeR")
    )
    [(step, message)] = faults(verified(path, None))
    assert step == Step.COUNTS
    assert message.startswith("line 38: manifest: final_hash: expected ")


def test_an_export_of_an_unfinished_run_is_incomplete(tmp_path: Path) -> None:
    path = export_to(tmp_path / "export.jsonl", ExportFormat.JSONL, rich_run(status=RunStatus.RUNNING), signing_key=KEY)
    result = verified(path)
    problem = "expected a run that has ended, got 'running': what followed is not in this export"
    assert faults(result) == [(8, f"line 1: status: {problem}")]
    assert result.verdict is Verdict.NOT_VERIFIED


def test_the_status_of_the_run_is_shown(export: Path) -> None:
    told = {step.step: step.detail for step in verified(export).steps}
    assert told[Step.LIFECYCLES].startswith("the run is completed;")


def test_a_manifest_of_a_later_epoch_is_left_to_later_versions(tmp_path: Path) -> None:
    path = export_to(tmp_path / "export.jsonl", ExportFormat.JSONL)
    path.write_bytes(path.read_bytes().replace(b'"epoch":%d,' % EPOCH, b'"epoch":%d,' % (EPOCH + 1)))
    [(step, message)] = faults(verified(path, None))
    expected = f"expected an epoch up to {EPOCH}, got {EPOCH + 1}: a later version of elspeth can verify it"
    assert (step, message) == (1, f"line 38: manifest: epoch: {expected}")


@pytest.mark.parametrize(
    ("before", "after", "step", "problem"),
    [
        (b'"final_hash":', b'"final":1,"final_hash":', 5, "final: expected no field of this name, got one"),
        (b'"hash_algorithm":"sha256",', b"", 5, "hash_algorithm: expected this field, got none"),
        (b'"artifact":1,', b'"artifact":true,', 5, "counts: expected {"),
        (b'"epoch":%d,' % EPOCH, b'"epoch":true,', 1, f"epoch: expected an epoch up to {EPOCH}, got true: "),
    ],
)
def test_a_manifest_with_other_members_is_refused(
    tmp_path: Path, before: bytes, after: bytes, step: int, problem: str
) -> None:
    path = export_to(tmp_path / "export.jsonl", ExportFormat.JSONL)
    *lines, manifest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines, manifest.replace(before, after)]))
    [(found, message)] = faults(verified(path, None))
    assert (found, message[: len(problem) + 19]) == (step, f"line 38: manifest: {problem}")


@pytest.mark.parametrize("signature", [b"0" * 63, b"0" * 65, b"F" * 64])
def test_a_signature_is_64_digits_though_no_key_was_given(tmp_path: Path, signature: bytes) -> None:
    path = export_to(tmp_path / "export.jsonl", ExportFormat.JSONL, signing_key=KEY)
    content = path.read_bytes()
    first = content.partition(b'"signature":"')[2][:64]
    path.write_bytes(content.replace(first, signature))
    problem = f'expected 64 hexadecimal digits, got "{signature.decode()}"'
    assert faults(verified(path, None)) == [(2, f"line 1: signature: {problem}")]


def test_exports_are_distinguished_from_other_files(export: Path, tmp_path: Path) -> None:
    assert looks_like_export(export)
    assert not looks_like_export(tmp_path)
    assert not looks_like_export(tmp_path / "gone")
    for content in (
        b"",
        b"[\n1\n]\n",
        b'{"format":"urn:elspeth:record-proof:v1","record":"{\\"record_type\\":\\"run\\"}"}\n',
    ):
        (tmp_path / "other").write_bytes(content)
        assert not looks_like_export(tmp_path / "other")
    for form in (ExportFormat.CSV, ExportFormat.PARQUET):
        assert looks_like_export(export_to(tmp_path / form, form))
    assert not looks_like_export(export_to(tmp_path / "bag", ExportFormat.BAG))


def mutated(export: Path, tmp_path: Path, change: Callable[[list[bytes]], list[bytes]]) -> list[tuple[int, str]]:
    (tmp_path / "export").write_bytes(b"".join(change(export.read_bytes().splitlines(keepends=True))))
    result = verified(tmp_path / "export", KEY)
    assert result.verdict is Verdict.NOT_VERIFIED
    return faults(result)


def test_every_line_dropped_repeated_or_cut_is_found(export: Path, tmp_path: Path) -> None:
    lines = export.read_bytes().splitlines(keepends=True)
    for at in range(len(lines)):
        assert mutated(export, tmp_path, lambda lines, at=at: lines[:at] + lines[at + 1 :])  # type: ignore[misc]
        assert mutated(export, tmp_path, lambda lines, at=at: lines[: at + 1] + lines[at:])  # type: ignore[misc]
        assert mutated(export, tmp_path, lambda lines, at=at: lines[:at])  # type: ignore[misc]
        assert mutated(export, tmp_path, lambda lines, at=at: [*lines[:at], lines[at][:-2]])  # type: ignore[misc]


def test_an_export_without_its_manifest_is_incomplete(tmp_path: Path) -> None:
    path = export_to(tmp_path / "export.jsonl", ExportFormat.JSONL, signing_key=KEY)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    problem = "expected the manifest, got the end: the export is incomplete"
    assert faults(verified(path, KEY)) == [(1, f"end: {problem}")]


def test_a_missing_record_is_found_by_the_manifest(tmp_path: Path) -> None:
    path = export_to(tmp_path / "export.jsonl", ExportFormat.JSONL, signing_key=KEY)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2] + lines[-1:]))
    problem = "expected 36, derived from what comes before, got 37"
    assert faults(verified(path, KEY)) == [(5, f"line 37: manifest: record_count: {problem}")]


def lines_of(tmp_path: Path, key: bytes | None = None) -> list[bytes]:
    path = export_to(tmp_path / "export.jsonl", ExportFormat.JSONL, signing_key=key)
    return path.read_bytes().splitlines()


def verified_lines(lines: Sequence[bytes], key: bytes | None = None) -> Verification:
    return verify_export(((f"line {at}", line) for at, line in enumerate(lines, start=1)), RULES, signing_key=key)


def test_no_lines_are_an_incomplete_export() -> None:
    result = verified_lines([])
    problem = "expected the manifest, got the end: the export is incomplete"
    assert (result.verdict, faults(result)) == (Verdict.NOT_VERIFIED, [(1, f"end: {problem}")])


@pytest.mark.parametrize("at", [0, 5, -1])
@pytest.mark.parametrize("key", [None, KEY])
def test_nothing_may_follow_the_manifest(tmp_path: Path, key: bytes | None, at: int) -> None:
    lines = lines_of(tmp_path, key)
    for given in (None, key):
        result = verified_lines([*lines, lines[at]], given)
        problem = "expected nothing after the manifest, got a record"
        assert (result.verdict, faults(result)) == (Verdict.NOT_VERIFIED, [(1, f"line 39: {problem}")])


def test_only_a_run_comes_first(tmp_path: Path) -> None:
    lines = lines_of(tmp_path)
    problem = f"expected the run record first, got one of type {json.loads(lines[1])['record_type']}"
    assert faults(verified_lines(lines[1:])) == [(4, f"line 1: {problem}")]
    problem = "expected the run record first, got a manifest"
    assert faults(verified_lines(lines[-1:])) == [(4, f"line 1: {problem}")]


@pytest.mark.parametrize(("run_id", "shown"), [(None, "null"), ("run-2", '"run-2"'), (1, "1")])
def test_every_record_is_of_the_run(tmp_path: Path, run_id: object, shown: str) -> None:
    lines = lines_of(tmp_path)
    for at in (1, 36):
        record = json.loads(lines[at]) | {"run_id": run_id}
        changed = [*lines[:at], canonical(record), *lines[at + 1 :]]
        problem = f'run_id: expected "run-1" as in the records before, got {shown}'
        assert faults(verified_lines(changed)) == [(4, f"line {at + 1}: {problem}")]
        del record["run_id"]
        changed[at] = canonical(record)
        problem = 'run_id: expected "run-1" as in the records before, got null'
        assert faults(verified_lines(changed)) == [(4, f"line {at + 1}: {problem}")]


def test_the_run_has_an_id_and_every_record_a_type(tmp_path: Path) -> None:
    lines = lines_of(tmp_path)
    first = json.loads(lines[0])
    nameless = canonical(first | {"run_id": None})
    assert faults(verified_lines([nameless, *lines[1:]])) == [(4, "line 1: run_id: expected text, got null")]
    kindless = canonical(first | {"record_type": ["run"]})
    found = faults(verified_lines([lines[0], kindless, *lines[1:]]))
    assert found == [(4, 'line 2: record_type: expected text, got ["run"]')]


@pytest.mark.parametrize("at", [1, 20, 37])
def test_all_records_and_the_manifest_are_signed_or_none(tmp_path: Path, at: int) -> None:
    signed, bare = lines_of(tmp_path, KEY), lines_of(tmp_path)
    without = {name: value for name, value in json.loads(signed[at]).items() if name != "signature"}
    mixed = [*signed[:at], canonical(without), *signed[at + 1 :]]
    problem = "signature: expected a signature as in the records before, got none"
    assert faults(verified_lines(mixed)) == faults(verified_lines(mixed, KEY)) == [(2, f"line {at + 1}: {problem}")]
    beside = json.loads(bare[at]) | {"signature": "0" * 64}
    mixed = [*bare[:at], canonical(beside), *bare[at + 1 :]]
    problem = "signature: expected none as in the records before, got a signature"
    assert faults(verified_lines(mixed)) == [(2, f"line {at + 1}: {problem}")]


@pytest.mark.parametrize("at", [0, 1, 36, 37])
def test_each_signature_is_checked(tmp_path: Path, at: int) -> None:
    lines = lines_of(tmp_path, KEY)
    forged = json.loads(lines[at]) | {"signature": "0" * 64}
    changed = [*lines[:at], canonical(forged), *lines[at + 1 :]]
    got = f"{'0' * 64}: the record was altered, or signed with another key"
    assert faults(verified_lines(changed, KEY))[0] == (
        2,
        f"line {at + 1}: signature: expected one by the key given, got {got}",
    )


def test_what_was_not_reached_is_not_said_to_have_passed(tmp_path: Path) -> None:
    for key in (None, KEY):
        lines = lines_of(tmp_path, key)
        for changed in (lines[:-1], lines[1:], []):
            result = verified_lines(changed, key)
            statuses = {step.status for step in result.steps}
            assert statuses == {Status.FAILED, Status.NOT_REACHED, Status.NOT_PART}


@pytest.mark.parametrize("epoch", [None, "5", 5.5, True, [5]])
def test_an_epoch_is_a_whole_number(tmp_path: Path, epoch: object) -> None:
    *lines, manifest = lines_of(tmp_path)
    changed = canonical(json.loads(manifest) | {"epoch": epoch})
    expected = f"expected an epoch up to {EPOCH}, got {json.dumps(epoch)}: a later version of elspeth can verify it"
    assert faults(verified_lines([*lines, changed])) == [(1, f"line 38: manifest: epoch: {expected}")]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    result = verified(tmp_path / "gone", KEY)
    assert faults(result) == [(1, f"{tmp_path / 'gone'}: cannot be read: No such file or directory")]


def test_an_empty_file_is_not_verified(tmp_path: Path) -> None:
    (tmp_path / "export").touch()
    result = verified(tmp_path / "export", KEY)
    assert faults(result) == [(1, f"{tmp_path / 'export'}: expected an export, got an empty file")]


@pytest.mark.parametrize("data", [b"\xff\n", b"[\n", b"[\n1\n]\n", b"{}\n", b"null\n", b"[]\n"])
def test_malformed_files_are_not_verified(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "export").write_bytes(data)
    try:
        result = verified(tmp_path / "export", KEY)
    except EvidenceError:
        pytest.fail("the result says what is wrong with evidence")
    assert result.verdict is Verdict.NOT_VERIFIED
