"""Renders the run with its processes, inputs and settings."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator

from elspeth.contracts.errors import format_count
from elspeth.core.landscape.records.mapping import mapper, record_type_of
from elspeth.report.markup import code, facts, moment, name, number, shown, size, table, words
from elspeth.report.overview import Overview
from elspeth_schema.contracts import AuditRecord, SourceInput
from elspeth_schema.records import Kind

__all__ = ["render_ran", "render_settings"]

_SETTINGS = 200_000
"""The largest number of characters of the settings that are shown."""

_IN_PLACES_OF_THEIR_OWN = ("settings_json", "source_schema_json", "process_id")


def render_ran(overview: Overview) -> Iterator[str]:
    """Yield the parts of the section on what ran."""
    yield facts(_columns_of(overview.run))
    for process in overview.processes:
        resumed = (
            "Who ran it, where and with what"
            if process.attempt == 0
            else f"Who resumed it, process {process.attempt + 1}"
        )
        yield f"<h3>{resumed}</h3>"
        yield facts(_columns_of(process, but=("run_id", "attempt")))
    if overview.inputs:
        nodes = {node.node_id: node.name for node in overview.flow.nodes}
        more = overview.counts["source_input"] - len(overview.inputs)
        yield table(
            f"What was read{f', without {more:,} further inputs' if more else ''}",
            ["source", "kind", "what, and SHA-256 of the content", "size", "rows"],
            [_input_row(each, nodes.get(each.node_id, each.node_id)) for each in overview.inputs],
            numbers=[3, 4],
        )
    if overview.secrets:
        yield "<p>Secrets are shown by their fingerprints, which a holder of the secret and of the key can check.</p>"
        yield table(
            "Secrets that were looked up",
            ["variable", "from", "fingerprint"],
            [[name(each.env_var_name), shown(each.source), code(each.fingerprint)] for each in overview.secrets],
        )


def render_settings(overview: Overview) -> Iterator[str]:
    """Yield the parts of the section on settings."""
    text = json.dumps(overview.settings, indent=2, ensure_ascii=False, sort_keys=True)
    cut = "" if len(text) <= _SETTINGS else f"\n… ({len(text):,} characters; the records have all)"
    lines = "\n".join(shown(line, _SETTINGS) for line in text[:_SETTINGS].split("\n"))
    yield (
        "<details><summary>The settings of the run, with all defaults, and secrets as fingerprints</summary>\n"
        f'<pre tabindex="0">{lines}{cut}</pre></details>'
    )
    counted = [[code(kind), number(count)] for kind, count in overview.counts.items() if count]
    yield f"<details><summary>The {format_count(sum(overview.counts.values()), 'record')} of the run, by type</summary>"
    yield table("Records by type", ["type", "records"], counted, numbers=[1])
    yield "</details>"


def _columns_of(record: AuditRecord, but: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield names and values of columns, as HTML."""
    record_type = record_type_of(record)
    row = mapper(record_type).to_row(record)
    for column in record_type.columns:
        value = row[column.name]
        if value is None or column.name in but or column.name in _IN_PLACES_OF_THEIR_OWN:
            continue
        words = column.name.removesuffix("_json").replace("_", " ")
        if column.kind is Kind.TIMESTAMP:
            yield words, moment(getattr(record, column.name))
        elif column.kind is Kind.BOOLEAN:
            yield words, "yes" if value else "no"
        elif column.kind is Kind.JSON:
            yield words, _object(str(value))
        else:
            yield words, code(str(value))


def _object(text: str) -> str:
    """Return a JSON object of single values as a list."""
    value = json.loads(text)
    if not isinstance(value, dict) or not all(isinstance(each, str | int | float) for each in value.values()):
        return code(text)
    if not value:
        return "none"
    return ", ".join(f"{shown(key)} {code(str(each))}" for key, each in value.items())


def _input_row(source: SourceInput, node: str) -> list[str]:
    what = [code(text, 2000) for text in (source.path_or_uri, source.query_text) if text is not None]
    if source.content_hash is not None:
        what.append(f"<small>{code(source.content_hash)}</small>")
    if source.object_version is not None:
        what.append(f"<small>version {code(source.object_version)}</small>")
    exact = (
        ""
        if source.size_bytes is None
        else f'<span title="{source.size_bytes:,} bytes">{size(source.size_bytes)}</span>'
    )
    return [name(node), shown(words(source.input_type)), "<br>".join(what), exact, number(source.row_count)]
