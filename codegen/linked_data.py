"""The JSON-LD 1.1 context of exported records, mapped to PROV-O.

With this context the lines of an export are RDF. `record_type` is `@type`, and each type has a context of its own, in
which the key is `@id` and each reference an IRI: `token/` and the key for a token. IRIs are relative to `@base`, which
the reader chooses. LinkML's own generator makes every identifier `@id` wherever it occurs.
"""

from __future__ import annotations

import json

from codegen.json_schema import Json
from codegen.model import Column, ForeignKey, Kind, Model, Table

__all__ = ["linked_data", "own_key", "target_of"]

_RUN = "run_id"

_BY_ITSELF = frozenset({"xsd:string", "xsd:boolean"})
"""Types that RDF gives JSON values by default."""


def linked_data(model: Model, *, comment: str) -> Json:
    """Return the `@context` of the records."""
    terms: dict[str, Json] = {
        "record_type": "@type",
        **{table.record_type: _type(model, table) for table in model.records},
        "manifest": {"@id": f"{model.prefix}:Manifest", "@context": {_RUN: _reference(model, _RUN, "run", None)}},
    }
    said = json.dumps(terms)
    prefixes: dict[str, Json] = {name: uri for name, uri in sorted(model.prefixes) if f'"{name}:' in said}
    return {"$comment": comment, "@context": {"@version": 1.1, **prefixes, **terms}}


def _type(model: Model, table: Table) -> Json:
    """Return the term of a record type and its columns."""
    own = own_key(table)
    context: dict[str, Json] = {"@base": f"{table.record_type}/"} if own else {}
    for column in table.columns:
        target = target_of(table, column)
        if column.name == own:
            context[column.name] = "@id"
        elif target is not None:
            place = f"../{target}" if own else target
            context[column.name] = _reference(model, column.iri or column.name, place, column.inverse)
        else:
            context[column.name] = _literal(model, column)
    return {"@id": f"{model.prefix}:{table.class_name}", "@context": context}


def own_key(table: Table) -> str | None:
    """Return the column that identifies a record within its run.

    Returns None if the key has several columns besides the run.
    """
    own = [name for name in table.primary_key if name != _RUN] or [_RUN]
    return own[0] if len(own) == 1 else None


def target_of(table: Table, column: Column) -> str | None:
    """Return the record type that the column refers to.

    Returns None if it refers to none.
    """
    return next((key.record_type for key in table.foreign_keys if _own_column(key) == column.name), None)


def _own_column(key: ForeignKey) -> str | None:
    own = [name for name in key.columns if name != _RUN] or [_RUN]
    return own[0] if len(own) == 1 else None


def _reference(model: Model, name: str, record_type: str, inverse: str | None) -> Json:
    """Return the term of a column that references a record.

    With `inverse`, the property leads from the other record to this one.
    """
    direction: dict[str, Json] = {"@reverse": inverse} if inverse is not None else {"@id": _iri(model, name)}
    return {**direction, "@type": "@id", "@context": {"@base": f"{record_type}/"}}


def _literal(model: Model, column: Column) -> Json:
    iri = _iri(model, column.iri or column.name)
    if column.uri in _BY_ITSELF or (column.uri == "xsd:integer" and column.kind is Kind.INTEGER):
        return iri
    return {"@id": iri, "@type": column.uri}


def _iri(model: Model, name: str) -> str:
    return name if ":" in name else f"{model.prefix}:{name}"
