"""Paths of sources: patterns, their order, and files named twice."""

import os
from pathlib import Path

import pytest

from elspeth.contracts.input_paths import find_all_files, find_files, is_pattern, matches_pattern, path_texts
from elspeth.objects.address import place_of


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in/sub").mkdir(parents=True)
    for name in ("in/b.csv", "in/a.csv", "in/B.csv", "in/a10.csv", "in/a9.csv", "in/sub/c.csv", "in/.hidden.csv"):
        Path(name).touch()
    Path("in/x.csv").mkdir()


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("in/a.csv", "in/a.csv"),
        ("in/gone.csv", "in/gone.csv"),
        ("in/*.csv", "in/B.csv in/a.csv in/a10.csv in/a9.csv in/b.csv"),
        ("in/a?.csv", "in/a9.csv"),
        ("in/[ab].csv", "in/a.csv in/b.csv"),
        ("in/**/[a-c].csv", "in/a.csv in/b.csv in/sub/c.csv"),
        ("in/.*.csv", "in/.hidden.csv"),
        ("in/*.txt", ""),
    ],
)
def test_the_files_of_a_pattern_are_sorted_by_code_point(pattern: str, found: str) -> None:
    assert [str(path) for path in find_files(pattern)] == found.split()
    for path in find_files(pattern):
        assert matches_pattern(path, pattern)
        assert matches_pattern(Path(str(path)).absolute(), f"./{pattern}")


def test_a_pattern_finds_everything_that_can_be_read_like_a_file() -> None:
    os.mkfifo("in/pipe.csv")
    assert find_files("in/p*.csv") == [Path("in/pipe.csv")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("in/*.csv", True),
        ("in/a?.csv", True),
        ("in/[a].csv", True),
        ("s3://bucket/*.csv", True),
        ("s3://b/a.csv", False),
        ("s3://b*/a.csv", False),
    ],
)
def test_a_path_with_wildcards_is_a_pattern(text: str, expected: bool) -> None:
    assert is_pattern(text) is expected


@pytest.mark.parametrize(
    ("path", "pattern", "matches"),
    [
        ("s3://bucket/in/a.csv", "s3://bucket/in/*.csv", True),
        ("s3://bucket/in/sub/a.csv", "s3://bucket/in/**/*.csv", True),
        ("s3://bucket/in/sub/a.csv", "s3://bucket/in/*.csv", False),
        ("s3://other/in/a.csv", "s3://bucket/in/*.csv", False),
        ("gs://bucket/in/a.csv", "s3://bucket/in/*.csv", False),
        ("s3://bucket/in/.a.csv", "s3://bucket/in/*.csv", False),
        ("in/a.csv", "s3://bucket/in/*.csv", False),
        ("s3://bucket/in/a.csv", "in/*.csv", False),
    ],
)
def test_an_object_matches_a_pattern_of_its_own_bucket(path: str, pattern: str, matches: bool) -> None:
    assert matches_pattern(place_of(path), pattern) is matches


@pytest.mark.parametrize(
    ("value", "paths"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), (("a", "b"), ["a", "b"]), (["a", 1], ["a"]), (None, [])],
)
def test_an_option_names_one_path_or_several(value: object, paths: list[str]) -> None:
    assert path_texts(value) == paths


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("in/a.txt", "in/*.csv"),
        ("a.csv", "in/*.csv"),
        ("in/sub/c.csv", "in/*.csv"),
        ("in/.a.csv", "in/*.csv"),
        ("in/.sub/a.csv", "in/**/*.csv"),
        ("in/A.csv", "in/a*.csv"),
        ("in", "in/**/a"),
    ],
)
def test_other_files_do_not_match(path: str, pattern: str) -> None:
    assert is_pattern(pattern)
    assert not matches_pattern(Path(path), pattern)


def test_a_directory_that_cannot_be_listed_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: str) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("elspeth.contracts.input_paths.is_pattern", denied)
    paths = ["in/*.csv", "in/a.csv"]
    assert find_all_files(paths) == ([], [f"{each} cannot be listed: Permission denied" for each in paths])


def test_every_problem_of_the_files_is_named() -> None:
    Path("in/link.csv").symlink_to("a9.csv")
    Path("in/[1].csv").touch()
    assert find_all_files(["in/a.csv", "in/[ab].csv", "in/a9.csv", "in/link.csv", "in/*.txt", "in/[1].csv"])[1] == [
        "in/a.csv is named twice, first as in/a.csv: its rows would be read twice",
        "in/link.csv is named twice, first as in/a9.csv: its rows would be read twice",
        "no file matches 'in/*.txt'",
        "no file matches 'in/[1].csv'; to name the file of exactly that name, write 'in/[[]1].csv'",
    ]
    assert find_all_files(["in/[[]1].csv", "in/a.csv", "in/gone.csv"])[1] == []
