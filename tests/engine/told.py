"""The contents of a trail, without ids and times."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from functools import cache
from typing import Any

from tests.engine.pipelines import Records

__all__ = ["tell", "without_operations"]

_ID = re.compile(r"\b[a-z][0-9a-z]{11}[0-9]\b")
_TIMES = re.compile("_at$|_ms$")


def tell(records: Records) -> Counter[str]:
    """Return the contents of the records.

    Two trails that tell the same are equal but for ids, times and the number of commits.
    """
    edges = {each["edge_id"]: (each["from_node_id"], each["label"]) for each in records.get("edge", [])}
    indexes = {each["row_id"]: each["row_index"] for each in records.get("row", [])}
    about: defaultdict[str, list[str]] = defaultdict(list)
    states = {each["state_id"]: each["token_id"] for each in records.get("node_state", [])}
    parents: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for each in records.get("token_parent", []):
        parents[each["token_id"]].append((each["ordinal"], each["parent_token_id"]))
    for kind in ("token", "node_state", "routing_event", "call", "token_outcome", "transform_error", "batch_member"):
        for each in records.get(kind, []):
            facts = dict(each)
            if "edge_id" in facts:
                facts["edge_id"] = edges[facts["edge_id"]]
            about[each.get("token_id") or states[each["state_id"]]].append(_text(kind, facts))

    @cache
    def story(token_id: str) -> str:
        row_ids = [each["row_id"] for each in records["token"] if each["token_id"] == token_id]
        origins = [story(parent) for _, parent in sorted(parents[token_id])]
        return json.dumps([indexes[row_ids[0]], sorted(about[token_id]), origins])

    told = Counter(story(each["token_id"]) for each in records.get("token", []))
    members: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for each in records.get("batch_member", []):
        members[each["batch_id"]].append((each["ordinal"], story(each["token_id"])))
    for each in records.get("batch", []):
        told[json.dumps([_text("batch", each), sorted(members[each["batch_id"]])])] += 1
    for kind in ("row", "validation_error", "node", "edge", "operation", "artifact", "batch_output", "source_input"):
        told.update(_text(kind, each) for each in records.get(kind, []))
    return told


def _text(kind: str, facts: dict[str, Any]) -> str:
    kept = {name: value for name, value in facts.items() if not _TIMES.search(name)}
    return _ID.sub("*", json.dumps([kind, kept], sort_keys=True))


def without_operations(told: Counter[str]) -> Counter[str]:
    """Leave out operations: each process begins its own."""
    return Counter({text: count for text, count in told.items() if not text.startswith('["operation"')})
