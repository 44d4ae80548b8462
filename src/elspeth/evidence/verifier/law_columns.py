"""What the laws of accounting need to know of each record: its columns, and which records it belongs to.

This is the verifier's own. The rules that travel in a bag cannot leave a law out: a bag whose schema or rules do not
have these columns and references is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from elspeth.evidence.format.bag import REFERENCES, SCHEMA
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.verifier.record_schema import Shape, ValueRule
from elspeth.evidence.verifier.rules import RunRules

__all__ = ["COLUMNS", "LINKS", "check_columns", "links_of"]

_TEXT, _INTEGER, _FLAG, _TIME = "text", "whole number", "true or false", "time"
_OR_NULL = " or null"

_TIME_LENGTH = 27
"""Of `2026-01-31T23:59:59.999999Z`: in this form, times are in the order of their texts."""

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "run": {"started_at": _TIME, "completed_at": _TIME + _OR_NULL, "config_hash": _TEXT, "settings_json": _TEXT},
    "node": {
        "node_id": _TEXT,
        "node_type": _TEXT,
        "config_hash": _TEXT,
        "config_json": _TEXT,
        "registered_at": _TIME,
    },
    "edge": {"edge_id": _TEXT, "from_node_id": _TEXT, "to_node_id": _TEXT, "created_at": _TIME},
    "operation": {
        "node_id": _TEXT,
        "operation_type": _TEXT,
        "status": _TEXT,
        "output_data_hash": _TEXT + _OR_NULL,
        "started_at": _TIME,
        "completed_at": _TIME + _OR_NULL,
    },
    "row": {"row_id": _TEXT, "row_index": _INTEGER, "source_node_id": _TEXT, "created_at": _TIME},
    "token": {
        "row_id": _TEXT,
        "fork_group_id": _TEXT + _OR_NULL,
        "expand_group_id": _TEXT + _OR_NULL,
        "join_group_id": _TEXT + _OR_NULL,
        "created_at": _TIME,
    },
    "token_parent": {"token_id": _TEXT, "parent_token_id": _TEXT},
    "node_state": {
        "token_id": _TEXT,
        "node_id": _TEXT,
        "step_index": _INTEGER,
        "attempt": _INTEGER,
        "status": _TEXT,
        "started_at": _TIME,
        "completed_at": _TIME + _OR_NULL,
    },
    "call": {"created_at": _TIME},
    "routing_event": {"state_id": _TEXT, "edge_id": _TEXT, "mode": _TEXT, "created_at": _TIME},
    "batch": {
        "aggregation_node_id": _TEXT,
        "status": _TEXT,
        "created_at": _TIME,
        "completed_at": _TIME + _OR_NULL,
    },
    "batch_member": {"batch_id": _TEXT, "token_id": _TEXT},
    "batch_output": {"batch_id": _TEXT, "output_type": _TEXT, "output_id": _TEXT},
    "artifact": {
        "produced_by_state_id": _TEXT,
        "sink_node_id": _TEXT,
        "path_or_uri": _TEXT,
        "content_hash": _TEXT,
        "size_bytes": _INTEGER,
        "created_at": _TIME,
    },
    "token_outcome": {
        "token_id": _TEXT,
        "batch_id": _TEXT + _OR_NULL,
        "outcome": _TEXT,
        "is_terminal": _FLAG,
        "sink_name": _TEXT + _OR_NULL,
        "fork_group_id": _TEXT + _OR_NULL,
        "expand_group_id": _TEXT + _OR_NULL,
        "join_group_id": _TEXT + _OR_NULL,
        "context_json": _TEXT + _OR_NULL,
        "expected_branches_json": _TEXT + _OR_NULL,
        "recorded_at": _TIME,
    },
    "validation_error": {"created_at": _TIME},
    "transform_error": {"created_at": _TIME},
    "checkpoint": {"created_at": _TIME},
}
"""By record type the columns, and what they hold. `started_at` and `completed_at` are the beginning and the end."""

LINKS: Mapping[str, Mapping[str, str]] = {
    "token": {"row_id": "row"},
    "token_parent": {"token_id": "token", "parent_token_id": "token"},
    "node_state": {"token_id": "token"},
    "routing_event": {"state_id": "node_state"},
    "batch_member": {"batch_id": "batch", "token_id": "token"},
    "batch_output": {"batch_id": "batch"},
    "artifact": {"produced_by_state_id": "node_state"},
    "token_outcome": {"token_id": "token", "batch_id": "batch"},
}
"""By record type the columns that name another record, and its type."""


def check_columns(rules: RunRules, shapes: Mapping[str, Sequence[Shape]]) -> None:
    """Check that the laws can be asked; EvidenceError if a bag's schema or rules leave out what they need."""
    for name, columns in COLUMNS.items():
        if name not in rules.types:
            raise EvidenceError(f"{REFERENCES}: types", f"expected {name} records, which the laws are about, got none")
        for column, kind in columns.items():
            for shape in shapes[name]:
                rule = shape.rules.get(column)
                if rule is None or column not in shape.required or not _holds(rule, kind):
                    expected = f"expected {name} records with {shown(column)}, {kind}, which the laws are about"
                    raise EvidenceError(SCHEMA, f"{expected}: use a newer verifier")
        missing = [column for column in LINKS.get(name, {}) if links_of(name, column, rules) is None]
        if missing:
            problem = f"expected {shown(missing[0])} to name another record, as the laws ask"
            raise EvidenceError(f"{REFERENCES}: types: {name}", problem)


def links_of(name: str, column: str, rules: RunRules) -> int | None:
    """Return which of the references of a record type is the one that a law needs, counted from 0."""
    run = rules.run.key[0]
    for number, reference in enumerate(each for each in rules.types[name].references if each.columns[1:]):
        if reference.columns == (run, column) and reference.record_type == LINKS[name][column]:
            return number
    return None


def _holds(rule: ValueRule, kind: str) -> bool:
    may_be_null = kind.endswith(_OR_NULL)
    if rule.type == "null" or rule.nullable:
        return may_be_null
    match kind.removesuffix(_OR_NULL):
        case "whole number":
            return rule.type == "integer"
        case "true or false":
            return rule.type == "boolean"
        case "time":
            return rule.type == "string" and rule.pattern_length == _TIME_LENGTH
        case _:
            return rule.type == "string" or _is_text(rule)


def _is_text(rule: ValueRule) -> bool:
    return rule.type is None and all(isinstance(each, str) for each in rule.choices or ())
