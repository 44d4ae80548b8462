"""Compressed exports on the command line: written, read, and refused."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.evidence.format import compression
from elspeth.evidence.format.compression import open_decompressed
from elspeth.outputs.compression import Compression, compressing, find_compression
from tests.fixtures.told_run import record_told_run

Captured = pytest.CaptureFixture[str]
Result = tuple[int, str, str]
Elspeth = Callable[..., Result]

KEY = "a key of 16 bytes"

HMAC = ("--hmac",)

NO_EXPORT = gzip.compress(b"precious\n", mtime=0)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a database and its exports."""
    directory = tmp_path_factory.mktemp("told")
    with LandscapeDB(f"sqlite:///{directory / 'audit.db'}") as db:
        record_told_run(db)
        for form in (ExportFormat.JSONL, ExportFormat.JSON):
            write_export(db, "told", directory / f"plain.{form}", format=form)
        for kind in Compression:
            write_export(db, "told", directory / kind, format=ExportFormat.JSONL, compression=kind)
    return directory


@pytest.fixture(autouse=True)
def project(told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a directory with the told run in `audit.db`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELSPETH_SIGNING_KEY", KEY)
    shutil.copy(told / "audit.db", tmp_path)
    return tmp_path


@pytest.fixture
def elspeth(capsys: Captured) -> Elspeth:
    """Return a function that runs a command.

    It returns exit code, output and errors.
    """

    def run(*arguments: str) -> Result:
        code = main(list(arguments))
        return code, *capsys.readouterr()

    return run


# -- writing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "form", "kind"),
    [
        ("trail.jsonl.gz", "jsonl", Compression.GZIP),
        ("trail.JSON.ZST", "json", Compression.ZSTD),
        ("trail.zst", "jsonl", Compression.ZSTD),
        ("trail.jsonl --compress zstd", "jsonl", Compression.ZSTD),
        ("trail.jsonl.zst --compress zstd", "jsonl", Compression.ZSTD),
        ("trail.log.gz --format jsonl", "jsonl", Compression.GZIP),
    ],
)
def test_the_name_or_an_option_selects_the_compression(
    elspeth: Elspeth, told: Path, arguments: str, form: str, kind: Compression
) -> None:
    name, *options = arguments.split()
    code, out, err = elspeth("export", "told", "-d", "audit.db", "-o", name, *options)
    assert (code, err) == (0, "")
    assert out.startswith(f"run     told\nexport  {name} ({form}, {kind}, ")
    assert find_compression(Path(name)) is kind
    with open_decompressed(Path(name)) as file:
        assert file.read() == (told / f"plain.{form}").read_bytes()


def test_each_csv_file_is_compressed_but_the_manifest_is_not(elspeth: Elspeth) -> None:
    assert elspeth("export", "told", "-d", "audit.db", "-o", "trail.csv", "--compress", "gzip")[0] == 0
    names = sorted(path.name for path in Path("trail.csv").iterdir())
    assert "row.csv.gz" in names
    assert [name for name in names if not name.endswith(".csv.gz")] == ["datapackage.json", "manifest.json"]
    assert gzip.decompress(Path("trail.csv", "row.csv.gz").read_bytes()).startswith(b"run_id,row_id,")


def test_standard_output_can_be_compressed(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = BytesIO()
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", TextIOWrapper(stream))
        code = main(["export", "told", "-d", "audit.db", "-o", "-", "--compress", "zstd"])
        content = stream.getvalue()
    assert code == 0
    assert content == (told / "zstd").read_bytes()


def test_the_json_result_names_the_compression(elspeth: Elspeth) -> None:
    _, out, _ = elspeth("export", "told", "-d", "audit.db", "-o", "trail.jsonl.gz", "--json")
    assert json.loads(out)["compress"] == "gzip"


def test_a_plain_export_and_a_compressed_one_replace_each_other(elspeth: Elspeth) -> None:
    for name in ("trail.json", "trail.csv"):
        for options in (("--compress", "zstd"), ()):
            assert elspeth("export", "told", "-d", "audit.db", "-o", name, *options)[0] == 0
    assert find_compression(Path("trail.json")) is None
    assert not list(Path("trail.csv").glob("*.zst"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (NO_EXPORT, "is not an export, which a new one may replace: name another file, or use --force"),
        (
            NO_EXPORT[:10],
            "cannot be read, so nothing shows whether it is an export: expected the end of its gzip member",
        ),
    ],
    ids=["another file", "truncated"],
)
def test_a_compressed_file_that_is_not_an_export_is_not_replaced(
    elspeth: Elspeth, content: bytes, problem: str
) -> None:
    Path("trail.jsonl.gz").write_bytes(content)
    code, out, err = elspeth("export", "told", "-d", "audit.db", "-o", "trail.jsonl.gz")
    assert (code, out) == (1, "")
    assert err.startswith(f"error: trail.jsonl.gz: {problem}")
    assert Path("trail.jsonl.gz").read_bytes() == content


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            ("-o", "trail.jsonl.gz", "--compress", "zstd"),
            "-o trail.jsonl.gz: the name ends in .gz, as of the compression gzip, and the compression is zstd: change",
        ),
        (
            ("-o", "trail.csv.gz"),
            "-o trail.csv.gz: the name ends in .gz, as of one compressed file, and the format csv is none: leave",
        ),
        (
            ("-o", "trail.zip.zst"),
            "-o trail.zip.zst: the name ends in .zst, as of one compressed file, and the format bag is none: leave",
        ),
        (("-o", "trail.xml.gz"), "-o trail.xml.gz: no format has this suffix: give a format with --format"),
        (
            ("-o", "bag", "--format", "bag", "--compress", "gzip"),
            "--compress gzip: a bag is compressed as a zip file: give it a name that ends in .zip",
        ),
        (
            ("-o", "trail.parquet", "--compress", "zstd"),
            "--compress zstd: the files of the format parquet are always compressed: leave this out",
        ),
    ],
)
def test_unsuitable_compression_is_refused(
    elspeth: Elspeth, project: Path, options: tuple[str, ...], problem: str
) -> None:
    code, out, err = elspeth("export", "told", "-d", "audit.db", *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: {problem}")
    assert [path.name for path in project.iterdir()] == ["audit.db"]


def test_without_its_library_zstd_is_neither_written_nor_read(
    elspeth: Elspeth, told: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(told / "zstd", "there.jsonl.zst")
    monkeypatch.setattr("elspeth.outputs.compression._ZSTD_MODULE", "no.such_module")
    needed = "needs no.such_module, which is not installed: in a checkout of elspeth, pip install '.[zstd]'"
    written = ("export", "told", "-d", "audit.db", "-o")
    assert elspeth(*written, "trail", "--compress", "zstd") == (2, "", f"error: --compress zstd: {needed}\n")
    assert elspeth(*written, "trail.zst") == (1, "", f"error: compression zstd: {needed}\n")
    for command in (("import", "-d", "new.db"), ("explain", "--row", "0", "--from"), ("verify",)):
        problem = f"error: there.jsonl.zst: is compressed with zstd, which {needed}\n"
        assert elspeth(*command, "there.jsonl.zst") == (1, "", problem)
    assert sorted(path.name for path in project.iterdir()) == ["audit.db", "there.jsonl.zst"]


@pytest.mark.parametrize("kind", Compression)
def test_a_database_as_found_is_compressed_and_verified_too(elspeth: Elspeth, kind: Compression) -> None:
    Path("plain").mkdir()
    with closing(sqlite3.connect("old.db")) as old:
        old.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1), ('x')")
    for _ in range(2):
        code, out, err = elspeth("export", "--as-found", "old.db", "-o", "found", "--compress", kind, *HMAC)
        assert (code, err) == (0, "")
        assert f"found (jsonl, {kind}, " in out
    assert find_compression(Path("found")) is kind
    assert elspeth("verify", "found", *HMAC)[0] == 0
    with open_decompressed(Path("found")) as file:
        Path("plain", "found").write_bytes(file.read())
    assert elspeth("verify", "plain/found", *HMAC) == elspeth("verify", "found", *HMAC)
    problem = f"error: --compress {kind}: not with --as-found in the format csv: give jsonl or json\n"
    refused = elspeth("export", "--as-found", "old.db", "-o", "found.csv", "--compress", kind)
    assert refused == (2, "", problem)
    Path("found").write_bytes(Path("found").read_bytes()[:-1])
    assert "the file is truncated" in elspeth("verify", "found", *HMAC)[2]


# -- reading -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "kind", "hmac"),
    [("jsonl", "gzip", ()), ("json", "zstd", HMAC), ("csv", "gzip", HMAC)],
)
def test_a_compressed_export_gives_the_answers_of_a_plain_one(
    elspeth: Elspeth, monkeypatch: pytest.MonkeyPatch, form: str, kind: str, hmac: tuple[str, ...]
) -> None:
    def said(place: str, *options: str) -> list[Result]:
        Path(place).mkdir()
        with monkeypatch.context() as patched:
            patched.chdir(place)
            options = ("--format", form, *options, *hmac)
            assert elspeth("export", "told", "-d", "../audit.db", "-o", "trail", *options)[0] == 0
            return [
                elspeth("verify", "trail", *hmac),
                elspeth("import", "trail", "-d", "new.db", *hmac),
                elspeth("explain", "--row", "1", "--from", "trail"),
            ]

    plain, packed = said("plain"), said("packed", "--compress", kind)
    assert packed == plain
    assert [code for code, _, _ in packed] == [0 if hmac else 1, 0, 0]


@pytest.mark.parametrize("kind", Compression)
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda whole: whole[:-3], "got the end of the file: the file is truncated"),
        (lambda whole: whole + b"\n", "got more bytes"),
        (lambda whole: whole + whole, "got more bytes"),
        (lambda whole: whole[:900] + b"damage" + whole[906:], "got a damaged one: "),
    ],
    ids=["truncated", "garbage", "concatenated", "damaged"],
)
def test_a_damaged_compressed_export_is_refused_and_leaves_nothing(
    elspeth: Elspeth, told: Path, kind: str, damage: Callable[[bytes], bytes], problem: str
) -> None:
    Path("trail").write_bytes(damage((told / kind).read_bytes()))
    for command in (("import", "trail", "-d", "new.db"), ("explain", "--row", "0", "--from", "trail")):
        code, out, err = elspeth(*command)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith("error: trail: expected ")
        assert problem in err
    code, out, err = elspeth("verify", "trail")
    assert (code, out) == (1, "")
    assert "1 structure and manifests  FAILED" in err
    assert problem in err
    assert err.endswith("NOT VERIFIED\n")
    assert sorted(each.name for each in Path.cwd().iterdir()) == ["audit.db", "trail"]


@pytest.mark.parametrize("kind", Compression)
def test_a_bomb_exhausts_neither_memory_nor_disk(
    elspeth: Elspeth, told: Path, monkeypatch: pytest.MonkeyPatch, kind: Compression
) -> None:
    lines = (told / "plain.jsonl").read_bytes()
    with Path("bomb").open("wb") as content, compressing(content, kind) as file:
        file.write(lines)
        for _ in range(50):
            file.write(b"\n" * len(lines))
    monkeypatch.setattr(compression, "MAX_UNPACKED", 2 * len(lines))
    monkeypatch.setattr(compression, "MAX_FACTOR", 2)
    for command in (("import", "bomb", "-d", "new.db"), ("explain", "--row", "0", "--from", "bomb")):
        assert elspeth(*command)[:2] == (1, "")
    assert elspeth("verify", "bomb")[2].endswith("NOT VERIFIED\n")
    assert sorted(each.name for each in Path.cwd().iterdir()) == ["audit.db", "bomb"]


def test_the_limit_of_decompression_is_shared_by_csv_files(elspeth: Elspeth, monkeypatch: pytest.MonkeyPatch) -> None:
    elspeth("export", "told", "-d", "audit.db", "-o", "trail", "--format", "csv", "--compress", "gzip")
    packed = [path.read_bytes() for path in Path("trail").glob("*.gz")]
    sizes = [len(gzip.decompress(content)) for content in packed]
    monkeypatch.setattr(compression, "MAX_FACTOR", 0)
    monkeypatch.setattr(compression, "MAX_UNPACKED", sum(sizes))
    assert elspeth("import", "trail", "-d", "new.db")[0] == 0
    assert max(sizes) < sum(sizes) - 1
    monkeypatch.setattr(compression, "MAX_UNPACKED", sum(sizes) - 1)
    code, out, err = elspeth("import", "trail", "-d", "other.db")
    assert (code, out) == (1, "")
    assert err.endswith(f"expected at most {sum(sizes) - 1:,} bytes when decompressed, got more\n")
    assert not Path("other.db").exists()


def test_each_record_type_is_in_one_file(elspeth: Elspeth) -> None:
    elspeth("export", "told", "-d", "audit.db", "-o", "trail.csv")
    content = Path("trail.csv", "row.csv").read_bytes()
    Path("trail.csv", "row.csv.gz").write_bytes(gzip.compress(content))
    problem = "error: trail.csv, row.csv.gz: expected one file for each record type, got row.csv, too\n"
    assert elspeth("import", "trail.csv", "-d", "new.db") == (1, "", problem)
    # The content tells how a file is compressed, whatever its name.
    Path("trail.csv", "row.csv").unlink()
    Path("trail.csv", "row.csv.gz").rename(Path("trail.csv", "row.csv.zst"))
    assert elspeth("import", "trail.csv", "-d", "new.db")[0] == 0


def test_compressed_records_of_an_earlier_bag_are_not_an_export(elspeth: Elspeth, told: Path) -> None:
    line = (told / "plain.jsonl").read_bytes().partition(b"\n")[0]
    salted = line.replace(b',"settings_json"', b',"salt":"' + b"0" * 64 + b'","settings_json"')
    Path("lines.gz").write_bytes(gzip.compress(salted + b"\n"))
    problem = "holds the records of a bag, which without its statement are not an export: name the bag"
    assert elspeth("import", "lines.gz", "-d", "new.db") == (1, "", f"error: lines.gz: {problem}\n")
