"""The drift check, and the one module that writes files."""

import ast
import shutil
from pathlib import Path

import pytest

from codegen import writer
from codegen.__main__ import main
from tests.codegen.trees import tree

CASE = Path(__file__).parent / "cases" / "good_minimal"
CODEGEN = Path(writer.__file__).parent

Said = pytest.CaptureFixture[str]


@pytest.fixture
def generated(tmp_path: Path) -> Path:
    """Return a directory of generated files that match their schema."""
    return Path(shutil.copytree(CASE / "expected", tmp_path / "generated"))


def run(*arguments: str, output: Path) -> int:
    return main(["--schema", str(CASE / "schema" / "landscape.yaml"), "--output", str(output), *arguments])


def test_the_project_itself_has_not_drifted(capsys: Said) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_the_check_passes_right_after_generating(generated: Path, capsys: Said) -> None:
    assert run("--check", output=generated) == 0
    assert capsys.readouterr().out == f"{len(tree(generated))} generated files agree with the schema.\n"


def test_a_hand_edit_is_shown(generated: Path, capsys: Said) -> None:
    with (generated / "elspeth_schema" / "py.typed").open("a") as file:
        file.write("# by hand\n")
    assert run("--check", output=generated) == 1
    assert capsys.readouterr().err.splitlines() == [
        "changed: generated/elspeth_schema/py.typed",
        "--- on disk: generated/elspeth_schema/py.typed",
        "+++ expected: generated/elspeth_schema/py.typed",
        "@@ -3,3 +3,2 @@",
        " # Regenerate with: nox -s codegen",
        "-# by hand",
        " ",
        "Files that differ from the schema: 1. Run: nox -s codegen",
    ]


def test_other_line_endings_are_a_change(generated: Path, capsys: Said) -> None:
    edited = generated / "elspeth_schema" / "py.typed"
    edited.write_bytes(edited.read_bytes().replace(b"\n", b"\r\n"))
    assert run("--check", output=generated) == 1
    assert capsys.readouterr().err.startswith("changed: generated/elspeth_schema/py.typed\n")


def test_a_missing_file_is_named(generated: Path, capsys: Said) -> None:
    (generated / "elspeth_schema" / "py.typed").unlink()
    assert run("--check", output=generated) == 1
    assert capsys.readouterr().err.splitlines() == [
        "missing: generated/elspeth_schema/py.typed",
        "Files that differ from the schema: 1. Run: nox -s codegen",
    ]


def test_an_orphaned_file_is_named(generated: Path, capsys: Said) -> None:
    (generated / "elspeth_schema" / "old.py").touch()
    assert run("--check", output=generated) == 1
    assert capsys.readouterr().err.splitlines() == [
        "orphaned: generated/elspeth_schema/old.py",
        "Files that differ from the schema: 1. Run: nox -s codegen",
    ]


def test_the_check_changes_nothing(generated: Path) -> None:
    (generated / "elspeth_schema" / "old.py").touch()
    (generated / "elspeth_schema" / "tables.py").write_text("")
    (generated / "elspeth_schema" / "py.typed").unlink()
    before = tree(generated)
    assert run("--check", output=generated) == 1
    assert tree(generated) == before


def test_generating_repairs_all_differences_and_reports_them(generated: Path, capsys: Said) -> None:
    (generated / "elspeth_schema" / "old.py").touch()
    (generated / "elspeth_schema" / "tables.py").write_text("")
    (generated / "elspeth_schema" / "py.typed").unlink()
    assert run(output=generated) == 0
    assert capsys.readouterr().out.splitlines() == [
        "wrote generated/elspeth_schema/py.typed",
        "wrote generated/elspeth_schema/tables.py",
        "removed generated/elspeth_schema/old.py",
    ]
    assert tree(generated) == tree(CASE / "expected")


def test_pythons_caches_are_not_orphans(generated: Path) -> None:
    cache = generated / "elspeth_schema" / "__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "tables.cpython-311.pyc").touch()
    assert run("--check", output=generated) == 0


def test_a_missing_schema_gives_one_message(tmp_path: Path, capsys: Said) -> None:
    assert main(["--schema", str(tmp_path / "none.yaml"), "--output", str(tmp_path / "generated")]) == 1
    assert capsys.readouterr().err == "none.yaml: does not exist\n"
    assert tree(tmp_path) == {}


WRITING = {"mkdir", "open", "rename", "rmdir", "symlink_to", "touch", "unlink", "write_bytes", "write_text"}
WRITING_MODULES = {"io", "os", "shutil", "tempfile"}


def writes(path: Path) -> set[str]:
    """Return the names in a module that could change files."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    called = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    called |= {node.id for node in nodes if isinstance(node, ast.Name)}
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return called & WRITING | {name for name in imported if name.split(".")[0] in WRITING_MODULES}


def test_only_one_module_of_codegen_writes_files() -> None:
    assert [path.name for path in sorted(CODEGEN.rglob("*.py")) if writes(path)] == ["writer.py"]
