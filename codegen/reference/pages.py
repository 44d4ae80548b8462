"""The reference pages as text."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from elspeth.contracts.environment import VARIABLES
from elspeth.contracts.plugins import Plugin, PluginKind
from elspeth.contracts.schema import SUPPORTED_TYPES
from elspeth.core.settings.json_schema import JsonSchema, settings_schema
from elspeth.core.settings.schema_text import default_text, reference, type_text
from elspeth.plugins.manager import BUILTIN, PluginManager

__all__ = ["EXAMPLES", "PAGES", "pages"]

_HERE = Path(__file__).parent

EXAMPLES = _HERE / "examples"
"""An example of each plugin in KIND/NAME.yaml, and of sections of settings in settings/SECTION.yaml."""

PAGES: Mapping[PluginKind, str] = {
    PluginKind.SOURCE: "plugins/sources.md",
    PluginKind.TRANSFORM: "plugins/transforms.md",
    PluginKind.AGGREGATION: "plugins/aggregations.md",
    PluginKind.SINK: "plugins/sinks.md",
}
"""The page about the plugins of each kind."""

_NOTE = "<!-- Made by `nox -s reference` from the models in src/ and the texts in codegen/reference/: edit those. -->\n"
_HEAD = "| key | type | default | meaning |\n|---|---|---|---|\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """A section of settings: its path, such as `landscape.export`."""

    path: str
    name: str
    schema: JsonSchema

    @property
    def heading(self) -> str:
        """Return the heading of the section."""
        is_also_wired = self.name.startswith("Positional") and self.path != "row_plugins[]"
        return f"`{self.path}` by position" if is_also_wired else f"`{self.path}`"

    @property
    def title(self) -> str:
        """Return the heading as plain text, which names the example."""
        return self.heading.replace("`", "")

    @property
    def link(self) -> str:
        """Return a link to the heading of the section."""
        anchor = re.sub(r"[^\w -]", "", self.heading.lower()).replace(" ", "-")
        return f"[`{self.path}`](#{anchor})"


@cache
def _builtin() -> tuple[PluginManager, JsonSchema]:
    """Return the plugins of elspeth, without installed ones."""
    plugins = PluginManager((), BUILTIN)
    return plugins, settings_schema(plugins)


def pages() -> dict[str, str]:
    """Return the pages by their paths below docs/."""
    plugins, schema = _builtin()
    by_kind = {kind: [plugin for plugin in plugins.all() if plugin.kind == kind] for kind in PluginKind}
    described = {page: _plugins_page(kind, by_kind[kind], schema) for kind, page in PAGES.items()}
    return {"settings.md": _settings_page(schema), **described}


def gaps() -> list[str]:
    """Return the descriptions and examples that the pages lack.

    Each text also says what to do.
    """
    plugins, schema = _builtin()
    examples = [Path(plugin.kind, f"{plugin.name}.yaml") for plugin in plugins.all()]
    sections = [each for each in _all_sections(schema) if "." not in each.path.removesuffix(".NAME")]
    examples += [Path("settings", f"{each.title}.yaml") for each in sections]
    lacking = [
        f"codegen/reference/examples/{path}: write an example" for path in examples if not (EXAMPLES / path).exists()
    ]
    for page, text in pages().items():
        heading = ""
        for line in text.splitlines():
            heading = line if line.startswith("#") else heading
            if line.startswith("| `") and line.endswith("|  |"):
                key = line.split(" | ")[0].strip("| ")
                lacking.append(f"docs/{page}, {heading}: {key} has no meaning: describe it")
    return lacking


def _settings_page(schema: JsonSchema) -> str:
    definitions = schema["definitions"]
    sections = _all_sections(schema)
    links = {each.name: each.link for each in sections}
    parts = [_NOTE, _text("settings")]
    for heading, form, example in (("wired by names", "then", "wired"), ("by position", "else", "pipeline")):
        parts += [
            f"## All keys, steps {heading}\n",
            _table(schema[form], links, definitions),
            _example("settings", example),
        ]
    for each in sections:
        parts += [
            f"## {each.heading}\n",
            _prose(each.schema.get("description", "")),
            _table(each.schema, links, definitions),
        ]
        parts.append(_example("settings", each.title))
    types = ", ".join(f"`{name}`" for name in sorted(SUPPORTED_TYPES))
    parts.append(f"{_text('schema')}The types of fields are {types}.\n")
    parts += [_text("environment"), "| variable | meaning |\n|---|---|\n" + "".join(map(_variable_line, VARIABLES))]
    parts.append(_text("keys"))
    return "\n".join(filter(None, parts))


def _all_sections(schema: JsonSchema) -> list[_Section]:
    """Return the sections of both forms, each once."""
    found = [each for form in ("then", "else") for each in _sections(schema[form], schema["definitions"], "")]
    return list({each.name: each for each in reversed(found)}.values())[::-1]


def _sections(schema: JsonSchema, definitions: Mapping[str, JsonSchema], path: str) -> Iterator[_Section]:
    """Yield the sections below one, each before its own."""
    for key, part in schema.get("properties", {}).items():
        for suffix, name in _references(part):
            section = definitions[name]
            if "properties" in section:
                place = f"{path}.{key}".removeprefix(".") + suffix
                yield _Section(path=place, name=name, schema=section)
                yield from _sections(section, definitions, place)


def _references(part: JsonSchema) -> Iterator[tuple[str, str]]:
    """Yield each definition in a schema, with its path."""
    if (name := reference(part)) is not None:
        yield "", name
    for each in part.get("anyOf", []):
        yield from _references(each)
    for key, step in (("items", "[]"), ("additionalProperties", ".NAME")):
        if isinstance(part.get(key), dict):
            for suffix, name in _references(part[key]):
                yield step + suffix, name


def _plugins_page(kind: PluginKind, plugins: list[type[Plugin]], schema: JsonSchema) -> str:
    models = _options(kind, schema)
    first, *others = models.values()
    shared = {
        key: part
        for key, part in first["properties"].items()
        if all(other["properties"].get(key) == part for other in others)
    }
    definitions = schema["definitions"]
    parts = [_NOTE, _text(kind), _table({"properties": shared}, {}, definitions)]
    for plugin in plugins:
        model = models[plugin.name]
        own = {key: part for key, part in model["properties"].items() if key not in shared}
        parts += [f"## `{plugin.name}`\n", _prose(inspect.cleandoc(plugin.__doc__ or ""))]
        parts += [_table({**model, "properties": own}, {}, definitions), _example(kind, plugin.name)]
    return "\n".join(filter(None, parts))


def _options(kind: PluginKind, schema: JsonSchema) -> dict[str, JsonSchema]:
    """Return the schemas of the options by plugin."""
    definitions = schema["definitions"]
    section = next(part for name, part in definitions.items() if name.endswith(f".{kind}"))
    return {
        case["if"]["properties"]["plugin"]["const"]: definitions[reference(case["then"]["properties"]["options"])]
        for case in section["allOf"]
    }


def _table(schema: JsonSchema, links: Mapping[str, str], definitions: Mapping[str, JsonSchema]) -> str:
    """Return a table of the keys of a section."""
    required = schema.get("required", [])
    lines = []
    for key, part in schema["properties"].items():
        default = "required" if key in required else default_text(part)
        cells = (f"`{key}`", type_text(part, links), default, _prose(_meaning(part, definitions)))
        lines.append("| " + " | ".join(cell.strip().replace("|", "\\|") for cell in cells) + " |\n")
    return _HEAD + "".join(lines) if lines else ""


def _meaning(part: JsonSchema, definitions: Mapping[str, JsonSchema]) -> str:
    """Return the description of a key or its section."""
    described: str = part.get("description", "")
    for _, name in _references(part):
        described = described or definitions[name].get("description", "").partition("\n\n")[0]
    return described


def _prose(text: str) -> str:
    """Return a docstring with a paragraph on each line."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n")) + "\n" if text else ""


def _variable_line(name: str) -> str:
    return f"| `{name}` | {VARIABLES[name]} |\n"


def _text(name: str) -> str:
    return (_HERE / "texts" / f"{name}.md").read_text(encoding="utf-8")


def _example(kind: str, name: str) -> str:
    path = EXAMPLES / kind / f"{name}.yaml"
    return f"```yaml\n{path.read_text(encoding='utf-8')}```\n" if path.exists() else ""
