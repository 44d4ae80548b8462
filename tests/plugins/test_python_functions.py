"""Steps call functions of Python."""

from __future__ import annotations

import hashlib

import pytest
from pydantic import ValidationError

from elspeth.contracts.plugins import PluginKind, RowDrop, RowError
from elspeth.contracts.rows import RowData
from elspeth.plugins.manager import PluginManager
from tests.fixtures.python_modules import ModuleWriter
from tests.plugins.transforms.processing import problem_of, process

PLUGINS = PluginManager.installed()
RULES = """
from elspeth.contracts.plugins import RowDrop, RowError

def total(net: int, tax: int = 1) -> int:
    return net + tax

def keep_even(row: dict[str, object]) -> dict[str, object] | None:
    return row if row["net"] % 2 == 0 else None

def forget(row: dict[str, object]) -> dict[str, object]:
    return None

def split(row: dict[str, object]) -> list[dict[str, object]]:
    return [row, {}]

def share(net: int) -> float | RowError | RowDrop:
    if net < 0:
        return RowError(message="negative")
    return net / 2 if net else RowDrop(reason="nothing")

def decide(net: int) -> dict[str, object] | RowError | RowDrop:
    answers = {1: RowError(message="too small"), 2: RowDrop(reason="not wanted")}
    return answers.get(net, {"net": net})
"""


@pytest.mark.parametrize(
    ("function", "row", "result"),
    [
        ("total", {"net": 1, "tax": 2}, {"net": 1, "tax": 2, "sum": 3}),
        ("total", {"tax": 2}, RowError(message="field 'net' is missing", details={"field": "net"})),
        (
            "total",
            {"net": "five"},
            RowError(message="field 'net': expected int, got text of 4 characters", details={"field": "net"}),
        ),
        ("keep_even", {"net": 2}, {"net": 2}),
        (
            "keep_even",
            {"net": 3},
            RowDrop(reason="the function returned None", details={"function": "rules:keep_even"}),
        ),
        ("forget", {"net": 2}, None),  # which the engine refuses: nothing says that rows are dropped
        ("split", {"net": 2}, [{"net": 2}, {}]),
        ("share", {"net": 2}, {"net": 2, "sum": 1.0}),
        ("share", {"net": 0}, RowDrop(reason="nothing")),
        ("share", {"net": -1}, RowError(message="negative")),
        ("decide", {"net": 1}, RowError(message="too small")),
        ("decide", {"net": 2}, RowDrop(reason="not wanted")),
        ("decide", {"net": 3}, {"net": 3}),
    ],
)
def test_a_function_decides_what_becomes_of_a_row(
    write_module: ModuleWriter, function: str, row: RowData, result: object
) -> None:
    options = {"result": "sum"} if function in {"total", "share"} else {}
    found = process("python", row, function=f"rules:{function}", directory=str(write_module(RULES)), **options)
    assert found == result


def test_the_result_of_a_transform_is_known_before_it_runs(write_module: ModuleWriter) -> None:
    directory = str(write_module(RULES))
    assert PLUGINS.expands("python", {"function": "rules:split", "directory": directory})
    assert not PLUGINS.expands("python", {"function": "rules:split", "directory": directory, "result": "parts"})
    assert problem_of("python", function="rules:total", directory=directory) == (
        "function 'rules:total': expected to return a row (`dict[str, object]`) or a list of rows, got int: "
        "name the field for another result with `result`"
    )


@pytest.mark.parametrize("kind", [PluginKind.TRANSFORM, PluginKind.AGGREGATION])
def test_a_function_that_does_not_exist_is_a_problem_of_the_options(
    write_module: ModuleWriter, kind: PluginKind
) -> None:
    options = {"function": "rules:gone", "directory": str(write_module(RULES))}
    with pytest.raises(ValidationError) as caught:
        PLUGINS.options_model(kind, "python").model_validate(options)
    (problem,) = caught.value.errors()
    assert str(problem["ctx"]["error"]).startswith("function 'rules:gone'")


@pytest.mark.parametrize("kind", [PluginKind.TRANSFORM, PluginKind.AGGREGATION])
def test_a_step_is_recorded_with_the_hash_of_its_function(write_module: ModuleWriter, kind: PluginKind) -> None:
    source = "def f(rows: list[dict]) -> list[dict]:\n    return rows\n\n" + RULES
    function = "rules:split" if kind is PluginKind.TRANSFORM else "rules:f"
    make = PLUGINS.transform if kind is PluginKind.TRANSFORM else PLUGINS.aggregation
    described = make("python", {"function": function, "directory": str(write_module(source))}).prepare()
    assert hashlib.sha256(source.encode()).hexdigest() in described.values()


@pytest.mark.parametrize("kind", [PluginKind.TRANSFORM, PluginKind.AGGREGATION])
def test_a_function_counts_as_deterministic_only_if_the_settings_promise_it(
    write_module: ModuleWriter, kind: PluginKind
) -> None:
    directory = write_module("def f(rows: list[dict]) -> list[dict]:\n    return rows\n\n" + RULES)
    function = "rules:split" if kind is PluginKind.TRANSFORM else "rules:f"
    options = {"function": function, "directory": str(directory)}
    make = PLUGINS.transform if kind is PluginKind.TRANSFORM else PLUGINS.aggregation
    assert make("python", options).determinism == "non_deterministic"
    assert make("python", {**options, "deterministic": True}).determinism == "deterministic"
