"""Renders the slowest work of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from elspeth.contracts.errors import format_count
from elspeth.report.markup import code, duration, name, number, table, words
from elspeth.report.timings import Timings
from elspeth_schema.contracts import OperationStatus, Run

__all__ = ["render_slow"]

_MOST = 30
"""The largest number of bars in the waterfall."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bar:
    """A line of the waterfall.

    `busy_ms` is the sum of the durations of its visits or operations.
    """

    name: str
    what: str
    started_at: datetime
    ended_at: datetime | None
    busy_ms: float
    longest_ms: float | None
    has_failed: bool = False


def render_slow(run: Run, timings: Timings, names: Mapping[str, str]) -> Iterator[str]:
    """Yield the parts of the section."""
    bars = sorted(_bars(timings, names), key=lambda each: -each.busy_ms)
    if not bars:
        yield "<p>Nothing was recorded that took time.</p>"
        return
    shown = sorted(bars[:_MOST], key=lambda each: (each.started_at, each.name, each.what))
    ends = [each.ended_at for each in bars if each.ended_at is not None]
    ends += [] if run.completed_at is None else [run.completed_at]
    begin = min([run.started_at, *(each.started_at for each in bars)])
    end = max([begin, *ends])
    yield table(
        f"The slowest work, in the order in which it began, over {duration(_ms(begin, end))}",
        ["work", "of", "sum", "longest", "when"],
        [
            [
                name(each.name),
                f'<span class="bad">✕ {each.what}, failed</span>' if each.has_failed else each.what,
                duration(each.busy_ms),
                "" if each.longest_ms is None else duration(each.longest_ms),
                _draw(each, begin, end),
            ]
            for each in shown
        ],
        numbers=[2, 3],
    )
    yield (
        '<p class="legend">A pale bar reaches from the first beginning to the last end; the dark one in it is as long'
        " as the single durations together. An open bar has not ended.</p>"
    )
    if timings.calls:
        yield table(
            "Calls to other systems",
            ["node", "kind", "calls", "errors", "repeated", "sum", "mean", "longest"],
            [
                [
                    name(names.get(each.node_id, each.node_id)),
                    each.call_type,
                    number(each.calls),
                    f'<span class="bad">✕ {each.errors:,}</span>' if each.errors else "0",
                    number(each.retries),
                    duration(each.total_ms),
                    duration(each.total_ms / each.calls),
                    duration(each.longest_ms),
                ]
                for each in timings.calls
            ],
            numbers=[2, 3, 4, 5, 6, 7],
        )
    if timings.visits:
        yield "<details><summary>The longest visits of single rows</summary>"
        yield table(
            "The longest visits",
            ["row", "node", "attempt", "token", "took"],
            [
                [
                    number(each.row_index),
                    name(names.get(each.node_id, each.node_id)),
                    number(each.attempt),
                    code(each.token_id),
                    duration(each.duration_ms),
                ]
                for each in timings.visits
            ],
            numbers=[0, 2, 4],
        )
        yield "</details>"


def _bars(timings: Timings, names: Mapping[str, str]) -> Iterator[_Bar]:
    for node in timings.nodes:
        yield _Bar(
            name=names.get(node.node_id, node.node_id),
            what=format_count(node.visits, "visit"),
            started_at=node.started_at,
            ended_at=node.ended_at,
            busy_ms=node.total_ms,
            longest_ms=node.longest_ms,
        )
    for work in timings.operations:
        yield _Bar(
            name=names.get(work.node_id, work.node_id),
            what=words(work.operation_type),
            started_at=work.started_at,
            ended_at=work.ended_at,
            busy_ms=work.duration_ms or 0.0,
            longest_ms=None,
            has_failed=work.status is OperationStatus.FAILED,
        )


def _ms(begin: datetime, end: datetime) -> float:
    return (end - begin).total_seconds() * 1000


def _draw(bar: _Bar, begin: datetime, end: datetime) -> str:
    """Return a line of the waterfall as SVG."""
    scale = 100 / (_ms(begin, end) or 1.0)
    left = _ms(begin, bar.started_at) * scale
    width = max(_ms(bar.started_at, bar.ended_at or end) * scale, 0.6)
    left = min(left, 100 - width)
    busy = max(min(bar.busy_ms * scale, width), 0.3)
    kind = "waterfall" + (" bad" if bar.has_failed else "") + (" open" if bar.ended_at is None else "")
    return (
        f'<svg class="{kind}" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="span" x="{left:.2f}" width="{width:.2f}" height="12"/>'
        f'<rect class="busy" x="{left:.2f}" y="3" width="{busy:.2f}" height="6"/></svg>'
    )
