"""Renders how tokens ended, and why some failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from elspeth.contracts.errors import format_count
from elspeth.core.landscape.queries.problems import OTHER_REASONS, FailureReason
from elspeth.report.markup import code, command, moment, name, number, shown, table, words
from elspeth.report.overview import Overview
from elspeth_schema.contracts import OperationStatus, RowOutcome

__all__ = ["render_ended", "render_failures"]

_BAD = (RowOutcome.FAILED, RowOutcome.QUARANTINED)

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


def render_ended(overview: Overview) -> Iterator[str]:
    """Yield the parts of the section on ends."""
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
                    f" {words(each.outcome)}</span> <small>{_OUTCOMES.get(each.outcome, '')}</small>"
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


def render_failures(overview: Overview, names: Mapping[str, str]) -> Iterator[str]:
    """Yield the parts of the section on failures."""
    failures, run_id = overview.failures, overview.run.run_id
    broken = [each for each in overview.timings.operations if each.status is OperationStatus.FAILED]
    if broken:
        yield table(
            "Sources and sinks that failed",
            ["node", "work", "began", "error"],
            [
                [
                    name(names.get(each.node_id, each.node_id)),
                    words(each.operation_type),
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
        f"<p>{format_count(failures.count, 'row')} failed or {'was' if failures.count == 1 else 'were'} quarantined;"
        f" {format_count(visits, 'visit')} to nodes failed, some of which may have been repeated with success."
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
        yield f"<p>Not shown: {format_count(more, 'further reason')}. elspeth rows lists all of them.</p>"
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
