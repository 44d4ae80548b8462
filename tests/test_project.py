"""Rules about the project as a whole."""

import ast
import importlib
import pkgutil
import re
import subprocess
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

import elspeth
import elspeth_schema
from codegen.reference.pages import gaps, pages
from codegen.render import GENERATED_BY
from elspeth.cli.app import command
from elspeth.cli.examples import EXAMPLES, leaves

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src" / "elspeth"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

MAY_IMPORT = {
    "elspeth.assistant": {"elspeth.api", "elspeth.contracts", "elspeth.core", "elspeth.evidence", "elspeth_schema"},
    "elspeth.cli": {
        "elspeth.api",
        "elspeth.assistant",
        "elspeth.contracts",
        "elspeth.core",
        "elspeth.engine",
        "elspeth.evidence",
        "elspeth.objects",
        "elspeth.openlineage",
        "elspeth.outputs",
        "elspeth.plugins",
        "elspeth.report",
        "elspeth.schema",
        "elspeth_schema",
    },
    "elspeth.api": {
        "elspeth.contracts",
        "elspeth.core",
        "elspeth.engine",
        "elspeth.objects",
        "elspeth.plugins",
        "elspeth.report",
        "elspeth_schema",
    },
    "elspeth.contracts": {"elspeth.objects", "elspeth.schema", "elspeth_schema"},
    "elspeth.core": {
        "elspeth.contracts",
        "elspeth.evidence",
        "elspeth.objects",
        "elspeth.outputs",
        "elspeth.schema",
        "elspeth_schema",
    },
    "elspeth.engine": {
        "elspeth.contracts",
        "elspeth.core",
        "elspeth.evidence",
        "elspeth.objects",
        "elspeth.openlineage",
        "elspeth.outputs",
        "elspeth.plugins",
    },
    "elspeth.evidence": {"elspeth.outputs"},
    "elspeth.objects": set[str](),
    "elspeth.openlineage": {
        "elspeth.contracts",
        "elspeth.core",
        "elspeth.evidence",
        "elspeth.outputs",
        "elspeth_schema",
    },
    "elspeth.outputs": {"elspeth.objects"},
    "elspeth.plugins": {"elspeth.contracts", "elspeth.objects", "elspeth.outputs"},
    "elspeth.report": {
        "elspeth.contracts",
        "elspeth.core",
        "elspeth.evidence",
        "elspeth.objects",
        "elspeth.outputs",
        "elspeth.schema",
        "elspeth_schema",
    },
    "elspeth.schema": set[str](),
    "elspeth.testing": {"elspeth.contracts", "elspeth.core"},
    "elspeth_schema": {"elspeth.schema"},
}
"""Package -> the project's packages it may import, besides itself. The verifier shares no code with the writer."""

README_TESTS = 'python3 -m venv .venv && .venv/bin/pip install "nox[uv]" && .venv/bin/nox -s tests'


def imported_modules(path: Path, package: str) -> Iterator[str]:
    """Yield the absolute name of every module the file imports."""
    for node in ast.walk(ast.parse(path.read_text(), path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: 1 - node.level or None] if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            yield from (f"{module}.{name.name}" for name in node.names)


def project_package(module: str) -> str | None:
    """Return the package that an import rule covers, or None.

    `elspeth.core` for `elspeth.core.landscape.recording.recorder`.
    """
    top = module.split(".", maxsplit=1)[0]
    package = ".".join(module.split(".")[:2]) if top == "elspeth" else top
    return package if package in {*MAY_IMPORT, "codegen", "tests"} else None


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_imports_run_one_way(package: str) -> None:
    top = (ROOT / "generated" if package == "elspeth_schema" else ROOT / "src").joinpath(*package.split("."))
    breaches = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sorted(top.rglob("*.py"))
        for module in imported_modules(path, ".".join(path.relative_to(top.parents[package.count(".")]).parent.parts))
        if project_package(module) not in {None, package, *MAY_IMPORT[package]}
    ]
    assert breaches == []


def test_every_part_of_the_package_has_an_import_rule() -> None:
    parts = {f"elspeth.{path.stem}" for path in SOURCES.iterdir() if path.suffix in {"", ".py"}}
    assert parts - {"elspeth.__init__", "elspeth.__main__", "elspeth.__pycache__"} <= MAY_IMPORT.keys()


@pytest.mark.smoke
@pytest.mark.parametrize("package", [elspeth, elspeth_schema], ids=lambda package: package.__name__)
def test_every_installed_module_can_be_imported(package: ModuleType) -> None:
    names = [module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    assert [importlib.import_module(name).__name__ for name in names if not name.endswith("__main__")] != []


@pytest.fixture(scope="module")
def project_files() -> list[str]:
    """Return the paths of all project files, committed or not."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    return git("ls-files", "--cached", "--others", "--exclude-standard").splitlines()


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_only_generated_files_have_the_header(project_files: list[str]) -> None:
    """Only generated files say so; tests have expected output besides."""
    files = [name for name in project_files if not name.startswith("tests/") and (ROOT / name).is_file()]
    marked = [name for name in files if GENERATED_BY.encode() in b"".join((ROOT / name).read_bytes().splitlines()[:3])]
    assert marked == [name for name in files if name.startswith("generated/")]


def test_the_reference_pages_agree_with_the_models() -> None:
    """If it fails, run `python -m codegen.reference`, which writes them."""
    made = pages()
    stale = [name for name, text in made.items() if (ROOT / "docs" / name).read_text(encoding="utf-8") != text]
    assert stale == [], "run: python -m codegen.reference"
    assert gaps() == []


def test_every_command_has_an_example_in_its_help() -> None:
    commands = {name for name, _ in leaves(command)}
    assert commands - EXAMPLES.keys() == set(), "add an example to src/elspeth/cli/examples.py"
    assert EXAMPLES.keys() - commands == set(), "remove the example from src/elspeth/cli/examples.py"


def test_git_knows_which_files_are_generated(project_files: list[str]) -> None:
    attributes = git("check-attr", "linguist-generated", "--", *project_files).splitlines()
    marked = [line.removesuffix(": linguist-generated: set") for line in attributes if line.endswith(": set")]
    assert marked == [name for name in project_files if name.startswith("generated/")]


def test_every_dependency_is_locked() -> None:
    locked = [Requirement(line) for line in (ROOT / "requirements.lock").read_text().splitlines() if line[:1].isalpha()]
    versions = {requirement.name: str(requirement.specifier).removeprefix("==") for requirement in locked}
    project = PYPROJECT["project"]
    groups = [*project["optional-dependencies"].values(), *PYPROJECT["dependency-groups"].values()]
    named = [entry for group in [project["dependencies"], *groups] for entry in group if isinstance(entry, str)]
    wanted = [Requirement(entry) for entry in named]
    assert [str(each) for each in wanted if not each.specifier.contains(versions.get(each.name.lower(), "none"))] == []


def test_ci_runs_the_command_of_the_readme() -> None:
    assert README_TESTS in (ROOT / "README.md").read_text()
    assert README_TESTS in (ROOT / ".ci" / "run").read_text()


def test_the_readme_names_the_short_selection() -> None:
    selection = re.search(r"nox -s tests -- -m (\w+)", (ROOT / "README.md").read_text())
    assert selection is not None
    markers = [marker.partition(":")[0] for marker in PYPROJECT["tool"]["pytest"]["markers"]]
    assert selection[1] in markers


ROOMS: dict[str, dict[str, set[str]]] = {
    "elspeth.contracts": {
        "audit": set(),
        "enums": set(),
        "environment": set(),
        "errors": set(),
        "events": set(),
        "input_paths": set(),
        "known_secret": set(),
        "schema": set(),
        "secret_names": set(),
        "database_urls": {"environment"},
        "routing": {"enums"},
        "values": {"errors"},
        "coercion": {"errors", "schema", "values"},
        "rows": {"coercion", "errors", "schema", "values"},
        "error_fields": {"rows"},
        "expressions": {"coercion", "errors", "schema", "values"},
        "schema_option": {"schema"},
        "plugins": {"enums", "environment", "errors", "routing", "rows", "schema_option"},
        "python_functions": {"errors", "expressions", "plugins", "rows"},
    },
    "elspeth.plugins": {
        "_look_ahead": set(),
        "_undecoded": set(),
        "json_text": {"_look_ahead", "_undecoded"},
        "_targets": set(),
        "staging": {"_targets"},
        "row_spool": {"json_text", "staging"},
        "column_types": set(),
        "files": {"staging"},
        "_input_file": {"_undecoded"},
        "input_files": {"_input_file", "_undecoded"},
        "aggregations": set(),
        "_csv_dialect": {"files", "input_files"},
        "_csv_format": {"_csv_dialect", "json_text"},
        "_csv_lines": {"_csv_dialect", "_undecoded", "input_files"},
        "_csv_header": {"_csv_dialect", "_csv_lines"},
        "csv": {"_csv_dialect", "_csv_format", "_csv_header", "_csv_lines", "files", "input_files"},
        "databases": set(),
        "_target_columns": set(),
        "database_sink": {"_target_columns", "column_types", "databases", "json_text", "row_spool"},
        "hookspecs": set(),
        "json": {"_look_ahead", "_undecoded", "files", "input_files", "json_text"},
        "field_paths": set(),
        "http": {"_input_file", "csv", "field_paths", "input_files", "json"},
        "llm": {"field_paths", "http"},
        "manager": {"hookspecs"},
        "null": set(),
        "scaffold": set(),
        "_pyarrow": set(),
        "parquet": {"_pyarrow", "column_types", "files", "json_text", "row_spool", "staging"},
        "parquet_source": {"_input_file", "_pyarrow", "input_files"},
        "transforms": {"field_paths", "json_text", "manager"},
        "python_functions": {"transforms"},
    },
    "elspeth.core": {
        "canonical": set(),
        "chunks": set(),
        "differences": set(),
        "html_tables": set(),
        "layout": set(),
        "diagrams": {"layout"},
        "payload_store": set(),
        "object_payloads": {"payload_store"},
        "payload_places": {"object_payloads", "payload_store"},
        "secrets": set(),
        "suggestions": set(),
        "placeholders": {"suggestions"},
        "landscape": {"canonical", "chunks", "differences", "payload_places", "payload_store", "placeholders"},
        "settings": {"landscape", "placeholders", "secrets", "suggestions"},
    },
    "elspeth.core.landscape": {
        "database": set(),
        "records": {"database"},
        "lines": {"database", "records"},
        "sealing": {"database", "records", "lines"},
        "recording": {"database", "records", "lines", "sealing"},
        "migration": {"database", "records", "sealing"},
        "exporting": {"database", "records", "lines", "sealing", "migration"},
        "queries": {"database", "records", "lines", "recording", "exporting"},
        "retention": {"database", "lines", "sealing", "exporting", "queries"},
    },
    "elspeth.engine": {
        "errors": set(),
        "pipeline": set(),
        "keys": set(),
        "reasons": set(),
        "log_checkpoints": {"keys"},
        "lineage_events": set(),
        "reporting": {"errors", "pipeline"},
        "inputs": {"errors", "pipeline"},
        "lineage_records": {"errors", "pipeline"},
        "origins": {"errors", "pipeline"},
        "start": {"inputs", "keys", "lineage_records", "pipeline", "reporting"},
        "resuming": {*("errors", "inputs", "keys", "lineage_events", "log_checkpoints", "pipeline", "start")},
        "tokens": {"errors"},
        "waiting": set(),
        "cut": {"pipeline"},
        "tally": {"reporting"},
        "trail": {"errors", "pipeline", "start", "tally", "tokens", "waiting"},
        "partitions": {"tally", "tokens"},
        "calls": {"errors", "pipeline"},
        "run_outputs": {"start"},
        "publishing": {"errors", "pipeline", "run_outputs", "start"},
        "steps": {"errors", "pipeline", "reasons", "tokens", "trail", "calls", "publishing"},
        "walks": {"calls", "cut", "steps", "tokens"},
        "processor": {*("errors", "pipeline", "tokens", "trail", "calls", "cut", "publishing", "steps", "walks")},
        "limits": {"errors", "pipeline", "reporting", "tally"},
        "workshop": {*("errors", "inputs", "pipeline", "start", "trail", "calls", "partitions", "processor")},
        "sharing": {"errors", "partitions", "workshop"},
        "loading": {
            *("errors", "origins", "pipeline", "reporting", "start", "trail", "calls", "publishing", "processor"),
            *("limits", "partitions", "resuming", "sharing"),
        },
        "run_export": {"errors", "keys", "reporting"},
        "orchestrator": {
            *("errors", "origins", "pipeline", "keys", "log_checkpoints", "reporting", "start", "calls", "publishing"),
            *("lineage_events", "inputs", "loading", "processor", "reasons", "resuming", "run_export", "run_outputs"),
            *("sharing", "workshop"),
        },
    },
    "elspeth.evidence": {
        "format": set(),
        "writer": {"format"},
        "sharing": set(),
        "verifier": {"format", "sharing"},
        "witness": {"format"},
    },
    "elspeth.objects": {
        "address": set(),
        "errors": {"address"},
        "base": {"address", "errors"},
        "s3": {"address", "base", "errors"},
        "google": {"address", "base", "errors"},
        "azure": {"address", "base", "errors"},
        "stores": {"address", "azure", "base", "errors", "google", "s3"},
    },
    "elspeth.outputs": {
        "compression": set(),
        "irreplaceable": set(),
        "policy": {"irreplaceable"},
        "locks": {"policy"},
        "writing": {"locks", "policy"},
        "uploads": {"irreplaceable", "policy"},
    },
    "elspeth.schema": {
        "checks": set(),
        "snapshots": set(),
        "stored": set(),
        "predecessor": {"snapshots"},
        "steps": {"snapshots"},
    },
    "elspeth.testing": {
        "plugins": set(),
        "sinks": {"plugins"},
        "sources": {"plugins"},
        "steps": {"plugins"},
    },
    "elspeth.openlineage": {
        "records": set(),
        "facets": set(),
        "columns": {"records"},
        "events": {"columns", "facets", "records"},
        "files": {"events", "facets", "records"},
        "sending": {"events"},
    },
    "elspeth.report": {
        "records": set(),
        "blocks": set(),
        "embed": set(),
        "embedding": set(),
        "evidence": set(),
        "flow": set(),
        "markup": set(),
        "scripts": set(),
        "timings": set(),
        "overview": {"flow", "records", "timings"},
        "drawing": {"flow"},
        "ends": {"markup", "overview"},
        "ran": {"markup", "overview"},
        "slow": {"markup", "timings"},
        "sections": {"drawing", "ends", "flow", "markup", "overview", "ran", "slow"},
        "page": {"blocks", "scripts", "sections"},
        "viewer": {"page", "scripts"},
        "writing": {
            *("blocks", "embed", "embedding", "evidence", "markup", "overview", "page", "records", "sections"),
        },
    },
    "elspeth.api": {
        "loading": set(),
        "run_report": set(),
        "tables": set(),
        "_spool": set(),
        "workers": {"_spool"},
        "reading": {"tables"},
        "running": {"loading", "run_report", "workers"},
    },
    "elspeth.assistant": {
        "limited_sql": set(),
        "server": {"limited_sql"},
    },
    "elspeth.cli": {
        "signals": set(),
        "terminal": set(),
        "logs": {"signals", "terminal"},
        "progress": {"logs"},
        "failures": {"signals", "terminal"},
        "completion": {"access"},
        "examples": set(),
        "objects": {"failures"},
        "options": {"access", "completion", "failures", "objects"},
        "access": {"failures", "progress", "terminal"},
        "contents_text": {"terminal"},
        "story_text": {"terminal"},
        "plan": {"terminal"},
        "clusters": {"failures"},
        "execution": {"clusters", "failures", "signals", "terminal", "progress", "plan"},
        "commands": {
            *(
                "access",
                "clusters",
                "completion",
                "contents_text",
                "execution",
                "failures",
                "objects",
                "options",
                "plan",
                "progress",
                "story_text",
                "terminal",
            ),
        },
        "app": {"commands", "examples", "failures", "logs", "objects", "progress"},
        "program": {"app", "logs", "signals", "terminal"},
    },
}
"""Package -> its rooms, which are folders or modules -> the other rooms that each may import."""

PUBLIC_PATHS = {"exporter", "formatters", "lineage", "recorder", "reproducibility", "row_data", "schema"}
"""Modules of `elspeth.core.landscape` that only re-export names, under the predecessor's paths."""

PASSED_ON = {"elspeth.core.landscape.schema"}
"""Public paths that the rooms may import, too: they hold generated tables."""


def room_of(module: str, package: str) -> str | None:
    """Return the module's room in the package, or None."""
    inside = module.removeprefix(f"{package}.")
    return None if inside == module else inside.split(".")[0]


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_rooms_import_only_what_is_allowed(package: str) -> None:
    top = SOURCES.parent.joinpath(*package.split("."))
    breaches = [
        f"{path.relative_to(top)} imports {module}"
        for room, allowed in ROOMS[package].items()
        for path in [*sorted((top / room).rglob("*.py")), *top.glob(f"{room}.py")]
        for module in imported_modules(path, ".".join(path.relative_to(SOURCES.parent).parent.parts))
        if (other := room_of(module, package)) is not None
        and other not in {room, *allowed}
        and not any(module.startswith(path) for path in PASSED_ON)
    ]
    assert breaches == []


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_rooms_import_each_other_in_one_direction_only(package: str) -> None:
    assert list(TopologicalSorter(ROOMS[package]).static_order())


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_every_module_is_in_a_room_or_a_public_path(package: str) -> None:
    top = SOURCES.parent.joinpath(*package.split("."))
    found = {path.stem for path in top.iterdir() if path.suffix == ".py" or any(path.rglob("*.py"))}
    others = PUBLIC_PATHS if package == "elspeth.core.landscape" else set[str]()
    assert found - {"__init__"} == {*ROOMS[package], *others}


def test_every_package_has_rooms() -> None:
    assert {package for package in ROOMS if package.count(".") == 1} == MAY_IMPORT.keys() - {"elspeth_schema"}


def test_every_place_on_the_map_of_the_code_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    places = re.findall(r"`((?:\w+/)+\w*(?:\.py)?)`", text)
    assert len(places) > 10
    assert [place for place in places if not any((top / place).exists() for top in (ROOT, SOURCES))] == []


def test_the_map_of_the_code_names_every_public_module_and_no_other() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    differences = []
    for package, section in re.findall(r"^### (\S+)\n(.*?)(?=^##|\Z)", text, re.DOTALL | re.MULTILINE):
        named = {
            name
            for cell in re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
            for name in re.findall(r"`(\w+)`", cell)
        }
        found = {path.stem for path in (SOURCES / package).iterdir() if path.suffix == ".py" or any(path.rglob("*.py"))}
        public = {name for name in found if not name.startswith("_")}
        others = PUBLIC_PATHS if package == "core/landscape" else set[str]()
        differences += sorted(f"{package}: {name}" for name in named ^ (public - others))
    assert differences == []


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each docstring."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                yield node.body[0].lineno, text


def test_the_first_line_of_a_docstring_has_at_most_ten_words() -> None:
    tops = [ROOT / name for name in ("benchmarks", "codegen", "examples", "src", "tests")]
    files = [ROOT / "noxfile.py", *(path for top in tops for path in top.rglob("*.py"))]
    expected_output = ROOT / "tests" / "codegen" / "cases"
    found = [
        f"{path.relative_to(ROOT)}:{line}: {first}"
        for path in sorted(files)
        if not path.is_relative_to(expected_output)
        for line, text in docstrings(path)
        if len((first := text.partition("\n")[0]).split()) > 10
    ]
    assert found == []
