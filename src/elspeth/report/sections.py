"""The part of a report that needs no JavaScript."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from importlib.resources import files

from elspeth.core.diagrams import STYLE
from elspeth.core.landscape.queries.outputs import RecordedOutput
from elspeth.core.landscape.queries.problems import OTHER_REASONS, FailureReason
from elspeth.core.landscape.records.mapping import mapper
from elspeth.report.drawing import draw_flow
from elspeth.report.flow import FlowNode
from elspeth.report.markup import (
    code,
    command,
    duration,
    facts,
    moment,
    name,
    number,
    plural,
    section,
    shown,
    size,
    table,
)
from elspeth.report.overview import Overview
from elspeth.report.slow import render_slow
from elspeth_schema.contracts import OperationStatus, RowOutcome, RunStatus
from elspeth_schema.records import RUN, Kind

__all__ = ["render_heading", "render_sections", "section_styles"]

_BAD = (RowOutcome.FAILED, RowOutcome.QUARANTINED)

_SIGNS = {RunStatus.COMPLETED: "✓", RunStatus.FAILED: "✕"}

_OUTCOMES = {
    RowOutcome.COMPLETED: "written by the output sink",
    RowOutcome.ROUTED: "sent to a sink by a gate, and written",
    RowOutcome.FORKED: "split into one token per branch",
    RowOutcome.FAILED: "could not be processed",
    RowOutcome.QUARANTINED: "rejected by validation and set aside",
    RowOutcome.CONSUMED_IN_BATCH: "absorbed by a batch, whose outputs go on",
    RowOutcome.COALESCED: "merged with the tokens of other branches",
    RowOutcome.EXPANDED: "turned into several tokens",
    RowOutcome.DROPPED: "ended on purpose, as by a filter",
}

_SHOWN_REASON = 60
_SETTINGS = 200_000
"""Characters of the settings that are shown."""


def section_styles() -> str:
    """Return the style of the sections and their drawings."""
    return files("elspeth.report").joinpath("assets", "sections.css").read_text(encoding="utf-8") + STYLE


def render_heading(overview: Overview) -> str:
    """Return the page's title and how the run ended."""
    run, failed = overview.run, overview.failures.count
    sign = _SIGNS.get(run.status, "◌")
    tiles = [
        ("rows read", number(overview.counts["row"]), ""),
        ("rows failed or quarantined", number(failed), "bad" if failed else ""),
        ("outputs", number(len(overview.outputs)), ""),
        ("took", _took(overview), ""),
    ]
    if overview.left_open.tokens:
        tiles.insert(2, ("tokens that have not ended", number(overview.left_open.tokens), "open"))
    cells = "".join(f'<div class="{kind}"><dt>{what}</dt><dd>{value}</dd></div>' for what, value, kind in tiles)
    status = (
        f'<span class="status {run.status.value}"><span aria-hidden="true">{sign}</span> {_status(overview)}</span>'
    )
    return (
        f'<header class="heading"><p class="kind">Report of a run</p><h1>{code(run.run_id)}</h1>'
        f'<p>{status} It began at {moment(run.started_at)}.</p>\n<dl class="tiles">{cells}</dl></header>'
    )


def _status(overview: Overview) -> str:
    return {
        RunStatus.COMPLETED: "The run completed.",
        RunStatus.FAILED: "The run failed.",
    }.get(overview.run.status, "The run has not ended: it was going on, or was interrupted, when it was read.")


def _took(overview: Overview) -> str:
    run = overview.run
    if run.completed_at is None:
        return "not ended"
    return duration((run.completed_at - run.started_at).total_seconds() * 1000)


def render_sections(overview: Overview) -> str:
    """Return the sections in a reader's order."""
    names = {node.node_id: node.name for node in overview.flow.nodes}
    return "\n".join(
        [
            section("ran", "What ran", *_what_ran(overview)),
            section("graph", "The graph, with what went through it", *_graph(overview)),
            section("ended", "Where tokens ended", *_ended(overview)),
            section("failures", "Failures", *_failures(overview, names)),
            section("slow", "What took long", *render_slow(overview.run, overview.timings, names)),
            section("artifacts", "Artifacts", *_artifacts(overview)),
            section("withheld", "What is withheld", *_withheld(overview)),
            section("open", "What was left open", *_left_open(overview, names)),
        ]
    )


def _what_ran(overview: Overview) -> Iterator[str]:
    run = overview.run
    record = mapper(RUN).to_row(run)
    columns = [column for column in RUN.columns if column.kind is not Kind.JSON and record[column.name] is not None]
    yield facts(
        (
            column.name.replace("_", " "),
            moment(getattr(run, column.name)) if column.kind is Kind.TIMESTAMP else code(str(record[column.name])),
        )
        for column in columns
    )
    if overview.secrets:
        yield "<p>Secrets are shown by their fingerprints, which a holder of the secret and of the key can check.</p>"
        yield table(
            "Secrets that were looked up",
            ["variable", "from", "fingerprint"],
            [[code(each.env_var_name), shown(each.source), code(each.fingerprint)] for each in overview.secrets],
        )
    text = json.dumps(overview.settings, indent=2, ensure_ascii=False, sort_keys=True)
    cut = "" if len(text) <= _SETTINGS else f"\n… ({len(text):,} characters; the records have all)"
    lines = "\n".join(shown(line, _SETTINGS) for line in text[:_SETTINGS].split("\n"))
    yield (
        f"<details><summary>The settings, with all defaults; secrets as fingerprints</summary>\n"
        f'<pre tabindex="0">{lines}{cut}</pre></details>'
    )
    rows = [[code(kind), number(count)] for kind, count in overview.counts.items() if count]
    yield f"<details><summary>{plural(sum(overview.counts.values()), 'record')}</summary>"
    yield table("Records by type", ["type", "records"], rows, numbers=[1])
    yield "</details>"


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
                ", ".join(f"{count:,} {_outcome(outcome)}" for outcome, count in node.ended.items()) or "0",
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
        parts.append(f"{plural(strays, 'step')} of tokens went along no edge of the graph")
    return f"By these records {' and '.join(parts)}."


def _outcome(outcome: RowOutcome) -> str:
    return outcome.value.replace("_", " ")


# -- ends and failures -----------------------------------------------------------------------------------------------


def _ended(overview: Overview) -> Iterator[str]:
    if not overview.endings:
        yield "<p>No token has ended.</p>"
        return
    most = max(each.tokens for each in overview.endings)
    yield table(
        "Tokens by outcome and sink",
        ["outcome", "sink", "tokens", "of rows", "share"],
        [
            [
                (
                    f'<span class="{"bad" if each.outcome in _BAD else "good"}">{"✕" if each.outcome in _BAD else "•"}'
                    f" {_outcome(each.outcome)}</span> <small>{_OUTCOMES.get(each.outcome, '')}</small>"
                ),
                "" if each.sink is None else name(each.sink),
                number(each.tokens),
                number(each.rows),
                _bar(each.tokens / most, is_bad=each.outcome in _BAD),
            ]
            for each in overview.endings
        ],
        numbers=[2, 3],
    )
    yield (
        "<p><small>A row begins with one token. Forks, expansions, merges and batches end tokens and make others, so"
        " that there may be more tokens than rows.</small></p>"
    )


def _bar(share: float, *, is_bad: bool) -> str:
    kind = "bar bad" if is_bad else "bar"
    return (
        f'<svg class="{kind}" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{max(100 * share, 0.5):.1f}" height="8"/></svg>'
    )


def _failures(overview: Overview, names: dict[str, str]) -> Iterator[str]:
    failures, run_id = overview.failures, overview.run.run_id
    broken = [each for each in overview.timings.operations if each.status is OperationStatus.FAILED]
    if broken:
        yield table(
            "Sources and sinks that failed",
            ["node", "work", "began", "error"],
            [
                [
                    name(names.get(each.node_id, each.node_id)),
                    _words(each.operation_type),
                    moment(each.started_at),
                    code(each.error or ""),
                ]
                for each in broken
            ],
        )
    if not failures.reasons:
        yield "<p>No visit of a row to a node failed.</p>"
        return
    visits = sum(failures.visits_by_node.values())
    yield (
        f"<p>{plural(failures.count, 'row')} failed or {'was' if failures.count == 1 else 'were'} quarantined;"
        f" {plural(visits, 'visit')} to nodes failed, some of which may have been repeated with success."
        " N stands for numbers that differ from row to row.</p>"
    )
    yield table(
        "Failed visits by reason, the most frequent first",
        ["visits", "node", "reason", "first row", "find them"],
        [_reason_row(each, names.get(each.node_id, each.node_id), run_id) for each in failures.reasons],
        numbers=[0, 3],
    )
    more = failures.all_reasons - len(failures.reasons)
    if more > 0:
        yield f"<p>There are {plural(more, 'further reason')}: elspeth rows lists them all.</p>"
    yield "<p><small>Tell the commands where the run is: -d DATABASE, or --from with the bag or export.</small></p>"


def _reason_row(reason: FailureReason, step: str, run_id: str) -> list[str]:
    kind = f"<strong>{shown(reason.kind)}</strong>: " if reason.kind else ""
    rows = ["elspeth", "rows", "--run", run_id, "--step", step]
    if reason.message and reason.message.isprintable() and reason.message != OTHER_REASONS:
        rows += ["--reason", reason.message[:_SHOWN_REASON]]
    explain = ["elspeth", "explain", "--run", run_id, "--row", str(reason.row_index)]
    return [
        number(reason.count),
        name(step),
        f'<span class="bad" aria-hidden="true">✕</span> {kind}{shown(reason.message)}',
        number(reason.row_index),
        f"{command(*rows)}<br>{command(*explain)}",
    ]


def _words(value: str) -> str:
    return value.replace("_", " ")


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
        f" {command('elspeth', 'outputs', '--run', overview.run.run_id)}.</small></p>"
    )


def _artifact_row(output: RecordedOutput) -> list[str]:
    content = "no rows, so that no hash is recorded" if output.content_hash is None else code(output.content_hash)
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
            [[code(each.column), number(each.records), shown(each.why)] for each in overview.withheld],
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
        resume = command("elspeth", "resume", overview.run.run_id)
        yield f"<p>The run has the status <strong>{overview.run.status.value}</strong>. {resume} goes on with it.</p>"
    if left.checkpoint is not None:
        taken_at, row_index = left.checkpoint
        yield f"<p>All of it up to row {row_index:,} was recorded at the last checkpoint, at {moment(taken_at)}.</p>"
    waiting = [node for node in overview.flow.nodes if node.waiting]
    if waiting:
        rows = [[name(node.name), number(node.waiting)] for node in waiting]
        yield table(
            f"{plural(left.tokens, 'token')} without an end, by last node", ["node", "tokens"], rows, numbers=[1]
        )
    if left.batches:
        found = left.batches.items()
        rows = [[name(names.get(node, node)), status.value, number(count)] for (node, status), count in found]
        yield table("Batches that were not processed", ["node", "status", "batches"], rows, numbers=[2])
    if operations:
        rows = [
            [name(names.get(each.node_id, each.node_id)), _words(each.operation_type), moment(each.started_at)]
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
