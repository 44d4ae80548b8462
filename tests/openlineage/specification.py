"""Events checked against the JSON Schemas of the specification."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

__all__ = ["assert_valid", "facets_of"]

_SCHEMAS = Path(__file__).parent.parent / "data" / "openlineage"

Json = dict[str, Any]


def assert_valid(event: Json) -> None:
    """Require that an event and its facets follow their schemas.

    The schema of events leaves facets open, and that of a facet allows members that it does not name: a misspelt one
    would pass. So a facet may only have members that its schema names.
    """
    schemas = _schemas()
    _validate("https://openlineage.io/spec/2-0-2/OpenLineage.json", event)
    for place, facet in facets_of(event):
        url, _, name = facet["_schemaURL"].partition("#/$defs/")
        assert url in schemas, f"{place}: no schema {url}"
        _validate(facet["_schemaURL"], facet)
        members = schemas[url]["$defs"][name]["allOf"][1]["properties"]
        assert facet.keys() - {"_producer", "_schemaURL"} <= members.keys(), place
        assert place.rpartition(".")[2] in schemas[url]["properties"], f"{place}: the schema has another name for it"


def facets_of(event: Json) -> Iterator[tuple[str, Json]]:
    """Yield the facets of an event by their places."""
    for name in ("run", "job"):
        yield from _named(f"{name}.facets", event[name].get("facets", {}))
    for name in ("inputs", "outputs"):
        for dataset in event[name]:
            for kind in ("facets", "inputFacets", "outputFacets"):
                yield from _named(f"{name}.{kind}", dataset.get(kind, {}))


def _named(place: str, facets: Json) -> Iterator[tuple[str, Json]]:
    yield from ((f"{place}.{name}", facet) for name, facet in facets.items())


@cache
def _schemas() -> dict[str, Json]:
    ours = files("elspeth_schema").joinpath("openlineage.schema.json").read_text(encoding="utf-8")
    texts = [*(path.read_text(encoding="utf-8") for path in _SCHEMAS.glob("*.json")), ours]
    return {schema["$id"]: schema for schema in map(json.loads, texts)}


@cache
def _validator(url: str) -> Draft202012Validator:
    registry: Registry[bool | Mapping[str, Any]] = Registry().with_resources(
        (name, Resource.from_contents(schema)) for name, schema in _schemas().items()
    )
    return Draft202012Validator({"$ref": url}, registry=registry, format_checker=FormatChecker())


def _validate(url: str, instance: Json) -> None:
    problems = [f"{each.json_path}: {each.message}" for each in _validator(url).iter_errors(instance)]
    assert problems == [], "; ".join(problems)
