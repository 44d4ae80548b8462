"""Messages and documents agree on how to install extras."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from elspeth.contracts.environment import LEAST_KEY, install_command, key_bytes, key_problem, missing_package

ROOT = Path(__file__).parent.parent.parent
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
COMMAND = re.compile(r"pip install (?:--\S+ )*(?!-e )['\"]?([^'\"`\s]+)")
"""What comes after `-e` is always a directory."""


def packages_to_install(*paths: Path) -> set[str]:
    """Return the arguments of `pip install` in files."""
    return {name for path in paths for name in COMMAND.findall(path.read_text(encoding="utf-8"))}


def test_a_missing_package_is_to_be_installed_from_a_checkout() -> None:
    expected = "needs nosuch, which is not installed: in a checkout of elspeth, pip install '.[llm]'"
    assert missing_package("nosuch", "llm") == expected
    assert missing_package("json", "llm") is None


def test_the_length_of_a_key_is_that_of_its_bytes() -> None:
    advice = "make one with python -c 'import secrets; print(secrets.token_hex(32))'"
    expected = f"expected at least {LEAST_KEY} bytes, got {LEAST_KEY - 1}; {advice}"
    assert key_problem("A_KEY", "k" * (LEAST_KEY - 1)) == f"A_KEY is too short for a key: {expected}"
    assert key_problem("A_KEY", "k" * LEAST_KEY) is None
    assert key_problem("A_KEY", "ü" * (LEAST_KEY // 2)) is None


def test_a_key_that_is_no_text_keeps_its_bytes() -> None:
    assert key_bytes("k\udcff") == b"k\xff"


def test_no_page_installs_by_a_name_that_others_could_register() -> None:
    """The name is not registered in any package index."""
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    allowed = {".", "nox[uv]", "datasette", "./examples/plugin_package", *(f".[{extra}]" for extra in EXTRAS)}
    named = packages_to_install(*documents) - allowed
    assert {name for name in named if not name.startswith("/")} == set()  # others are directories


def test_only_one_function_says_how_to_install_an_extra() -> None:
    """Only the rooms of evidence and outputs repeat it."""
    sources = set((ROOT / "src").rglob("*.py"))
    function = ROOT / "src" / "elspeth" / "contracts" / "environment.py"
    timestamp = ROOT / "src" / "elspeth" / "evidence" / "format" / "timestamp.py"
    compression = ROOT / "src" / "elspeth" / "outputs" / "compression.py"
    assert packages_to_install(*(sources - {function, timestamp, compression})) == set()
    assert install_command("timestamp") in timestamp.read_text()
    assert install_command("zstd") in compression.read_text()
