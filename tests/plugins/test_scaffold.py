"""New packages of plugins."""

import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from elspeth.contracts.plugins import PluginKind
from elspeth.plugins import manager as manager_module
from elspeth.plugins.manager import PluginManager
from elspeth.plugins.scaffold import package_files, plugin_name_problem, write_package

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(params=PluginKind)
def package(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[PluginKind, Path]:
    """Make a package, as if it were installed."""
    kind: PluginKind = request.param
    directory = tmp_path / "package"
    write_package(package_files(kind, "own"), directory)
    groups = tomllib.loads((directory / "pyproject.toml").read_text())["project"]["entry-points"]
    found = [EntryPoint(name, value, group) for group, points in groups.items() for name, value in points.items()]
    monkeypatch.syspath_prepend(str(directory / "src"))
    monkeypatch.setattr(
        manager_module, "entry_points", lambda *, group: [each for each in found if group == each.group]
    )
    for name in [name for name in sys.modules if name.startswith("elspeth_own")]:
        monkeypatch.delitem(sys.modules, name)
    return kind, directory


def test_the_plugin_is_found_and_described(package: tuple[PluginKind, Path]) -> None:
    kind, _ = package
    plugins = PluginManager.installed()
    assert "own" in plugins.names(kind)
    (plugin,) = [each for each in plugins.all() if each.name == "own"]
    assert plugin.description() != ""
    own = {key: field for key, field in plugin.options_model.model_fields.items() if key not in {"on_error", "path"}}
    assert [key for key, field in own.items() if not field.description] == []


def test_the_tests_of_a_new_package_pass(package: tuple[PluginKind, Path], capsys: pytest.CaptureFixture[str]) -> None:
    _, directory = package
    # Checking for unraisable exceptions collects the garbage of all tests five times.
    options = ["-q", "-pno:cacheprovider", "-pno:unraisableexception", "--import-mode=importlib"]
    options.append("--override-ini=addopts=")
    code = pytest.main([*options, f"--rootdir={directory}", f"-c{directory / 'pyproject.toml'}", str(directory)])
    output = capsys.readouterr().out
    assert code == 0, output
    assert " passed" in output


@pytest.mark.thorough
def test_the_code_of_a_new_package_satisfies_linter_and_type_checker(package: tuple[PluginKind, Path]) -> None:
    kind, directory = package
    for tool in (
        ["ruff", "check", "--isolated", "--line-length=120"],
        ["ruff", "format", "--isolated", "--line-length=120", "--check"],
    ):
        subprocess.run([sys.executable, "-m", *tool, "."], check=True, cwd=directory)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "src", "tests"], check=False, cwd=directory
    )
    assert checked.returncode == 0, kind


@pytest.mark.parametrize("name", ["", "Upper", "9lives", "with-dash", "../up", "a" * 42, "naïve", "a b"])
def test_an_impossible_name_is_refused(name: str) -> None:
    problem = plugin_name_problem(name)
    expected = "expected lower-case letters, digits and underscores, beginning with a letter, got "
    assert problem == f"{expected}{name!r}"


@pytest.mark.parametrize("name", ["a", "own_2", "a" * 41])
def test_other_names_are_not_refused(name: str) -> None:
    assert plugin_name_problem(name) is None


def test_nothing_is_ever_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError):
        write_package(package_files(PluginKind.SINK, "own"), tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_name_of_several_words_names_package_class_and_module() -> None:
    made = package_files(PluginKind.SINK, "a_b_c")
    assert tomllib.loads(made[Path("pyproject.toml")])["project"]["name"].endswith("a-b-c")
    assert "class ABCSink" in made[Path("src/elspeth_a_b_c/plugin.py")]
    assert list(made) == sorted(made)
