"""`elspeth export`: outputs, messages, and failures."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sqlite3
import stat
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.reader import read_export
from elspeth.core.landscape.lines import ranges
from elspeth_schema.contracts import RunStatus
from tests.fixtures.rich_run import export_to, recorded, rich_run

ROOT = Path(__file__).parents[3]

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a directory with a database of two runs.

    The environment has no signing key.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ELSPETH_SIGNING_KEY", raising=False)
    with LandscapeDB("sqlite:///audit.db") as db:
        recorded(db, rich_run())
        recorded(db, rich_run("run-2"))
    return tmp_path


def run_export(capsys: Captured, *arguments: str) -> tuple[int, str, str]:
    """Run `elspeth export`; return its exit code, output and errors."""
    code = main(["export", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def read_content(path: Path) -> dict[str, bytes]:
    return {
        file.name if path.is_dir() else "": file.read_bytes() for file in ([path] if path.is_file() else path.iterdir())
    }


def add_node(values: str) -> None:
    """Add a node that the recorder would refuse.

    `values` are its type, its configuration and the configuration's hash.
    """
    connection = sqlite3.connect("audit.db")
    connection.execute("PRAGMA ignore_check_constraints = ON")
    columns = "run_id, plugin_name, plugin_version, determinism, registered_at"
    connection.execute(
        f"INSERT INTO nodes ({columns}, node_id, node_type, config_json, config_hash) "  # noqa: S608 - fixed text
        f"SELECT {columns}, 'node-4', {values} FROM nodes WHERE run_id = 'run-1' AND node_id = 'node-1'"
    )
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "form", [form for form in ExportFormat if form not in (ExportFormat.BAG, ExportFormat.OPENLINEAGE)]
)
@pytest.mark.usefixtures("project")
def test_a_run_is_exported_in_every_form(capsys: Captured, form: ExportFormat) -> None:
    code, out, err = run_export(capsys, "run-1", "-d", "audit.db", "-o", "out/export", "--format", form)
    assert (code, err) == (0, "")
    assert out == f"run     run-1\nexport  out/export ({form}, 37 records, not signed)\n"
    assert read_content(Path("out/export")) == read_content(export_to(Path("expected"), form))


@pytest.mark.usefixtures("project")
def test_a_signed_bag_in_a_zip_file_is_verified(capsys: Captured) -> None:
    assert main(["keys", "generate", "-o", "keys"]) == 0
    capsys.readouterr()
    options = ("-o", "trail.zip", "--format", "bag", "--key", "keys/elspeth.key.pem", "--zip")
    code, out, err = run_export(capsys, "run-1", "-d", "audit.db", *options)
    assert (code, err) == (0, "")
    assert out == "run     run-1\nexport  trail.zip (bag, 37 records, signed)\n"
    # The only fault is that the run was finished with records still open.
    assert main(["verify", "trail.zip", "--key", "keys/elspeth.pub.pem"]) == 1
    words = " ".join(capsys.readouterr().err.split())
    assert "status: expected completed or failed, as the run is completed, got 'open' 9 accounting not reached" in words
    assert words.endswith("11 verdict NOT VERIFIED")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--format", "bag", "--hmac"), "--hmac: not with --format bag"),
        (("--format", "bag", "--include-withheld"), "--include-withheld: not with --format bag"),
        (("--format", "bag", "--include-payloads"), "--include-withheld: not with --format bag"),
        (
            (
                *("--zip", "--key", "k", "--public", "p", "--tsa", "t", "--certificate", "c", "--include-contents"),
                *("--contact-name", "n", "--contact-email", "e"),
            ),
            (
                "--key, --public, --zip, --tsa, --certificate, --include-contents, --contact-name, --contact-email:"
                " only with --format bag"
            ),
        ),
        (("--format", "bag", "--tsa", "http://127.0.0.1:1"), "--tsa: only with --key: the time-stamp is over the sign"),
        (("--format", "jsonl", "--base", "https://example.org/"), "--base: only with --format nt"),
        (("--format", "nt", "--hmac"), "--hmac: not with --format nt, which holds a run without signatures"),
        (("--format", "nt", "--base", "runs/"), "--base runs/: expected an absolute IRI that ends in /, such as https"),
        (("--format", "nt", "--base", "https://example.org/a"), "expected an absolute IRI that ends in /"),
        (("--format", "nt", "--base", "https://example.org/a b/"), "expected an absolute IRI that ends in /"),
        (("--format", "bag", "--public", "p.pem"), "--public: only with --key: it is the other half of that key"),
    ],
)
@pytest.mark.usefixtures("project")
def test_options_that_do_not_fit_the_form_are_usage_errors(
    capsys: Captured, options: tuple[str, ...], problem: str
) -> None:
    code, out, err = run_export(capsys, "run-1", "-d", "audit.db", "-o", "trail", *options)
    assert (code, out) == (2, "")
    assert problem in " ".join(err.split())
    assert not Path("trail").exists()


@pytest.mark.usefixtures("project")
def test_rdf_terms_begin_with_the_base(capsys: Captured) -> None:
    options = ("-d", "audit.db", "-o", "run.nt", "--base", "https://example.org/runs/")
    assert run_export(capsys, "run-1", *options)[0] == 0
    assert Path("run.nt").read_text().startswith("<https://example.org/runs/run/run-1> ")


@pytest.mark.usefixtures("project")
def test_a_bag_is_not_written_without_its_requested_time_stamp(capsys: Captured) -> None:
    assert main(["keys", "generate", "-o", "keys"]) == 0
    options = ("-o", "late", "--format", "bag", "--key", "keys/elspeth.key.pem", "--tsa", "http://127.0.0.1:1")
    code, _, err = run_export(capsys, "run-1", "-d", "audit.db", *options)
    assert (code, "http://127.0.0.1:1" in err, Path("late").exists()) == (1, True, False)


@pytest.mark.usefixtures("project")
def test_latest_names_the_run_that_began_last(capsys: Captured) -> None:
    code, out, _ = run_export(capsys, "latest", "-d", "audit.db", "-o", "export.jsonl")
    assert (code, out) == (0, "run     run-2\nexport  export.jsonl (jsonl, 37 records, not signed)\n")


def test_the_database_can_be_given_by_url(project: Path, capsys: Captured) -> None:
    code, _, err = run_export(capsys, "run-1", "-d", f"sqlite:///{project / 'audit.db'}", "-o", "export.jsonl")
    assert (code, err) == (0, "")


@pytest.mark.usefixtures("project")
def test_the_result_can_be_printed_as_json(capsys: Captured) -> None:
    code, out, err = run_export(capsys, "run-1", "-d", "audit.db", "-o", "export.json", "--format", "json", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "run_id": "run-1",
        "path": "export.json",
        "format": "json",
        "compress": None,
        "records": 37,
        "signed": False,
    }


@pytest.mark.usefixtures("project")
def test_hmac_signs_with_the_key_from_the_environment(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSPETH_SIGNING_KEY", "a key of 16 bytes")
    code, out, err = run_export(capsys, "run-1", "-d", "audit.db", "-o", "export.jsonl", "--hmac")
    assert (code, err) == (0, "")
    assert out == "run     run-1\nexport  export.jsonl (jsonl, 37 records, signed)\n"
    export = read_export(Path("export.jsonl"), signing_key=b"a key of 16 bytes")
    assert len(list(export)) == 37
    assert export.summary.signatures_checked


@pytest.mark.usefixtures("project")
def test_payloads_are_withheld_unless_included(capsys: Captured) -> None:
    for arguments, found in (((), False), (("--include-withheld",), True), (("--include-payloads",), True)):
        assert run_export(capsys, "run-1", "-d", "audit.db", "-o", "export.jsonl", *arguments)[0] == 0
        assert (b"Ada" in Path("export.jsonl").read_bytes()) is found


def test_a_short_key_is_refused(project: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSPETH_SIGNING_KEY", "fifteen bytes !")
    code, out, err = run_export(capsys, "run-1", "-d", "audit.db", "-o", "export.jsonl", "--hmac")
    advice = (
        "expected at least 16 bytes, got 15; make one with python -c 'import secrets; print(secrets.token_hex(32))'"
    )
    assert (code, out, err) == (2, "", f"error: ELSPETH_SIGNING_KEY is too short for a key: {advice}\n")
    assert [path.name for path in project.iterdir()] == ["audit.db"]


@pytest.mark.parametrize("value", [None, ""])
def test_hmac_without_a_key_is_a_usage_error(
    project: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is not None:
        monkeypatch.setenv("ELSPETH_SIGNING_KEY", value)
    code, out, err = run_export(capsys, "run-1", "-d", "audit.db", "-o", "export.jsonl", "--hmac")
    assert (code, out, err) == (2, "", "error: --hmac needs a key: set ELSPETH_SIGNING_KEY\n")
    assert [path.name for path in project.iterdir()] == ["audit.db"]


@pytest.mark.usefixtures("project")
def test_an_unknown_format_is_a_usage_error(capsys: Captured) -> None:
    code, out, err = run_export(capsys, "run-1", "-d", "audit.db", "-o", "export", "--format", "xml")
    assert (code, out) == (2, "")
    assert "'xml' is not one of 'json', 'jsonl', 'csv', 'parquet'" in err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("run-3", "-d", "audit.db"), "audit database sqlite:///audit.db holds no run 'run-3'"),
        (("latest", "-d", "missing.db"), "audit database missing.db does not exist"),
    ],
)
def test_missing_runs_and_databases_are_reported(
    project: Path, capsys: Captured, arguments: tuple[str, ...], problem: str
) -> None:
    code, out, err = run_export(capsys, *arguments, "-o", "new/export.jsonl")
    assert (code, out, err) == (1, "", f"error: {problem}\n")
    assert [path.name for path in project.iterdir()] == ["audit.db"]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.usefixtures("project")
def test_a_foreign_directory_is_not_replaced(capsys: Captured, form: str) -> None:
    Path("precious").mkdir()
    Path("precious/notes.txt").write_text("mine")
    code, out, err = run_export(capsys, "run-1", "-d", "audit.db", "-o", "precious", "--format", form)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert read_content(Path("precious")) == {"notes.txt": b"mine"}


@pytest.mark.usefixtures("project")
def test_an_unwritable_path_is_reported(capsys: Captured) -> None:
    code, out, err = run_export(capsys, "run-1", "-d", "audit.db", "-o", "audit.db/export.jsonl")
    assert (code, out) == (1, "")
    problem = f"its directory cannot be made: {Path('audit.db').absolute()} is a file"
    assert err == f"error: audit.db/export.jsonl: {problem}\n"


@pytest.mark.parametrize("form", ExportFormat)
@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ("'knot', '{}', config_hash", "node_type: expected one of source, transform, gate, "),
        ("'sink', '{', config_hash", "config_json: expected JSON text, got '{'"),
        ("'sink', '{}', 'x'", "config_hash: expected text matching ^[0-9a-f]{64}$, got 'x'"),
    ],
)
def test_corrupt_data_is_reported_and_leaves_no_file(
    project: Path, capsys: Captured, form: ExportFormat, values: str, problem: str
) -> None:
    add_node(values)
    code, out, err = run_export(capsys, "run-1", "-d", "audit.db", "-o", "export", "--format", form)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: audit database sqlite:///audit.db: nodes run_id='run-1' node_id='node-4': {problem}")
    assert err.count("\n") == 1
    assert [path.name for path in project.iterdir()] == ["audit.db"]


def test_the_documentation_names_every_option_and_form(capsys: Captured) -> None:
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    _, out, _ = run_export(capsys, "--help")
    options = set(re.findall(r"--[a-z-]+", out)) - {"--help", "--database", "--output"}
    assert {option for option in options if f"`{option}`" not in text} == set()
    assert [form for form in ExportFormat if f"| `{form}` |" not in text] == []


@pytest.mark.usefixtures("project")
def test_the_example_in_the_documentation_runs(capsys: Captured) -> None:
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    with LandscapeDB("sqlite:///runs/audit.db") as db:
        recorded(db, rich_run("RUN"))
    exec(compile(example, "docs/export.md", "exec"), {})  # noqa: S102 - our own documentation
    assert capsys.readouterr().out == "37\n"


def test_several_workers_write_the_same(project: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    with LandscapeDB("sqlite:///audit.db") as db:
        recorded(db, rich_run("ended", status=RunStatus.FAILED))
    monkeypatch.setattr(ranges, "_PART", 1)
    for name, workers in (("one.jsonl", "1"), ("two.jsonl", "2")):
        code, _, err = run_export(capsys, "ended", "-d", "audit.db", "-o", name, "--workers", workers)
        assert (code, err) == (0, "")
    assert read_content(project / "two.jsonl") == read_content(project / "one.jsonl")


@pytest.mark.usefixtures("project")
def test_an_unfinished_run_is_read_by_one_worker_with_a_message(capsys: Captured) -> None:
    with LandscapeDB("sqlite:///audit.db") as db:
        recorded(db, rich_run("going", status=RunStatus.RUNNING))
    code, _, err = run_export(capsys, "going", "-d", "audit.db", "-o", "trail.jsonl", "--workers", "2")
    assert (code, err) == (0, "run going has not ended: one process reads it, in one snapshot\n")


@pytest.mark.parametrize("more", [("--format", "csv"), ("--include-withheld",)])
def test_workers_are_only_for_forms_made_of_lines(project: Path, capsys: Captured, more: tuple[str, ...]) -> None:
    for shared in (("--workers", "2"), ("--cluster", "tcp://127.0.0.1:9")):
        code, _, err = run_export(capsys, "run-1", "-d", "audit.db", "-o", "trail", *shared, *more)
        assert code == 2
        assert f"{shared[0]}: not with --format csv, and not with --include-withheld" in " ".join(err.split())
    assert not (project / "trail").exists()


@pytest.mark.parametrize("name", ["audit.db", "./audit.db", "link.db", "hard.db", "audit.db-wal", "audit.db-shm"])
@pytest.mark.parametrize("more", [(), ("--force",)])
def test_the_database_is_not_replaced_by_its_export(
    project: Path, capsys: Captured, name: str, more: tuple[str, ...]
) -> None:
    (project / "link.db").symlink_to("audit.db")
    (project / "hard.db").hardlink_to("audit.db")
    before = Path("audit.db").read_bytes()
    code, out, err = run_export(capsys, "run-1", "-d", "audit.db", "-o", name, "--format", "jsonl", *more)
    problem = "is the audit database, which no output may touch: name another path"
    assert (code, out, err) == (1, "", f"error: {Path(name)}: {problem}\n")
    assert Path("audit.db").read_bytes() == before


@pytest.mark.parametrize(
    ("path", "what"),
    [("keys/elspeth.key.pem", "a key"), ("keys/elspeth.pub.pem", "a key"), (".env", "the file .env of secrets")],
)
@pytest.mark.usefixtures("project")
def test_keys_and_secrets_are_not_replaced_by_force(capsys: Captured, path: str, what: str) -> None:
    assert main(["keys", "generate", "-o", "keys"]) == 0
    capsys.readouterr()
    Path(".env").write_text("SECRET=1\n")
    before = Path(path).read_bytes()
    signed = ("--format", "bag", "--key", "keys/elspeth.key.pem", "--public", "keys/elspeth.pub.pem")
    code, out, err = run_export(capsys, "run-1", "-d", "audit.db", "-o", path, *signed, "--force")
    assert (code, out, err) == (1, "", f"error: {path}: is {what}, which no output may touch: name another path\n")
    assert Path(path).read_bytes() == before


@pytest.mark.usefixtures("project")
def test_a_settings_file_is_not_replaced_by_force(capsys: Captured) -> None:
    settings = (ROOT / "examples" / "audit_export" / "settings.yaml").read_bytes()
    Path("settings.yaml").write_bytes(settings)
    code, out, err = run_export(
        capsys, "run-1", "-d", "audit.db", "-o", "settings.yaml", "--format", "jsonl", "--force"
    )
    problem = "is a settings file, which --force does not replace: move it away"
    assert (code, out, err) == (1, "", f"error: settings.yaml: {problem}\n")
    assert Path("settings.yaml").read_bytes() == settings


@pytest.mark.usefixtures("project")
def test_the_log_of_another_database_is_not_replaced_by_force(capsys: Captured) -> None:
    connection = sqlite3.connect("other.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (a)")
    before = Path("other.db-wal").read_bytes()
    arguments = ("run-1", "-d", "audit.db", "-o", "other.db-wal", "--format", "jsonl", "--force")
    expected = "belongs to the SQLite database other.db, which alone writes it: name another path"
    assert run_export(capsys, *arguments) == (1, "", f"error: other.db-wal: {expected}\n")
    assert Path("other.db-wal").read_bytes() == before
    connection.close()


@pytest.mark.usefixtures("project")
def test_a_foreign_file_is_replaced_only_by_force(capsys: Captured) -> None:
    Path("notes.txt").write_text("mine")
    arguments = ("run-1", "-d", "audit.db", "-o", "notes.txt", "--format", "jsonl")
    code, out, err = run_export(capsys, *arguments)
    problem = "is not an export, which a new one may replace: name another file, or use --force"
    assert (code, out, err) == (1, "", f"error: notes.txt: {problem}\n")
    assert Path("notes.txt").read_text() == "mine"
    assert run_export(capsys, *arguments, "--force")[0] == 0
    assert run_export(capsys, *arguments)[0] == 0  # it is an export now
    assert len(list(read_export(Path("notes.txt")))) == 37


@pytest.mark.parametrize("form", ["jsonl", "json", "nt"])
@pytest.mark.usefixtures("project")
def test_a_single_file_can_go_to_standard_output(capsys: Captured, form: ExportFormat) -> None:
    code, out, err = run_export(capsys, "run-1", "-d", "audit.db", "-o", "-", "--format", form)
    assert (code, err) == (0, f"run     run-1\nexport  standard output ({form}, 37 records, not signed)\n")
    assert out.encode() == export_to(Path("expected"), ExportFormat(form)).read_bytes()
    assert not Path("-").exists()


@pytest.mark.parametrize("form", ["jsonl", "json"])
@pytest.mark.usefixtures("project")
def test_standard_output_may_be_a_text_stream(monkeypatch: pytest.MonkeyPatch, form: ExportFormat) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["export", "run-1", "-d", "audit.db", "-o", "-", "--format", form]) == 0
    assert stream.getvalue().encode() == export_to(Path("expected"), ExportFormat(form)).read_bytes()


@pytest.mark.usefixtures("project")
def test_an_export_on_standard_output_contains_no_json_summary(capsys: Captured) -> None:
    code, out, err = run_export(capsys, "run-1", "-d", "audit.db", "-o", "-", "--json")
    assert out.encode() == export_to(Path("expected"), ExportFormat.JSONL).read_bytes()
    summary = {"run_id": "run-1", "path": "-", "format": "jsonl", "compress": None, "records": 37, "signed": False}
    assert (code, json.loads(err)) == (0, summary)


@pytest.mark.usefixtures("project")
def test_a_file_can_be_exported_when_standard_output_is_a_text_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["export", "run-1", "-d", "audit.db", "-o", "trail.jsonl"]) == 0
    assert stream.getvalue() == "run     run-1\nexport  trail.jsonl (jsonl, 37 records, not signed)\n"


@pytest.mark.usefixtures("project")
def test_an_export_to_a_closed_standard_output_fails(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setattr(sys, "stdout", None)  # as after `>&-`
    assert main(["export", "run-1", "-d", "audit.db", "-o", "-"]) == 1
    assert capsys.readouterr().err == "error: standard output is closed: name a file with -o\n"


@pytest.mark.usefixtures("project")
def test_a_file_named_dash_can_be_written_with_its_directory(capsys: Captured) -> None:
    assert run_export(capsys, "run-1", "-d", "audit.db", "-o", "./-")[0] == 0
    assert len(list(read_export(Path("-")))) == 37


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: Path(path).symlink_to("/dev/null")], ids=["FIFO", "device"])
@pytest.mark.usefixtures("project")
def test_devices_and_fifos_are_not_replaced(capsys: Captured, make: Callable[[str], None]) -> None:
    make("out.jsonl")
    before = (Path("out.jsonl").lstat().st_ino, Path("out.jsonl").lstat().st_mode)
    code, out, err = run_export(capsys, "run-1", "-d", "audit.db", "-o", "out.jsonl", "--force")
    assert (code, out) == (1, "")
    assert err.startswith("error: out.jsonl: expected the path of a file, got that of a ")
    assert (Path("out.jsonl").lstat().st_ino, Path("out.jsonl").lstat().st_mode) == before


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("trail", "jsonl"),
        ("trail.jsonl", "jsonl"),
        ("trail.json", "json"),
        ("TRAIL.JSON", "json"),
        ("trail.csv", "csv"),
        ("trail.parquet", "parquet"),
        ("trail.zip", "bag"),
    ],
)
@pytest.mark.usefixtures("project")
def test_the_suffix_selects_the_form(capsys: Captured, name: str, form: str) -> None:
    code, out, err = run_export(capsys, "run-1", "-d", "audit.db", "-o", name)
    assert (code, err) == (0, "")
    assert out == f"run     run-1\nexport  {name} ({form}, 37 records, not signed)\n"
    assert Path(name).is_dir() is (form in ("csv", "parquet"))
    assert zipfile.is_zipfile(name) is (form == "bag")


@pytest.mark.usefixtures("project")
def test_a_bag_whose_name_ends_in_zip_is_zipped(capsys: Captured) -> None:
    assert run_export(capsys, "run-1", "-d", "audit.db", "-o", "bag.zip", "--format", "bag")[0] == 0
    assert zipfile.is_zipfile("bag.zip")
    assert run_export(capsys, "run-1", "-d", "audit.db", "-o", "bag", "--format", "bag", "--zip")[0] == 0
    assert zipfile.is_zipfile("bag")


@pytest.mark.parametrize(
    ("name", "more", "problem"),
    [
        ("x.parquet", ("--format", "jsonl"), "ends in .parquet, as of the format parquet, and the format is jsonl"),
        ("x.zip", ("--format", "json"), "ends in .zip, as of the format bag, and the format is json"),
        ("x.csv", ("--format", "bag"), "ends in .csv, as of the format csv, and the format is bag"),
        ("x.xml", (), "-o x.xml: no format has this suffix: give a format with --format"),
        ("x/", ("--format", "jsonl"), "-o x/: names a directory, and the format jsonl is a file: change one of them"),
        ("x/", (), "-o x/: names a directory, and the format jsonl is a file: change one of them"),
        (
            "-",
            ("--format", "csv"),
            "-o -: the format csv is several files: only with --format jsonl, json, nt or openlineage",
        ),
        (
            "-",
            ("--format", "bag"),
            "-o -: the format bag is several files: only with --format jsonl, json, nt or openlineage",
        ),
    ],
)
def test_a_name_and_a_form_must_not_contradict_each_other(
    project: Path, capsys: Captured, name: str, more: tuple[str, ...], problem: str
) -> None:
    code, out, err = run_export(capsys, "run-1", "-d", "audit.db", "-o", name, *more)
    assert (code, out) == (2, "")
    assert problem in " ".join(err.replace("│", " ").split())
    assert [path.name for path in project.iterdir()] == ["audit.db"]


@pytest.mark.usefixtures("project")
def test_an_export_of_a_private_file_stays_private(capsys: Captured) -> None:
    assert run_export(capsys, "run-1", "-d", "audit.db", "-o", "trail.jsonl")[0] == 0
    Path("trail.jsonl").chmod(0o600)
    assert run_export(capsys, "run-1", "-d", "audit.db", "-o", "trail.jsonl")[0] == 0
    assert stat.S_IMODE(Path("trail.jsonl").stat().st_mode) == 0o600


@pytest.mark.parametrize("link", ["trail.jsonl.partial", ".trail.jsonl.partial"])
@pytest.mark.usefixtures("project")
def test_a_link_where_an_export_was_prepared_is_not_followed(capsys: Captured, link: str) -> None:
    Path("victim").write_text("mine")
    Path(link).symlink_to("victim")
    assert run_export(capsys, "run-1", "-d", "audit.db", "-o", "trail.jsonl")[0] == 0
    assert Path("victim").read_text() == "mine"
    assert not Path("trail.jsonl").is_symlink()


@pytest.mark.usefixtures("project")
def test_an_unreadable_file_is_reported_as_unreadable(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("trail.jsonl").write_bytes(b"content")
    opened = Path.open

    def refuse(path: Path, mode: str = "r") -> IO[Any]:  # root may read every file
        if path.name == "trail.jsonl":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, mode)

    monkeypatch.setattr(Path, "open", refuse)
    problem = "cannot be read, so nothing shows whether it is an export: Permission denied"
    assert run_export(capsys, "run-1", "-d", "audit.db", "-o", "trail.jsonl") == (
        1,
        "",
        f"error: trail.jsonl: {problem}\n",
    )
