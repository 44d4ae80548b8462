"""What messages and documents say about installing extras."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from elspeth.contracts.environment import install_command, missing_package

ROOT = Path(__file__).parent.parent.parent
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
COMMAND = re.compile(r"pip install (?:--\S+ )*['\"]?([^'\"`\s]+)")


def named(*paths: Path) -> set[str]:
    """What `pip install` installs, as the files say."""
    return {name for path in paths for name in COMMAND.findall(path.read_text(encoding="utf-8"))}


def test_a_missing_package_is_installed_from_a_checkout() -> None:
    expected = "needs nosuch, which is not installed: in a checkout of elspeth, pip install '.[llm]'"
    assert missing_package("nosuch", "llm") == expected
    assert missing_package("json", "llm") is None


def test_nothing_is_installed_by_a_name_that_others_could_take() -> None:
    """The name is not registered in any package index."""
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    allowed = {".", "nox[uv]", "./examples/plugin_package", *(f".[{extra}]" for extra in EXTRAS)}
    assert named(*documents) - allowed == set()


def test_one_function_says_how_to_install_an_extra() -> None:
    """The verifier shares no code with the rest, but says the same."""
    sources = set((ROOT / "src").rglob("*.py"))
    ours, verifier = (
        ROOT / "src" / "elspeth" / name for name in ("contracts/environment.py", "evidence/format/timestamp.py")
    )
    assert named(*(sources - {ours, verifier})) == set()
    assert install_command("timestamp") in verifier.read_text()
