"""What must hold of a run after any crash."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, NullPool, create_engine, inspect, text

from elspeth.core.landscape.sealing.log_check import check_log
from tests.durability.pipeline import SINKS, Job

__all__ = ["Count", "Findings", "Trail", "differences", "inspect_job", "read_trail"]

_ENDED = """
SELECT r.row_index, r.source_data_hash, o.outcome, o.sink_name, s.status, n.plugin_name
FROM rows r
LEFT JOIN tokens t ON t.run_id = r.run_id AND t.row_id = r.row_id
LEFT JOIN token_outcomes o ON o.run_id = t.run_id AND o.token_id = t.token_id AND o.is_terminal = 1
LEFT JOIN node_states s ON s.run_id = t.run_id AND s.token_id = t.token_id
    AND s.step_index = (
        SELECT max(m.step_index) FROM node_states m WHERE m.run_id = t.run_id AND m.token_id = t.token_id
    )
LEFT JOIN nodes n ON n.run_id = s.run_id AND n.node_id = s.node_id
ORDER BY r.row_index
"""
"""Each row, how its token ended, and the last step that the token took."""

_POSITIONS = "SELECT sink_state_json FROM checkpoints ORDER BY sequence_number DESC LIMIT 1"

_PER_ROW = ("rows", "tokens", "token_outcomes", "node_states", "routing_events", "artifacts")
"""Tables whose number of records does not depend on how often a run was resumed."""

Ending = tuple[str, str]
"""Outcome and sink of a row."""


@dataclass(slots=True, kw_only=True)
class Trail:
    """The committed records of a run.

    `status` is None if there is no run. `bad` says which records contradict each other.
    """

    run_id: str | None = None
    status: str | None = None
    endings: dict[int, Ending] = field(default_factory=dict)
    records: Counter[str] = field(default_factory=Counter)
    positions: list[int] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found after a crash."""

    published: int
    recorded: int
    without_audit: int
    bad: list[str]


@dataclass(slots=True, kw_only=True)
class Count:
    """Counts of kills and findings."""

    runs: int = 0
    kills: int = 0
    published: int = 0
    recorded: int = 0
    without_audit: int = 0
    bad: list[str] = field(default_factory=list)

    def add(self, findings: Findings, where: str) -> None:
        """Count one kill."""
        self.kills += 1
        self.published += findings.published
        self.recorded += findings.recorded
        self.without_audit += findings.without_audit
        self.bad += [f"{where}: {problem}" for problem in findings.bad]

    def __str__(self) -> str:
        return (
            f"{self.kills} kills in {self.runs} runs; checked after them: {self.published:,} published rows, "
            f"{self.without_audit:,} of them without audit record, and {self.recorded:,} recorded rows; "
            f"{len(self.bad)} problems"
        )


def inspect_job(job: Job) -> tuple[Trail, Findings]:
    """Check what a crash left, without changing it."""
    trail = read_trail(job)
    bad = list(trail.bad)
    published, without_audit = 0, 0
    for sink in SINKS:
        recorded = [index for index in sorted(trail.endings) if job.sink_of(index) == sink]
        durable = _content(recorded)
        final = job.output(sink)
        if final.exists():
            lines = final.read_text(encoding="utf-8").splitlines()[1:]
            known = {_line(index) for index in recorded}
            unknown = [line for line in lines if line not in known]
            published += len(lines)
            without_audit += len(unknown)
            bad += [f"{final.name}: {len(unknown)} published rows without audit record"] * bool(unknown)
        holders = [*job.staged(sink), *([final] if final.exists() else [])]
        if recorded and not any(path.read_bytes().startswith(durable) for path in holders):
            bad.append(f"{final.name}: rows that are recorded as written are lost")
    bad += _position_problems(job, trail)
    return trail, Findings(published=published, recorded=len(trail.endings), without_audit=without_audit, bad=bad)


def differences(job: Job, trail: Trail, undisturbed: Trail) -> list[str]:
    """Yield the differences between a run and an undisturbed one."""
    found = []
    if trail.status != "completed":
        found.append(f"the run is {trail.status}")
    if trail.endings != undisturbed.endings:
        found.append("the outcomes of the rows differ from those of an undisturbed run")
    if trail.records != undisturbed.records:
        found.append(f"expected {dict(undisturbed.records)} records, got {dict(trail.records)}")
    for sink in SINKS:
        output = job.output(sink)
        if not output.exists():
            found.append(f"{output.name} is missing")
        elif output.read_bytes() != job.expected(sink):
            found.append(f"{output.name} differs from that of an undisturbed run")
        found += [f"{path.name} is left behind" for path in job.staged(sink)]
    return found


def read_trail(job: Job) -> Trail:
    """Read the run in the audit database."""
    trail = Trail()
    if job.url is None and not job.database.exists():
        return trail
    with _reading(job) as connection:
        if job.url is None:
            trail.bad += _sqlite_problems(connection)
        if not inspect(connection).has_table("runs"):
            return trail
        runs = connection.execute(text("SELECT run_id, status FROM runs")).all()
        trail.bad += [f"expected one run, found {len(runs)}"] * (len(runs) > 1)
        for run_id, status in runs:
            trail.run_id, trail.status = run_id, status
        _read_endings(connection, job, trail)
        for table in _PER_ROW:
            trail.records[table] = connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()  # noqa: S608
        trail.bad += [str(fault) for fault in check_log(connection).faults]
        if state := connection.execute(text(_POSITIONS)).scalar():
            trail.positions = sorted(each["position"]["bytes"] for each in json.loads(state).values())
    return trail


@contextmanager
def _reading(job: Job) -> Iterator[Connection]:
    """Yield a connection that changes nothing.

    For SQLite it leads to a copy: opening the file would roll back what a crash cut short.
    """
    with tempfile.TemporaryDirectory(dir=job.directory.parent) as directory:
        url = job.url
        if url is None:
            copy = shutil.copytree(job.database.parent, Path(directory) / "copy")
            url = f"sqlite:///{copy / job.database.name}"
        with create_engine(url, poolclass=NullPool).connect() as connection:
            yield connection


def _sqlite_problems(connection: Connection) -> list[str]:
    found = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check")]
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return [f"integrity_check: {line}" for line in found if line != "ok"] + [f"foreign key: {row}" for row in broken]


def _read_endings(connection: Connection, job: Job, trail: Trail) -> None:
    for index, row_hash, outcome, sink, status, plugin in connection.execute(text(_ENDED)):
        if row_hash != job.row_hash(index):
            trail.bad.append(f"row {index}: the recorded hash is not that of the source row")
        elif index in trail.endings:
            trail.bad.append(f"row {index}: ended twice")
        elif (sink, status, plugin) != (job.sink_of(index), "completed", "csv"):
            trail.bad.append(f"row {index}: ended as {outcome} in {sink}, its last state is {status} at {plugin}")
        else:
            trail.endings[index] = (outcome, sink)
    if list(trail.endings) != list(range(len(trail.endings))):
        trail.bad.append("the recorded rows are not the first ones of the source")


def _position_problems(job: Job, trail: Trail) -> list[str]:
    """Yield positions that are not where the recorded rows end."""
    recorded = [[index for index in sorted(trail.endings) if job.sink_of(index) == sink] for sink in SINKS]
    expected = sorted(len(_content(indexes)) for indexes in recorded)
    if trail.status != "completed" and trail.positions and trail.positions != expected:
        return [f"recorded positions of the sinks: expected {expected} bytes, got {trail.positions}"]
    return []


def _content(indexes: list[int]) -> bytes:
    """Return the content of a sink with these rows."""
    return "".join(["id,size,note\n" * bool(indexes), *(_line(index) + "\n" for index in indexes)]).encode()


def _line(index: int) -> str:
    return ",".join(Job.cells(index))
