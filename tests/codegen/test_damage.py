"""Given a damaged schema, codegen explains the fault or succeeds."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codegen.errors import SchemaError
from codegen.load import load_model

CASES = Path(__file__).parent / "cases"

Yaml = dict[str, "Yaml"] | list["Yaml"] | str | int | float | bool | None
Step = str | int

REMOVED = "\0"
VALUES: list[Yaml] = [
    REMOVED,
    None,
    "",
    "run_id",
    "two words",
    0,
    -1,
    1.5,
    True,
    False,
    [],
    ["run_id"],
    {},
    {"x": None},
]
SCHEMAS: list[Yaml] = [
    yaml.safe_load((CASES / case / "schema" / "landscape.yaml").read_text())
    for case in ("good_variants", "good_exactly_one", "good_every_kind")
]


def places(value: Yaml, path: tuple[Step, ...] = ()) -> Iterator[tuple[Step, ...]]:
    """Yield the path to each key and item in it."""
    if isinstance(value, dict | list):
        steps: list[Step] = list(value) if isinstance(value, dict) else list(range(len(value)))
        for step in steps:
            yield (*path, step)
            yield from places(inside(value, step), (*path, step))


def inside(value: Yaml, step: Step) -> Yaml:
    if isinstance(value, dict):
        return value[str(step)]
    assert isinstance(value, list)
    return value[int(step)]


def damaged(schema: Yaml, path: tuple[Step, ...], value: Yaml) -> Yaml:
    """Replace the value at the path, or remove it."""
    copy = deepcopy(schema)
    target = copy
    for step in path[:-1]:
        target = inside(target, step)
    assert isinstance(target, dict | list)
    if value == REMOVED:
        del target[path[-1]]  # type: ignore[arg-type]
    else:
        target[path[-1]] = value  # type: ignore[index]
    return copy


@st.composite
def damaged_schemas(draw: st.DrawFn) -> Yaml:
    schema = draw(st.sampled_from(SCHEMAS))
    for _ in range(draw(st.integers(1, 2))):
        schema = damaged(schema, draw(st.sampled_from(list(places(schema)))), draw(st.sampled_from(VALUES)))
    return schema


@given(schema=damaged_schemas())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # each example overwrites the file
def test_only_schema_errors_come_out(schema: Yaml, tmp_path: Path) -> None:
    (tmp_path / "kinds.yaml").write_text((CASES / "good_every_kind" / "schema" / "kinds.yaml").read_text())
    path = tmp_path / "landscape.yaml"
    path.write_text(yaml.safe_dump(schema, sort_keys=False))
    try:
        load_model(path)
    except SchemaError as error:
        for problem in error.problems:
            assert str(problem).startswith(("landscape.yaml: ", "kinds.yaml: "))
            assert "\n" not in str(problem)


def test_a_schema_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "landscape.yaml"
    path.write_bytes(b"name: \xc3\x28\n")
    with pytest.raises(SchemaError, match=r"^landscape\.yaml: not YAML: "):
        load_model(path)
