"""The trail of a run as text, without its ids."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.engine.pipelines import Records

__all__ = ["told"]

Record = dict[str, Any]


def told(records: Records) -> str:
    """Return counts by record type, then every token's journey."""
    return "\n".join([*_counts(records), *_Teller(records).lines()]) + "\n"


def _counts(records: Records) -> Iterator[str]:
    (run,) = records["run"]
    yield f"run {run['status']}, {run['reproducibility_grade']}"
    counts = {name: len(found) for name, found in records.items() if name != "run" and found}
    yield "records: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


class _Teller:
    def __init__(self, records: Records) -> None:
        self._records = records
        # Ids sort in the order of events.
        self._tokens: list[Record] = sorted(records.get("token", []), key=lambda token: token["token_id"])
        self._numbers = {token["token_id"]: number for number, token in enumerate(self._tokens, start=1)}
        batches = sorted(records.get("batch", []), key=lambda batch: batch["batch_id"])
        self._batches = {batch["batch_id"]: number for number, batch in enumerate(batches, start=1)}

    def lines(self) -> Iterator[str]:
        for row in sorted(self._records.get("row", []), key=lambda row: row["row_index"]):
            yield f"row {row['row_index']}: {row['source_data_hash'][:12]}"
            for token in self._tokens:
                if token["row_id"] == row["row_id"]:
                    yield f"  token {self._numbers[token['token_id']]}{self._origin(token)}"
                    yield from (f"    {line}" for line in self._journey(token))
        for batch_id, number in self._batches.items():
            yield self._batch(batch_id, number)
        for error in self._records.get("validation_error", []):
            yield f"validation error to {error['destination']}: {error['error']}"

    def _origin(self, token: Record) -> str:
        parents = [
            parent for parent in self._records.get("token_parent", []) if parent["token_id"] == token["token_id"]
        ]
        made = sorted(parents, key=lambda parent: parent["ordinal"])
        numbers = ", ".join(str(self._numbers[parent["parent_token_id"]]) for parent in made)
        for column, word in (("fork_group_id", "forked"), ("expand_group_id", "expanded"), ("join_group_id", "merged")):
            if token[column]:
                branch = f" on branch {token['branch_name']}" if token["branch_name"] else ""
                return f", {word} from {numbers}{branch}"
        outputs = self._records.get("batch_output", [])
        batches = [self._batches[each["batch_id"]] for each in outputs if each["output_id"] == token["token_id"]]
        return f", out of batch {batches[0]}" if batches else ""

    def _journey(self, token: Record) -> Iterator[str]:
        states = [each for each in self._records["node_state"] if each["token_id"] == token["token_id"]]
        for state in sorted(states, key=lambda state: state["step_index"]):
            name = state["node_id"].rpartition("_")[0]
            error = f": {json.loads(state['error_json'])['exception']}" if state["error_json"] else ""
            yield f"{state['step_index']} {name} {state['status']}{error}"
            yield from self._calls(state)
            yield from self._routes(state)
        outcomes = [each for each in self._records["token_outcome"] if each["token_id"] == token["token_id"]]
        for outcome in sorted(outcomes, key=lambda outcome: outcome["outcome_id"]):
            to = f" to {outcome['sink_name']}" if outcome["sink_name"] else ""
            within = f" in batch {self._batches[outcome['batch_id']]}" if outcome["batch_id"] else ""
            yield f"= {outcome['outcome']}{to}{within}"

    def _calls(self, state: Record) -> Iterator[str]:
        calls = [each for each in self._records.get("call", []) if each["state_id"] == state["state_id"]]
        for call in sorted(calls, key=lambda call: call["call_index"]):
            error = f": {json.loads(call['error_json'])['exception']}" if call["error_json"] else ""
            yield f"  call {call['call_index']} {call['call_type']} {call['status']}{error}"

    def _routes(self, state: Record) -> Iterator[str]:
        edges = {edge["edge_id"]: edge for edge in self._records["edge"]}
        events = [each for each in self._records.get("routing_event", []) if each["state_id"] == state["state_id"]]
        for event in sorted(events, key=lambda event: event["ordinal"]):
            yield f"  along {edges[event['edge_id']]['label']}, {event['mode']}"

    def _batch(self, batch_id: str, number: int) -> str:
        (batch,) = [each for each in self._records["batch"] if each["batch_id"] == batch_id]
        members = [each for each in self._records["batch_member"] if each["batch_id"] == batch_id]
        tokens = [str(self._numbers[each["token_id"]]) for each in sorted(members, key=lambda each: each["ordinal"])]
        return f"batch {number} {batch['status']} by {batch['trigger_type']}: tokens {', '.join(tokens)}"
