"""The code and settings of the page about Python work."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

import pytest

from codegen.reference.pages import EXAMPLES
from elspeth.cli.program import main
from tests.fixtures.python_modules import ModuleWriter

PAGE = (Path(__file__).parent.parent / "docs" / "python.md").read_text(encoding="utf-8")
MODULE, *SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
[SETTINGS] = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
ORDERS = "name,amount\nzoë miller,100.00\ntest,1.00\nada king,2000.00\nada king,\n"


@pytest.fixture
def project(tmp_path: Path, write_module: ModuleWriter, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory in which the page begins."""
    write_module(MODULE, "orders")
    monkeypatch.delitem(sys.modules, "orders", raising=False)
    # Tests of the reference put the directory of its module there, which has the same name.
    monkeypatch.setattr(sys, "path", [each for each in sys.path if not Path(each, "orders.py").exists()])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elspeth.yaml").write_text(SETTINGS, encoding="utf-8")
    (tmp_path / "orders.csv").write_text(ORDERS, encoding="utf-8")
    return tmp_path


def test_the_page_lists_the_functions_of_the_api() -> None:
    shown = (EXAMPLES / "functions" / "orders.py").read_text(encoding="utf-8")
    assert shown.partition("\n\n")[2] == MODULE


def test_the_settings_of_the_page_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "-x"]) == 0
    capsys.readouterr()
    assert (project / "large.csv").read_text(encoding="utf-8") == "name,amount,total\nAda King,2000.00,2380.00\n"
    assert (project / "rest.csv").read_text(encoding="utf-8") == "name,amount,total\nZoë Miller,100.00,119.00\n"


def test_the_code_of_the_page_runs(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of it, in its order."""
    namespace: dict[str, object] = {}
    for snippet in SNIPPETS:
        exec(snippet, namespace)  # noqa: S102  our own page
    run_id = getattr(namespace["result"], "run_id", None)
    large, rest = (hashlib.sha256((project / name).read_bytes()).hexdigest() for name in ("large.csv", "rest.csv"))
    problem = "ValueError: field 'amount': expected a decimal, got empty text"
    assert capsys.readouterr().out.splitlines() == [
        f"{run_id} 4 1 {{'large': 1, 'rest': 1}}",
        f"1 at source csv: {problem} (first in row 3)",
        "completed rest",
        "3 csv line 5: field 'amount': expected a decimal, got empty text",
        f"large large.csv {large}",
        f"rest rest.csv {rest}",
        "1",
        "13 timestamp[us, tz=UTC] ['row', 'token_id', 'outcome', 'sink', 'step', 'kind', 'reason'] 3",
    ]
