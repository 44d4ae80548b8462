"""A function is imported, and its source identified."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from importlib import metadata
from pathlib import Path

import pytest

from elspeth.contracts.python_functions import FunctionError, load_function
from tests.fixtures.python_modules import ModuleWriter

RULES = """__version__ = "1.2"

def double(row):
    return 2 * row

def triple(row):
    return 3 * row

def _helper(row):
    return row

async def later(row):
    return row

Value = 7
from json import dumps
"""


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_function_is_described_by_its_path_version_and_source_hash(write_module: ModuleWriter) -> None:
    directory = write_module(RULES)
    loaded = load_function("rules:double", str(directory))
    assert loaded.function(4) == 8
    assert loaded.describe() == {"function": "rules:double", "sha256": sha256(RULES), "version": "1.2"}
    assert list(directory.iterdir()) == [directory / "rules.py"], "nothing is written"


def test_a_function_of_an_installed_package_has_the_version_of_the_package() -> None:
    loaded = load_function("rfc8785._impl:dumps", None)
    assert loaded.version == sys.modules["rfc8785"].__version__
    assert loaded.sha256 == sha256(Path(str(sys.modules["rfc8785._impl"].__file__)).read_text())


def test_a_module_of_a_package_without_a_version_of_its_own_has_that_of_the_distribution() -> None:
    loaded = load_function("hypothesis.errors:__getattr__", None)
    assert loaded.version == sys.modules["hypothesis"].__version__


def test_a_module_has_the_version_of_its_package(write_module: ModuleWriter) -> None:
    write_module("__version__ = '3.1'\n", "parts/__init__")
    directory = write_module("def f(row):\n    return row\n", "parts/own")
    assert load_function("parts.own:f", str(directory)).version == "3.1"
    assert load_function("tenacity._utils:get_callback_name", None).version == metadata.version("tenacity")


def test_the_hash_is_that_of_the_source_that_runs(write_module: ModuleWriter) -> None:
    """A cache counts as current by size and time alone."""
    directory = write_module("def answer(row):\n    return 1\n")
    path = directory / "rules.py"
    status = path.stat()
    sys.path.append(str(directory))
    __import__("rules")  # writes the cache
    del sys.modules["rules"]
    changed = "def answer(row):\n    return 2\n"
    path.write_text(changed)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    loaded = load_function("rules:answer", str(directory))
    assert (loaded.function({}), loaded.sha256) == (2, sha256(changed))


def test_a_function_whose_source_changed_is_imported_again(write_module: ModuleWriter) -> None:
    directory = write_module(RULES)
    first = load_function("rules:double", str(directory))
    assert load_function("rules:double", str(directory)).function is first.function
    changed = RULES.replace("2 *", "4 *")
    write_module(changed)
    again = load_function("rules:double", str(directory))
    assert (again.function(1), again.sha256) == (4, sha256(changed))
    (directory / "rules.py").unlink()
    with pytest.raises(FunctionError, match="there is no module 'rules'"):
        load_function("rules:double", str(directory))


def test_modules_beside_the_settings_need_a_directory(
    write_module: ModuleWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = write_module(RULES)
    monkeypatch.chdir(directory)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", ".")])
    with pytest.raises(FunctionError) as caught:
        load_function("rules:double", None)
    advice = "install it, or name its directory with `directory`"
    assert str(caught.value) == f"function 'rules:double': there is no module 'rules' in the environment: {advice}"
    assert load_function("rules:double", ".").function(1) == 2
    assert str(directory) == sys.path[-1], "it shadows nothing that is installed"
    load_function("rules:triple", ".")
    assert sys.path.count(str(directory)) == 1


@pytest.mark.parametrize(
    ("path", "source", "problem"),
    [
        ("rules:gone", RULES, "'gone' is missing; the functions of the module: double, later, triple"),
        (
            "rules:Value",
            RULES,
            "'Value' is int, not a function written in Python; the functions of the module: double, later, triple",
        ),
        ("rules:later", RULES, "expected one that returns its result, got a coroutine or generator"),
        ("other:double", RULES, "there is no module 'other' in {directory}"),
        ("other.rules:double", RULES, "there is no module 'other' in {directory}"),
        ("rules:f", "import not_there", "the module 'rules' cannot be imported: ModuleNotFoundError: {not_there}"),
        ("rules:f", "1 / 0", "the module 'rules' cannot be imported: ZeroDivisionError: division by zero"),
        ("rules:f", "raise SystemExit(3)", "the module 'rules' cannot be imported: SystemExit: 3"),
    ],
)
def test_a_function_that_cannot_be_imported_is_named(
    write_module: ModuleWriter, path: str, source: str, problem: str
) -> None:
    directory = write_module(source)
    with pytest.raises(FunctionError) as caught:
        load_function(path, str(directory))
    values = {"directory": directory, "not_there": "No module named 'not_there'"}
    assert str(caught.value) == f"function {path!r}: {problem.format(**values)}"
    assert (path.startswith("rules") and source == RULES) == ("rules" in sys.modules), "no half-imported module stays"


@pytest.mark.parametrize(
    "source",
    [
        "async def f(row):\n    return row\n",
        "def f(row):\n    yield row\n",
        "async def f(row):\n    yield row\n",
    ],
    ids=["coroutine", "generator", "asynchronous generator"],
)
def test_a_function_that_does_not_return_its_result_is_refused(write_module: ModuleWriter, source: str) -> None:
    with pytest.raises(FunctionError, match="expected one that returns its result, got a coroutine or generator"):
        load_function("rules:f", str(write_module(source)))


def test_a_function_imported_from_another_module_is_named_by_that_module(write_module: ModuleWriter) -> None:
    """Its source is in the other module."""
    with pytest.raises(FunctionError, match="'rules:dumps' is another module's: expected 'json:dumps'"):
        load_function("rules:dumps", str(write_module(RULES)))


def test_a_function_of_a_neighbouring_module_is_named_by_that_module(write_module: ModuleWriter) -> None:
    write_module("", "parts/__init__")
    write_module("def f(row):\n    return row\n", "parts/own")
    directory = write_module("from parts.own import f\n", "parts/shown")
    with pytest.raises(FunctionError, match=r"'parts\.shown:f' is another module's: expected 'parts\.own:f'"):
        load_function("parts.shown:f", str(directory))
    assert load_function("parts.own:f", str(directory)).function(1) == 1
    write_module("def f(row):\n    return row\n", "parts/alone")
    load_function("parts.alone:f", str(directory))
    assert sys.modules["parts"].alone is sys.modules["parts.alone"], "as after any import"


def test_a_module_with_the_name_of_an_imported_one_is_refused(write_module: ModuleWriter) -> None:
    directory = write_module(RULES, "json")
    with pytest.raises(FunctionError) as caught:
        load_function("json:double", str(directory))
    assert str(caught.value) == (
        f"function 'json:double': the module 'json' of this process is {json.__file__}, not one in {directory}: "
        "give yours another name"
    )
    with pytest.raises(FunctionError, match="the directory 'nowhere' does not exist"):
        load_function("json:double", "nowhere")
