"""Lines of exports that are not bags, read or refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from elspeth.evidence.format import export_lines
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.export_lines import ExportLine, looks_like_export, read_lines

RUN = b'{"record_type":"run"}'
ARRAY = b'[\n{"a":1},\n{"a":2}\n]\n'


def lines_of(path: Path, content: bytes) -> list[ExportLine]:
    path.write_bytes(content)
    return list(read_lines(path))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_lines_are_read_with_their_numbers_and_positions(tmp_path: Path, pack: type[bytes]) -> None:
    assert lines_of(tmp_path / "x", pack(b'{"a":1}\n\n{"a":3}\n')) == [
        (1, 0, b'{"a":1}'),
        (2, 8, b""),
        (3, 9, b'{"a":3}'),
    ]
    assert lines_of(tmp_path / "x", pack(ARRAY)) == [(2, 2, b'{"a":1}'), (3, 11, b'{"a":2}')]
    assert [each.place for each in read_lines(tmp_path / "x")] == ["line 2", "line 3"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "{path}: expected an export, got an empty file"),
        (
            b'{"a":1}\n{"a":2}',
            (
                "line 2: expected a line feed at its end, got the end of the file after"
                " '{{\"a\":2}}': the file is truncated"
            ),
        ),
        (
            b"x" * 40,
            (
                "line 1: expected a line feed at its end, got the end of the file after"
                f" '{'x' * 30}': the file is truncated"
            ),
        ),
        (
            b'[{"a":1},\n{"a":2}\n]\n',
            "line 1: expected '[' and a record on each following line, got '[{{\"a\":1}},'",
        ),
        (b'[\n{"a":1},\n', "line 3: expected ']', got the end of the file: it is truncated"),
        (b'[\n{"a":1}\n', "line 3: expected ']', got the end of the file: it is truncated"),
        (b"[\n", "line 2: expected ']', got the end of the file: it is truncated"),
        (
            b'[\n{"a":1}\n{"a":2}\n]\n',
            "line 3: expected ']' after a record without comma, got '{{\"a\":2}}'",
        ),
        (b'[\n{"a":1}\n],\n', "line 3: expected ']' after a record without comma, got '],'"),
        (ARRAY + b"more\n", "line 5: expected the end of the file, got 'more'"),
        (ARRAY + b"\n", "line 5: expected the end of the file, got ''"),
    ],
)
def test_a_file_of_another_layout_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "x"
    with pytest.raises(EvidenceError) as caught:
        lines_of(path, content)
    assert str(caught.value) == problem.format(path=path)


def test_a_line_may_be_as_long_as_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_lines, "MAX_LINE", 1_000)
    assert lines_of(tmp_path / "x", b"y" * 999 + b"\n") == [(1, 0, b"y" * 999)]
    for content in (b"y" * 1_000 + b"\n", b"y" * 1_001):
        with pytest.raises(EvidenceError) as caught:
            lines_of(tmp_path / "x", b"\n" + content)
        assert str(caught.value) == "line 2: expected at most 1,000 bytes, got more"


def test_a_file_that_cannot_be_read_is_refused_with_the_reason(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "gone", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(EvidenceError) as caught:
            list(read_lines(path))
        assert str(caught.value) == f"{path}: cannot be read: {reason}"


@pytest.mark.parametrize(
    ("content", "is_export"),
    [
        (RUN + b"\n", True),
        (b"[\n" + RUN + b"\n]\n", True),
        (b'{"a":1,"record_type":"database"}\n', True),
        (b'{"a":"' + b"x" * 65_529 + b'","record_type":"run"}\n', True),
        (b'{"a":"' + b"x" * 65_530 + b'","record_type":"run"}\n', False),
        (b'{"record_type":"token"}\n', False),
        (b'{"record_type":"run_process"}\n', False),
        (b'{"a":1}\n' + RUN + b"\n", False),
        (b" " + RUN, False),
        (b"[" + RUN, False),
        (b'{"a":"\\"record_type\\":\\"run\\""}\n', False),
        (gzip.compress(b"anything"), True),
        (b"", False),
    ],
    ids=range(13),
)
def test_an_export_is_known_by_its_beginning(tmp_path: Path, content: bytes, is_export: bool) -> None:
    (tmp_path / "x").write_bytes(content)
    assert looks_like_export(tmp_path / "x") is is_export


def test_a_directory_with_a_manifest_is_an_export_unless_it_is_a_bag(tmp_path: Path) -> None:
    assert not looks_like_export(tmp_path)
    (tmp_path / "manifest.json").mkdir()
    assert not looks_like_export(tmp_path)
    (tmp_path / "manifest.json").rmdir()
    (tmp_path / "manifest.json").touch()
    assert looks_like_export(tmp_path)
    (tmp_path / "bagit.txt").touch()
    assert not looks_like_export(tmp_path)


def test_what_cannot_be_opened_does_not_look_like_an_export(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert not looks_like_export(tmp_path / "loop")
    assert not looks_like_export(tmp_path / "gone")
