"""The example package with a plugin: entry point, run, docs."""

import re
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from elspeth.contracts.plugins import PluginKind
from elspeth.plugins import manager as manager_module
from elspeth.plugins.manager import PluginManager
from tests.examples.running import EXAMPLES, run_example

PACKAGE = EXAMPLES / "plugin_package"
DOCS = (EXAMPLES.parent / "docs" / "plugins.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that the package is installed.

    Its code is on the path, and its entry points are those of its pyproject.toml.
    """
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    found = [
        EntryPoint(name=name, value=value, group=group)
        for group, entries in project["entry-points"].items()
        for name, value in entries.items()
    ]
    monkeypatch.syspath_prepend(str(PACKAGE / "src"))
    monkeypatch.setattr(manager_module, "entry_points", lambda *, group: [e for e in found if e.group == group])
    for name in [name for name in sys.modules if name.startswith("elspeth_iban")]:
        monkeypatch.delitem(sys.modules, name)


def test_the_plugin_is_found() -> None:
    assert "iban" in PluginManager.installed().names(PluginKind.TRANSFORM)


def test_the_plugin_changes_rows_as_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = {path.name: path.read_text(encoding="utf-8") for path in (PACKAGE / "expected").iterdir()}
    assert run_example("plugin_package", tmp_path) == expected


def test_its_tests_pass(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["-q", "-pno:cacheprovider", "-pno:unraisableexception", "--import-mode=importlib"]
    options += [f"--rootdir={PACKAGE}", "-c/dev/null"]
    assert pytest.main([*options, str(PACKAGE / "tests")]) == 0
    assert " passed" in capsys.readouterr().out


def test_the_documentation_shows_the_package_as_it_is() -> None:
    sources = "\n".join(
        (PACKAGE / name).read_text(encoding="utf-8")
        for name in (
            *("pyproject.toml", "src/elspeth_iban/__init__.py", "src/elspeth_iban/transform.py"),
            "tests/test_transform.py",
        )
    )
    blocks = re.findall(r"```(?:python|toml)\n(.*?)```", DOCS, flags=re.DOTALL)
    shown = [line for block in blocks if "iban" in block.lower() for line in block.splitlines()]
    code = [line.removesuffix(" ...") for line in shown if line and not line.startswith("#")]
    assert [line for line in code if line not in sources] == []
