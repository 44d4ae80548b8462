"""Sessions of the project; `nox --list` explains them."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nox

PYPROJECT = nox.project.load_toml("pyproject.toml")
LOCK = "requirements.lock"
PROJECT = ".[postgres,parquet,timestamp,llm,zstd,openlineage,s3,gcs,mcp]"  # with all extras that tests use
WORKERS = str((os.cpu_count() or 1) + 1)  # one more than cores: tests wait for databases, browsers and clocks
AXE = "axe-core@4.14.1"
YAML_SERVER = "yaml-language-server@2.0.0"
AZURITE = "azurite@3.35.0"  # later ones need Node.js 21
COVERAGE_FLOOR = 96.5  # percent of lines and branches that the tests of CI reach
CLUSTER_TESTS = [
    *(f"tests/cli/test_{name}.py" for name in ("clusters", "cluster_checks")),
    *(f"tests/{name}.py" for name in ("engine/test_shared_runs", "durability/test_shared_kills", "test_scaling")),
]
DEFAULT = ["tests(current)", "lint", "typecheck", "drift", "schema_lint"]

# The tests start Python a thousand times. Without compiled modules, which an image may forbid, they take twice as long.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

nox.needs_version = ">=2026.4"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.sessions = DEFAULT


def other_pythons() -> dict[str, str]:
    """Find the other supported Pythons: version -> interpreter."""
    current = f"{sys.version_info.major}.{sys.version_info.minor}"
    versions = [version for version in nox.project.python_versions(PYPROJECT) if version != current]
    found = {version: next(filter(works, candidates(version)), None) for version in versions}
    return {version: interpreter for version, interpreter in found.items() if interpreter}


def candidates(version: str) -> Iterator[str]:
    """Yield a version's interpreters on PATH and in pyenv."""
    if on_path := shutil.which(f"python{version}"):
        yield on_path
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from map(str, pyenv.glob(f"versions/{version}.*/bin/python{version}"))


def works(interpreter: str) -> bool:
    """Tell whether an interpreter runs and has SQLite.

    A pyenv shim may exist for a version that is not active.
    """
    return subprocess.run([interpreter, "-c", "import sqlite3"], check=False, capture_output=True).returncode == 0


def install(session: nox.Session, *groups: str, project: tuple[str, ...] = ()) -> None:
    """Install dependency groups, and perhaps the project, at locked versions."""
    session.install("-c", LOCK, *nox.project.dependency_groups(PYPROJECT, *groups), *project)


@nox.session
@nox.parametrize(
    "python",
    [
        *(nox.param(interpreter, id=version) for version, interpreter in other_pythons().items()),
        nox.param(None, id="current"),  # last, so that the output ends with the summary of the whole suite
    ],
)
def tests(session: nox.Session) -> None:
    """Test an installed wheel; arguments go to pytest.

    All but the slow tests run on this Python, the smoke tests on the others. In CI the former have to reach the floor
    of lines and branches.
    """
    install(session, "test", project=(PROJECT,))
    if session.python is None:
        run = run_measured if os.environ.get("CI") else nox.Session.run
        run(session, "pytest", "-n", WORKERS, "-m", "not slow and not thorough", *session.posargs)
    else:
        # If the arguments select no smoke test, pytest ends with 5.
        success = [0, 5] if session.posargs else [0]
        session.run("pytest", *session.posargs, "-m", "smoke", success_codes=success)


@nox.session(reuse_venv=True)
def slow(session: nox.Session) -> None:
    """Run the tests that take long: kills, migrations, laws.

    Arguments go to pytest.
    """
    install(session, "test", project=(".[postgres,parquet,timestamp,llm]",))
    session.run("pytest", "-n", "auto", "-m", "slow and not thorough", *session.posargs)


@nox.session(reuse_venv=True)
def thorough(session: nox.Session) -> None:
    """Run the long loops and every example of the laws.

    Arguments go to pytest.
    """
    install(session, "test", project=(PROJECT,))
    selected = ("-m", "thorough or law")
    session.run("pytest", "-n", "auto", *selected, *session.posargs, env={"ELSPETH_TEST_THOROUGH": "1"})


@nox.session(reuse_venv=True)
def coverage(session: nox.Session) -> None:
    """Print the lines and branches that no test reaches.

    Arguments go to pytest; without them all tests run but the long loops.
    """
    install(session, "test", project=(PROJECT,))
    report = run_measured(session, "pytest", "-n", WORKERS, *session.posargs, floor=0.0)
    session.run("python", "-m", "slipcover", "--merge", report, "--out", report, "--skip-covered")


def run_measured(session: nox.Session, *command: str, floor: float = COVERAGE_FLOOR) -> str:
    """Run a module's command; return the report of its coverage.

    The session fails if the lines and branches reached are fewer than the floor, in percent.
    """
    report = Path(session.virtualenv.location) / "coverage.json"
    package = "import elspeth; print(*elspeth.__path__)"
    source = session.run("python", "-I", "-c", package, silent=True)
    measured = ("python", "-m", "slipcover", "--source", str(source).strip(), "--json", "--out", str(report))
    session.run(*measured, "-m", *command)
    percent = json.loads(report.read_text(encoding="utf-8"))["summary"]["percent_covered"]
    session.log(f"coverage of lines and branches: {percent:.1f} %")
    if percent < floor:
        session.error(f"expected a coverage of at least {floor} %")
    return str(report)


@nox.session(reuse_venv=True)
def lint(session: nox.Session) -> None:
    """Check format and style."""
    install(session, "lint")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session(reuse_venv=True)
def typecheck(session: nox.Session) -> None:
    """Check types strictly."""
    install(session, "typecheck", project=("-e", PROJECT))
    session.run("mypy")


@nox.session(reuse_venv=True)
def codegen(session: nox.Session) -> None:
    """Write generated/ from the schema; `-- --check` compares instead."""
    install(session, "codegen")
    # Codegen imports only the snapshots' format from the project, which needs no dependencies.
    session.run("python", "-m", "codegen", *session.posargs, env={"PYTHONPATH": "src"})


@nox.session(python=False)
def drift(session: nox.Session) -> None:
    """Fail if generated/ differs from the schema."""
    session.notify("codegen", ["--check"])


@nox.session(reuse_venv=True)
def reference(session: nox.Session) -> None:
    """Write the reference pages; `-- --check` compares instead.

    The tests compare them, too.
    """
    install(session, "codegen", project=("-e", PROJECT))
    session.run("python", "-m", "codegen.reference", *session.posargs)


@nox.session(reuse_venv=True)
def picture(session: nox.Session) -> None:
    """Take the README's picture of a report; needs Chromium."""
    install(session, "test", project=("-e", PROJECT))
    session.run("python", "-m", "tests.examples.picture")


@nox.session(reuse_venv=True)
def accessibility(session: nox.Session) -> None:
    """Search the pages for barriers; needs Chromium and npm."""
    install(session, "test", project=("-e", PROJECT))
    axe = npm_install(session, AXE) / "axe-core" / "axe.min.js"
    session.run("python", "-m", "tests.examples.accessibility", str(axe))


@nox.session(reuse_venv=True)
def clouds(session: nox.Session) -> None:
    """Test all object stores, Azure's with Azurite; needs npm.

    Arguments go to pytest.
    """
    install(session, "test", project=("-e", f"{PROJECT.removesuffix(']')},azure]"))
    azurite = npm_install(session, AZURITE) / ".bin" / "azurite-blob"
    session.run("pytest", "tests/objects", *session.posargs, env={"ELSPETH_TEST_AZURITE": str(azurite)})


@nox.session(reuse_venv=True)
def clusters(session: nox.Session) -> None:
    """Test work that the workers of a Dask cluster share.

    Arguments go to pytest.
    """
    install(session, "test", project=("-e", f"{PROJECT.removesuffix(']')},dask]"))
    session.run("pytest", "-n", "auto", "-m", "", *CLUSTER_TESTS, *session.posargs)


@nox.session(reuse_venv=True)
def editors(session: nox.Session) -> None:
    """Test what editors know about settings; needs npm.

    Arguments go to pytest.
    """
    install(session, "test", project=("-e", PROJECT))
    server = npm_install(session, YAML_SERVER) / ".bin" / "yaml-language-server"
    session.run("pytest", "tests/cli/test_editors.py", *session.posargs, env={"ELSPETH_TEST_YAML_SERVER": str(server)})


def npm_install(session: nox.Session, package: str) -> Path:
    """Install a package of npm, and return `node_modules`."""
    directory = Path(session.create_tmp()).absolute()
    quiet = ("--no-save", "--ignore-scripts", "--no-audit", "--no-fund")
    session.run("npm", "install", *quiet, "--prefix", str(directory), package, external=True)
    return directory / "node_modules"


@nox.session(reuse_venv=True)
def schema_lint(session: nox.Session) -> None:
    """Check the schema against the rules of LinkML."""
    install(session, "schema-lint")
    session.run("linkml-lint", "--config", "schema/.linkmllint.yaml", "schema/landscape.yaml")


@nox.session(reuse_venv=True)
def crate(session: nox.Session) -> None:
    """Validate bags of examples as RO-Crates; arguments name examples."""
    session.install("roc-validator==0.13.0", ".")  # beside the lock, as it needs an older rich
    session.run("python", "-m", "tests.crates", *session.posargs)


@nox.session(reuse_venv=True)
def lock(session: nox.Session) -> None:
    """Resolve all dependencies into requirements.lock; `-- --upgrade` upgrades them."""
    session.install("uv")
    session.run(
        *("uv", "pip", "compile", "pyproject.toml", "--output-file", LOCK, "--quiet"),
        *("--universal", "--python-version", nox.project.python_versions(PYPROJECT)[0]),
        *("--all-extras", *(f"--group={group}" for group in PYPROJECT["dependency-groups"])),
        *("--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "nox -s lock"),
        *session.posargs,
    )


@nox.session(reuse_venv=True)
def bench(session: nox.Session) -> None:
    """Measure speed and memory; `-- --help` lists the options."""
    install(session, "test", project=(PROJECT,))
    session.run("python", "-m", "benchmarks.speed", *session.posargs)
    session.run("python", "-m", "benchmarks.memory")
    session.run("python", "-m", "benchmarks.speed", "workers", "--records", "2000000")
    session.run("python", "-m", "benchmarks.shared_runs")


@nox.session(reuse_venv=True)
def rivals(session: nox.Session) -> None:
    """Measure exports beside other tools; `-- --help` lists the options."""
    install(session, "test", "rivals", project=(PROJECT,))
    session.run("python", "-m", "benchmarks.rivals", *session.posargs)


@nox.session
def release(session: nox.Session) -> None:
    """Check, build and tag a release, without publishing it.

    Name the version: `nox -s release -- 0.2.0`.
    """
    if len(session.posargs) != 1:
        session.error("name the version: nox -s release -- 0.2.0")
    version = session.posargs[0]
    refuse_unfinished(session, version)
    session.run(sys.executable, "-m", "nox", "-s", *DEFAULT, "slow", "thorough", external=True)
    install(session, "release")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    session.install("--force-reinstall", *map(str, Path("dist").glob("*.whl")))
    session.run("elspeth", "run", "-s", "examples/audit_export/settings.yaml", "--execute")
    session.run("git", "tag", "--annotate", f"v{version}", "--message", f"elspeth {version}", external=True)
    session.log(f"tagged v{version}; to publish: git push origin v{version}, and upload dist/")


def refuse_unfinished(session: nox.Session, version: str) -> None:
    """End the session with every reason against a release."""
    lines = Path("CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    reasons = {
        "the tree has changes that are not committed": bool(git("status", "--porcelain")),
        f"src/elspeth/__init__.py does not say {version}": f'__version__ = "{version}"'
        not in Path("src/elspeth/__init__.py").read_text(encoding="utf-8"),
        f"CHANGELOG.md has no section '## {version} (YYYY-MM-DD)'": not any(
            re.fullmatch(rf"## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)", line) for line in lines
        ),
        f"the tag v{version} exists": bool(git("tag", "--list", f"v{version}")),
    }
    if found := [reason for reason, applies in reasons.items() if applies]:
        session.error(f"{version} cannot be released: {'; '.join(found)}")


def git(*arguments: str) -> str:
    """Return the output of a git command."""
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout
