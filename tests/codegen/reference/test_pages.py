"""The reference pages name every key; their examples are valid."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

import pytest
import yaml
from jsonschema import Draft7Validator
from pydantic import BaseModel

from codegen.reference.__main__ import main
from codegen.reference.pages import EXAMPLES, PAGES, gaps
from elspeth.contracts.environment import VARIABLES
from elspeth.contracts.plugins import Plugin, PluginKind
from elspeth.contracts.schema import SCHEMA_MODES, SUPPORTED_TYPES
from elspeth.core.settings import load_settings
from elspeth.core.settings._yaml_file import PlainValue, read_settings_file
from elspeth.core.settings.json_schema import settings_schema
from elspeth.core.settings.model import PositionalSettings, Settings, WiredSettings
from elspeth.plugins.manager import BUILTIN, PluginManager

DOCS = Path(__file__).parents[3] / "docs"
SETTINGS_PAGE = (DOCS / "settings.md").read_text(encoding="utf-8")
PLUGINS = PluginManager((), BUILTIN)
SCHEMA = Draft7Validator(settings_schema(PLUGINS))


def parts(page: str) -> Mapping[str, str]:
    """Return the text below each heading.

    The beginning of the page stands at ''.
    """
    beginning, *rest = re.split(r"^## (.+)\n", page, flags=re.MULTILINE)
    return {"": beginning, **dict(zip(rest[::2], rest[1::2], strict=True))}


def listed_keys(text: str) -> set[str]:
    """Return the first column of tables."""
    return set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models in a type and their fields."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models_in(field.annotation)
    for part in get_args(annotation):
        yield from models_in(part)


def keys_of(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def test_the_page_of_settings_has_every_key_of_every_section() -> None:
    tables = [listed_keys(text) for text in parts(SETTINGS_PAGE).values()]
    sections = {section for form in (PositionalSettings, WiredSettings) for section in models_in(form)}
    assert len(sections) > 10
    assert [section.__name__ for section in sections if keys_of(section) not in tables] == []


def test_the_page_of_settings_has_every_variable_and_type() -> None:
    text = parts(SETTINGS_PAGE)
    assert listed_keys(text["Environment variables"]) == set(VARIABLES)
    assert set(re.findall(r"`([\w()]+)`", text["Row schemas"])) >= {*SCHEMA_MODES, *SUPPORTED_TYPES}


@pytest.mark.parametrize("plugin", PLUGINS.all(), ids=lambda plugin: f"{plugin.kind}-{plugin.name}")
def test_the_page_of_plugins_has_every_option(plugin: type[Plugin]) -> None:
    text = parts((DOCS / PAGES[plugin.kind]).read_text(encoding="utf-8"))
    shared, own = listed_keys(text[""]), listed_keys(text[f"`{plugin.name}`"])
    assert shared | own == keys_of(plugin.options_model)


@pytest.mark.parametrize("plugin", PLUGINS.all(), ids=lambda plugin: f"{plugin.kind}-{plugin.name}")
def test_every_plugin_has_an_example_that_is_valid(plugin: type[Plugin], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)  # where the functions are
    text = (EXAMPLES / plugin.kind / f"{plugin.name}.yaml").read_text(encoding="utf-8")
    example = yaml.safe_load(text)
    assert example["plugin"] == plugin.name
    plugin(plugin.options_model.model_validate(example.get("options", {})))
    assert f"```yaml\n{text}```" in (DOCS / PAGES[plugin.kind]).read_text(encoding="utf-8")


def test_every_example_belongs_to_an_existing_plugin_or_section() -> None:
    places = {path.relative_to(EXAMPLES).with_suffix("").as_posix() for path in EXAMPLES.rglob("*.yaml")}
    plugins = {f"{kind}/{name}" for kind in PluginKind for name in PLUGINS.names(kind)}
    shown = {f"settings/{heading.replace('`', '')}" for heading in parts(SETTINGS_PAGE)}
    shown |= {"settings/pipeline", "settings/wired"}
    assert places - plugins - shown == set()


WHOLE = ("pipeline", "wired")
FORMS: Mapping[str, type[Settings]] = {"pipeline": PositionalSettings, "wired": WiredSettings}


@pytest.mark.parametrize("name", WHOLE)
def test_the_examples_of_settings_are_valid(name: str) -> None:
    load_settings(EXAMPLES / "settings" / f"{name}.yaml", environ={}, plugins=PLUGINS)


def sections() -> set[str]:
    """Return the names of the sections on the page."""
    headings = {heading for heading in parts(SETTINGS_PAGE) if heading.startswith("`")}
    return {heading.replace("`", "") for heading in headings}


def test_gaps_in_the_pages_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert gaps() == []
    monkeypatch.setattr("codegen.reference.pages.EXAMPLES", tmp_path)
    assert {
        "codegen/reference/examples/sink/csv.yaml: write an example",
        "codegen/reference/examples/settings/retry.yaml: write an example",
    } <= {*gaps()}
    monkeypatch.setattr(
        "codegen.reference.pages.pages", lambda: {"settings.md": "## `retry`\n\n| `delay` | number |  |  |\n"}
    )
    assert gaps()[-1] == "docs/settings.md, ## `retry`: `delay` has no meaning: describe it"


def example_tree(name: str) -> dict[str, PlainValue]:
    return read_settings_file(EXAMPLES / "settings" / f"{name}.yaml")


@pytest.mark.parametrize("name", sorted(sections() & {path.stem for path in (EXAMPLES / "settings").iterdir()}))
def test_the_example_of_a_section_is_valid_in_its_form_of_settings(name: str) -> None:
    """It replaces that section of a whole example."""
    trees = {whole: {**example_tree(whole), **example_tree(name)} for whole in WHOLE}
    fitting = [whole for whole, tree in trees.items() if SCHEMA.is_valid(tree)]
    assert fitting != []
    for whole in fitting:
        FORMS[whole].model_validate(trees[whole])


@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_the_command_reports_gaps_in_the_pages(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("codegen.reference.__main__._DOCS", tmp_path)
    (tmp_path / "plugins").mkdir()
    assert main([]) == 0
    capsys.readouterr()
    gap = "codegen/reference/examples/sink/csv.yaml: write an example"
    monkeypatch.setattr("codegen.reference.__main__.gaps", lambda: [gap])
    assert main(arguments) == 1
    assert capsys.readouterr().err == f"{gap}\n"


def test_the_command_names_the_page_that_differs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("codegen.reference.__main__._DOCS", tmp_path)
    (tmp_path / "plugins").mkdir()
    assert main([]) == 0
    assert main(["--check"]) == 0
    page = tmp_path / "settings.md"
    page.write_text(page.read_text().replace("`max_workers`", "`workers`"))
    capsys.readouterr()
    assert main(["--check"]) == 1
    output = capsys.readouterr().err
    assert "-| `workers` |" in output
    assert output.endswith("Reference pages differ from the models. Run: python -m codegen.reference\n")
