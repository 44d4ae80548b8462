"""The vocabulary of exported records in Turtle.

Properties of other vocabularies, such as PROV-O, are described by those.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from codegen.linked_data import own_key, target_of
from codegen.model import Column, Model, Table

__all__ = ["rdf_vocabulary"]

_PREFIXES = {
    "owl": "http://www.w3.org/2002/07/owl#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "schema": "http://schema.org/",
}


def rdf_vocabulary(model: Model) -> str:
    """Return the vocabulary in Turtle."""
    prefixes = {**_PREFIXES, **dict(model.prefixes)}
    about = {
        "a": ["owl:Ontology"],
        "rdfs:label": [_text(model.name)],
        "rdfs:comment": [_text(model.description)],
        "owl:versionInfo": [_text(f"epoch {model.epoch}")],
    }
    lines = [f"@prefix {name}: <{uri}> ." for name, uri in sorted(prefixes.items())]
    return "\n".join([*lines, "", _statement(f"{model.prefix}:", about), *_classes(model), *_properties(model)])


def _classes(model: Model) -> Iterator[str]:
    for table in model.records:
        facts = {
            "a": ["rdfs:Class"],
            "rdfs:label": [_text(table.record_type)],
            "rdfs:comment": [_text(table.description)],
            "rdfs:subClassOf": [*table.prov],
        }
        yield _statement(f"{model.prefix}:{table.class_name}", facts)
    manifest = {
        "rdfs:label": ['"manifest"'],
        "rdfs:comment": ['"The end of an export, without which it is incomplete."'],
    }
    yield _statement(f"{model.prefix}:Manifest", {"a": ["rdfs:Class"], **manifest})


@dataclass(slots=True)
class _Property:
    """The comments, domains and ranges of columns with one name."""

    comments: dict[str, None] = field(default_factory=dict)
    domains: list[str] = field(default_factory=list)
    ranges: dict[str, None] = field(default_factory=dict)

    def add(self, model: Model, table: Table, column: Column) -> None:
        """Add a column of a table."""
        target = target_of(table, column)
        classes = {each.record_type: each.class_name for each in model.records}
        self.comments[column.description] = None
        self.domains.append(f"{model.prefix}:{table.class_name}")
        self.ranges[column.uri if target is None else f"{model.prefix}:{classes[target]}"] = None


def _properties(model: Model) -> Iterator[str]:
    found: dict[str, _Property] = {}
    for table in model.records:
        for column in table.columns:
            if column.name != own_key(table) and column.inverse is None and ":" not in (column.iri or ""):
                found.setdefault(column.name, _Property()).add(model, table, column)
    for name, each in sorted(found.items()):
        facts = {
            "a": ["rdf:Property"],
            "rdfs:label": [_text(name)],
            "rdfs:comment": [_text(text) for text in each.comments],
            # Several domains or ranges would mean all of them at once, hence schema.org's.
            "schema:domainIncludes": each.domains,
            "schema:rangeIncludes": [*each.ranges],
        }
        yield _statement(f"{model.prefix}:{name}", facts)


def _statement(subject: str, facts: Mapping[str, list[str]]) -> str:
    stated = " ;\n".join(f"    {name} {', '.join(values)}" for name, values in facts.items() if values)
    return f"{subject}\n{stated} .\n"


def _text(text: str) -> str:
    """Return a literal.

    The escapes of JSON are among those of Turtle.
    """
    return json.dumps(" ".join(text.split()), ensure_ascii=False)
