"""The forms of exports, and the names of their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from elspeth.core.landscape.database import LandscapeError
from elspeth.core.landscape.exporting.files import require_compression
from elspeth.core.landscape.exporting.format import ExportFormat, guess_form, name_problem, object_problem
from elspeth.outputs.compression import Compression


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("trail.json", ExportFormat.JSON),
        ("TRAIL.JSONL", ExportFormat.JSONL),
        ("trail.of.run.csv", ExportFormat.CSV),
        ("trail.Parquet", ExportFormat.PARQUET),
        ("trail.nt", ExportFormat.NT),
        ("trail.zip", ExportFormat.BAG),
        ("trail.jsonl.gz", ExportFormat.JSONL),
        ("v1.2/trail.of.run.json.ZST", ExportFormat.JSON),
        ("trail", None),
        ("trail.gz", None),
        ("trail.txt", None),
        (".json", None),
    ],
)
def test_the_suffix_names_the_form(name: str, form: ExportFormat | None) -> None:
    assert guess_form(Path(name)) is form


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        (ExportFormat.BAG, "a bag is compressed as a zip file: give it a name that ends in .zip"),
        (ExportFormat.PARQUET, "the files of the format parquet are always compressed: leave this out"),
        (ExportFormat.OPENLINEAGE, "lineage events are few, and not compressed: leave this out"),
    ],
)
@pytest.mark.parametrize("compression", Compression)
def test_some_forms_are_not_compressed(form: ExportFormat, problem: str, compression: Compression) -> None:
    with pytest.raises(LandscapeError) as refused:
        require_compression(form, compression)
    assert str(refused.value) == f"compression {compression}: {problem}"
    require_compression(form, None)


@pytest.mark.parametrize("form", ExportFormat)
def test_an_object_holds_a_form_that_is_one_file(form: ExportFormat) -> None:
    assert object_problem(form, archive=True) is None
    problem = f"the format {form} is a directory, and an object is one file: name it .zip, .jsonl, .json or .nt"
    is_file = form in {ExportFormat.JSON, ExportFormat.JSONL, ExportFormat.NT}
    assert object_problem(form, archive=False) == (None if is_file else problem)


JSON, CSV = ExportFormat.JSON, ExportFormat.CSV
GZIP, ZSTD = Compression.GZIP, Compression.ZSTD


@pytest.mark.parametrize(
    ("name", "form", "compression", "problem"),
    [
        ("trail.json", JSON, None, None),
        ("trail.json.gz", JSON, None, None),
        ("trail.json.gz", JSON, GZIP, None),
        ("trail.json", JSON, GZIP, None),
        ("trail", CSV, GZIP, None),
        ("trail.csv/", CSV, None, None),
        ("trail/", JSON, None, "names a directory, and the format json is a file: change one of them"),
        (
            "trail.csv",
            JSON,
            None,
            "the name ends in .csv, as of the format csv, and the format is json: change one of them",
        ),
        (
            "trail.csv.gz",
            JSON,
            GZIP,
            "the name ends in .csv, as of the format csv, and the format is json: change one of them",
        ),
        (
            "trail.gz",
            CSV,
            GZIP,
            "the name ends in .gz, as of one compressed file, and the format csv is none: leave .gz out",
        ),
        (
            "trail.json.gz",
            JSON,
            ZSTD,
            "the name ends in .gz, as of the compression gzip, and the compression is zstd: change one of them",
        ),
    ],
)
@pytest.mark.parametrize("is_given", [False, True])
def test_a_name_must_agree_with_form_and_compression(
    name: str, form: ExportFormat, compression: Compression | None, problem: str | None, is_given: bool
) -> None:
    assert name_problem(name, form, compression, is_given=is_given, option="--format") == problem


@pytest.mark.parametrize("name", ["trail.txt", "trail.txt.gz"])
@pytest.mark.parametrize("compression", [None, GZIP])
def test_an_unknown_suffix_needs_a_given_form(name: str, compression: Compression | None) -> None:
    problem = "no format has this suffix: give a format with --format"
    assert name_problem(name, JSON, compression, is_given=False, option="--format") == problem
    assert name_problem(name, JSON, compression, is_given=True, option="--format") is None
