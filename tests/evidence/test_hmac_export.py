"""Signed exports in one file, verified by code that does not know the exporter's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from elspeth.core.landscape.export.format import ExportFormat
from elspeth.evidence.errors import EvidenceError
from elspeth.evidence.hmac_export import verify_hmac_export
from elspeth.evidence.procedure import Status, Verdict
from tests.evidence.bags import faults
from tests.fixtures.rich_run import export_to

KEY = b"key"


@pytest.fixture(scope="module", params=[ExportFormat.JSONL, ExportFormat.JSON])
def export(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed export in each form, which tests must not change."""
    return export_to(tmp_path_factory.mktemp("exports") / "export", request.param, signing_key=KEY)


def test_a_signed_export_is_verified(export: Path) -> None:
    result = verify_hmac_export(export, KEY)
    assert (result.verdict, result.run_id, result.record_count) == (Verdict.VERIFIED, "run-1", 35)
    assert [step.status for step in result.steps].count(Status.PASSED) == 4


def test_another_key(export: Path) -> None:
    [(step, message)] = faults(verify_hmac_export(export, b"other"))
    assert step == 2
    assert message.endswith("the record was altered, or the key is another")


def test_an_unsigned_export(tmp_path: Path) -> None:
    path = export_to(tmp_path / "export.jsonl", ExportFormat.JSONL)
    problem = "expected one by the key given, got none: the record was altered, or the key is another"
    assert faults(verify_hmac_export(path, KEY)) == [(2, f"line 1: signature: {problem}")]


def mutated(export: Path, tmp_path: Path, change: Callable[[list[bytes]], list[bytes]]) -> list[tuple[int, str]]:
    (tmp_path / "export").write_bytes(b"".join(change(export.read_bytes().splitlines(keepends=True))))
    result = verify_hmac_export(tmp_path / "export", KEY)
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
    assert faults(verify_hmac_export(path, KEY)) == [(1, f"end: {problem}")]


def test_a_record_that_is_missing_shows_in_the_manifest(tmp_path: Path) -> None:
    path = export_to(tmp_path / "export.jsonl", ExportFormat.JSONL, signing_key=KEY)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2] + lines[-1:]))
    problem = "expected 34, derived from the lines before, got 35"
    assert faults(verify_hmac_export(path, KEY)) == [(5, f"line 35: manifest: record_count: {problem}")]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = verify_hmac_export(tmp_path / "gone", KEY)
    assert faults(result) == [(1, f"{tmp_path / 'gone'}: cannot be read: No such file or directory")]


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "export").touch()
    result = verify_hmac_export(tmp_path / "export", KEY)
    assert faults(result) == [(1, f"{tmp_path / 'export'}: expected an export, got an empty file")]


@pytest.mark.parametrize("data", [b"\xff\n", b"[\n", b"[\n1\n]\n", b"{}\n", b"null\n", b"[]\n"])
def test_malformed_files_are_not_verified(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "export").write_bytes(data)
    try:
        result = verify_hmac_export(tmp_path / "export", KEY)
    except EvidenceError:
        pytest.fail("the result says what is wrong with evidence")
    assert result.verdict is Verdict.NOT_VERIFIED
