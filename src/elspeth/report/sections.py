"""Renders the part of a report that needs no JavaScript."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from html import escape
from importlib.resources import files

from elspeth.contracts.errors import format_count
from elspeth.core.diagrams import STYLE
from elspeth.core.landscape.queries.outputs import RecordedOutput
from elspeth.report.drawing import draw_flow
from elspeth.report.ends import render_ended, render_failures
from elspeth.report.flow import FlowNode
from elspeth.report.markup import (
    code,
    command,
    duration,
    moment,
    name,
    number,
    section,
    shown,
    size,
    table,
    words,
)
from elspeth.report.overview import Overview
from elspeth.report.ran import render_ran, render_settings
from elspeth.report.slow import render_slow
from elspeth_schema.contracts import RunStatus

__all__ = ["render_heading", "render_sections", "section_styles"]

_STATUS = {
    RunStatus.RUNNING: ("◌", "The run has not ended: it was going on, or its process had died, when it was read."),
    RunStatus.INTERRUPTED: ("◌", "The run was interrupted, and can be resumed."),
    RunStatus.COMPLETED: ("✓", "The run completed."),
    RunStatus.FAILED: ("✕", "The run failed."),
}

_SECTIONS = {
    "ran": "What ran",
    "graph": "What went through the graph",
    "ended": "Where tokens ended",
    "failures": "Failures",
    "slow": "What took long",
    "artifacts": "Artifacts",
    "withheld": "What is withheld",
    "open": "What was left open",
    "settings": "Settings and records",
}
"""The sections by id, in a reader's order."""


def section_styles() -> str:
    """Return the style of the sections and their drawings."""
    return files("elspeth.report").joinpath("assets", "sections.css").read_text(encoding="utf-8") + STYLE


def render_heading(overview: Overview) -> str:
    """Return the page's title and how the run ended."""
    run, failed = overview.run, overview.failures.count
    sign, said = _STATUS[run.status]
    tiles = [
        ("rows read", number(overview.counts["row"]), ""),
        ("rows failed or quarantined", number(failed), "bad" if failed else ""),
        ("outputs", number(len(overview.outputs)), ""),
        ("took", _took(overview), ""),
    ]
    if overview.left_open.tokens:
        tiles.insert(2, ("tokens that have not ended", number(overview.left_open.tokens), "open"))
    cells = "".join(f'<div class="{kind}"><dt>{what}</dt><dd>{value}</dd></div>' for what, value, kind in tiles)
    status = f'<span class="status {run.status.value}"><span aria-hidden="true">{sign}</span> {said}</span>'
    return (
        f'<header class="heading"><p class="kind">Report of a run</p><h1>{code(run.run_id)}</h1>'
        f'<p>{status} It began at {moment(run.started_at)}.</p>\n<dl class="tiles">{cells}</dl>\n{_contents()}</header>'
    )


def _took(overview: Overview) -> str:
    run = overview.run
    if run.completed_at is None:
        return "not ended"
    return duration((run.completed_at - run.started_at).total_seconds() * 1000)


def render_sections(overview: Overview) -> str:
    """Return the sections in a reader's order."""
    names = {node.node_id: node.name for node in overview.flow.nodes}
    parts = {
        "ran": render_ran(overview),
        "graph": _graph(overview),
        "ended": render_ended(overview),
        "failures": render_failures(overview, names),
        "slow": render_slow(overview.run, overview.timings, names),
        "artifacts": _artifacts(overview),
        "withheld": _withheld(overview),
        "open": _left_open(overview, names),
        "settings": render_settings(overview),
    }
    return "\n".join(section(key, title, *parts[key]) for key, title in _SECTIONS.items())


def _contents() -> str:
    """Return links to all sections."""
    links = "".join(
        f'<li><a href="#{key}">{escape(title)}</a></li>'
        for key, title in {**_SECTIONS, "story": "The story of a row"}.items()
    )
    return f'<nav class="contents" aria-label="On this page"><ul>{links}</ul></nav>'


# -- graph -----------------------------------------------------------------------------------------------------------


def _graph(overview: Overview) -> Iterator[str]:
    flow = overview.flow
    names = {node.node_id: node.name for node in flow.nodes}
    yield f'<figure class="graph" role="group" tabindex="0" aria-label="The graph">{draw_flow(flow)}</figure>'
    yield (
        '<p class="legend">A number on an edge is that of the tokens that went along it. Dashed red arrows with an open'
        " head are the ways of rows that fail; red badges with cut corners count failed visits; dotted yellow ones"
        " count tokens that have not ended. The tables below say the same.</p>"
    )
    wrong = [node for node in flow.nodes if not is_balanced(node)]
    if wrong or flow.strays:
        yield f'<p class="bad">{_imbalance(wrong, flow.strays)}</p>'
    else:
        yield (
            "<p>At every node the tokens add up: those that came and those that were made here are those that went on,"
            " ended or wait.</p>"
        )
    yield "<details><summary>Nodes and edges as tables</summary>"
    yield table(
        "Tokens at each node",
        ["node", "type", "plugin", "came", "made here", "went on", "ended here", "wait", "failed visits"],
        [
            [
                name(node.name),
                node.node_type.value,
                shown(f"{node.plugin_name} {node.plugin_version}"),
                number(node.came),
                number(node.made),
                number(node.left),
                ", ".join(f"{count:,} {words(outcome)}" for outcome, count in node.ended.items()) or "0",
                number(node.waiting),
                number(node.failed_visits),
            ]
            for node in flow.nodes
        ],
        numbers=[3, 4, 5, 7, 8],
    )
    yield table(
        "Tokens along each edge",
        ["from", "to", "label", "mode", "tokens"],
        [
            [
                name(names[each.from_node_id]),
                name(names[each.to_node_id]),
                shown(each.label),
                each.mode,
                number(each.count),
            ]
            for each in flow.edges
        ],
        numbers=[4],
    )
    yield "</details>"


def is_balanced(node: FlowNode) -> bool:
    """Return whether all tokens of a node are accounted for."""
    return node.began + node.entered + node.made == node.left + sum(node.ended.values()) + node.waiting


def _imbalance(wrong: list[FlowNode], strays: int) -> str:
    parts = [f"the tokens do not add up at {', '.join(name(node.name) for node in wrong)}"] if wrong else []
    if strays:
        parts.append(f"{format_count(strays, 'step')} of tokens went along no edge of the graph")
    return f"By these records {' and '.join(parts)}."


# -- outputs, and what is not there ----------------------------------------------------------------------------------


def _artifacts(overview: Overview) -> Iterator[str]:
    if not overview.outputs:
        yield "<p>The run published nothing.</p>"
        return
    yield table(
        "What the sinks published",
        ["sink", "kind", "where, and SHA-256 of the content", "size", "recorded"],
        [_artifact_row(each) for each in overview.outputs],
        numbers=[3],
    )
    yield (
        "<p><small>Compare a file with its hash by <code>sha256sum FILE</code>, or all of them by"
        f" {command('elspeth', 'outputs', overview.run.run_id, '--check')}.</small></p>"
    )


def _artifact_row(output: RecordedOutput) -> list[str]:
    content = "no rows, so that no hash is recorded" if output.content_hash is None else code(output.content_hash)
    if output.object_version is not None:
        content += f", version {code(output.object_version)}"
    exact = (
        ""
        if output.size_bytes is None
        else f'<span title="{output.size_bytes:,} bytes">{size(output.size_bytes)}</span>'
    )
    return [
        name(output.sink),
        shown(output.kind),
        f"{code(output.path)}<br><small>{content}</small>",
        exact,
        moment(datetime.fromisoformat(output.recorded_at)),
    ]


def _withheld(overview: Overview) -> Iterator[str]:
    if overview.withheld:
        yield table(
            "Columns that the records leave out",
            ["column", "records of the type", "why"],
            [[name(each.column), number(each.records), shown(each.why)] for each in overview.withheld],
            numbers=[1],
        )
    else:
        yield "<p>No column is left out of these records: they hold the contents of rejected rows.</p>"
    yield (
        "<p>Of rows, requests and answers the records hold hashes only, and where the contents were kept. Secrets are"
        " nowhere in the records, only their fingerprints.</p>"
    )


def _left_open(overview: Overview, names: dict[str, str]) -> Iterator[str]:
    left = overview.left_open
    operations = [each for each in overview.timings.operations if each.ended_at is None]
    if not (left.tokens or left.open_visits or left.batches or operations or not overview.run.status.is_terminal):
        yield "<p>Nothing: every token, visit, batch and operation has ended.</p>"
        return
    if not overview.run.status.is_terminal:
        resume = command("elspeth", "resume", overview.run.run_id, "-s", "SETTINGS", "--execute")
        yield f"<p>The run has the status <strong>{overview.run.status.value}</strong>. {resume} goes on with it.</p>"
    if left.checkpoint is not None:
        taken_at, row_index = left.checkpoint
        yield f"<p>All of it up to row {row_index:,} was recorded at the last checkpoint, at {moment(taken_at)}.</p>"
    waiting = [node for node in overview.flow.nodes if node.waiting]
    if waiting:
        rows = [[name(node.name), number(node.waiting)] for node in waiting]
        yield table(
            f"{format_count(left.tokens, 'token')} without an end, by last node", ["node", "tokens"], rows, numbers=[1]
        )
    if left.batches:
        found = left.batches.items()
        rows = [[name(names.get(node, node)), status.value, number(count)] for (node, status), count in found]
        yield table("Batches that were not processed", ["node", "status", "batches"], rows, numbers=[2])
    if operations:
        rows = [
            [name(names.get(each.node_id, each.node_id)), words(each.operation_type), moment(each.started_at)]
            for each in operations
        ]
        yield table("Sources and sinks that had not finished", ["node", "work", "began"], rows)
    if left.visits:
        rows = [
            [
                number(each.row_index),
                name(names.get(each.node_id, each.node_id)),
                each.status.value,
                code(each.token_id),
                moment(each.started_at),
            ]
            for each in left.visits
        ]
        first = (
            "" if left.open_visits == len(left.visits) else f", the first {len(left.visits)} of {left.open_visits:,}"
        )
        yield table(
            f"Visits that have not ended{first}", ["row", "node", "status", "token", "began"], rows, numbers=[0]
        )
