"""Rendering depends only on the meaning of the schema."""

import shutil
from pathlib import Path

import pytest
import yaml

from codegen.__main__ import main
from codegen.history import EPOCHS
from codegen.load import load_model
from codegen.render import Source, render, source_of
from codegen.snapshot import snapshot_of
from tests.codegen.trees import tree

SCHEMA = Path(__file__).parents[2] / "schema"
CASES = Path(__file__).parent / "cases"

HERE = Source(name="here", digest="0")

Yaml = dict[str, object]

ORDERED = {"attributes", "enums", "permissible_values", "unique_keys"}
"""Mappings whose order the schema uses: of tables, of enums, of values, of constraints."""


def reversed_keys(value: object) -> object:
    """Return the value with the keys of its mappings reversed.

    Mappings whose order has a meaning stay as they are.
    """
    if isinstance(value, list):
        return [reversed_keys(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: {name: reversed_keys(item) for name, item in value[key].items()}
        if key in ORDERED
        else reversed_keys(value[key])
        for key in reversed(value)
    }


@pytest.mark.parametrize("schema", [SCHEMA, CASES / "good_variants" / "schema"], ids=["landscape", "good_variants"])
def test_the_order_of_keys_does_not_matter(schema: Path, tmp_path: Path) -> None:
    for file in schema.glob("*.yaml"):
        content = yaml.safe_load(file.read_text())
        turned = yaml.safe_dump(reversed_keys(content), sort_keys=False)
        assert list(yaml.safe_load(turned)) == list(reversed(content))
        (tmp_path / file.name).write_text(turned)
    assert load_model(tmp_path / "landscape.yaml") == load_model(schema / "landscape.yaml")


def test_rendering_twice_gives_the_same_sorted_map() -> None:
    model = load_model(CASES / "good_every_kind" / "schema" / "landscape.yaml")
    history = (snapshot_of(model),)
    first, second = render(model, HERE, history), render(model, HERE, history)
    assert list(first.items()) == list(second.items())
    assert list(first) == sorted(first)


def test_every_file_begins_with_the_three_header_lines() -> None:
    schema = CASES / "good_minimal" / "schema" / "landscape.yaml"
    source, model = source_of(schema), load_model(schema)
    for path, text in render(model, source, (snapshot_of(model),)).items():
        if path.startswith(EPOCHS):
            continue  # a snapshot is of its own epoch's schema
        start = text[:500]
        said = [start.index(line) for line in (source.name, "Do not edit", "Regenerate with: nox -s codegen")]
        assert said == sorted(said)


def test_only_one_file_holds_the_hash_of_the_schema() -> None:
    model = load_model(CASES / "good_minimal" / "schema" / "landscape.yaml")
    history = (snapshot_of(model),)
    first, second = (render(model, Source(name="here", digest=digest), history) for digest in ("0", "1"))
    assert [path for path in first if first[path] != second[path]] == ["elspeth_schema/__init__.py"]


def test_a_remark_in_the_schema_changes_one_generated_file(tmp_path: Path) -> None:
    case = shutil.copytree(CASES / "good_minimal", tmp_path / "case")
    before, schema = tree(case / "expected"), case / "schema" / "landscape.yaml"
    with schema.open("a", encoding="utf-8") as file:
        file.write("# a remark\n")
    assert main(["--schema", str(schema), "--output", str(case / "expected"), "--amend"]) == 0
    after = tree(case / "expected")
    assert [path for path in after if before.get(path) != after[path]] == ["elspeth_schema/__init__.py"]


def test_the_hash_changes_with_any_schema_file(tmp_path: Path) -> None:
    for name, text in (("landscape.yaml", "a: 1"), ("part.yaml", "b: 2"), (".linkmllint.yaml", "rules: {}")):
        (tmp_path / name).write_text(text)
    before = source_of(tmp_path / "landscape.yaml")
    (tmp_path / ".linkmllint.yaml").write_text("rules: none")
    assert source_of(tmp_path / "landscape.yaml") == before
    (tmp_path / "part.yaml").write_text("b: 3")
    assert source_of(tmp_path / "landscape.yaml") != before
