"""Adopts runs of the predecessor's databases, with every value.

Rows with a place in today's schema become records. All other values are kept as they were found, in `adopted_values`.
Before anything is committed, every row of the old database is rebuilt from both and compared.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, select

from elspeth.contracts.database_urls import mask_url
from elspeth.core.canonical import canonical_bytes, canonical_json, timestamp_text
from elspeth.core.chunks import chunks
from elspeth.core.landscape.database.connections import read_only_connection
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.known_shapes import nearest_shape
from elspeth.core.landscape.database.landscape_db import fill_database
from elspeth.core.landscape.database.pruned_runs import read_pruned_runs
from elspeth.core.landscape.database.run_log import Happening, append_entry, ensure_log
from elspeth.core.landscape.database.shapes import table_names
from elspeth.core.landscape.database.state import DatabaseState, StateKind, describe_state, detect_state
from elspeth.core.landscape.database.tables import tool
from elspeth.core.landscape.database.urls import parse_url
from elspeth.core.landscape.database.writing import insert_rows, insert_sound_rows, stored_times
from elspeth.core.landscape.migration._old_rows import OldRow, OldTable, Plain, old_tables
from elspeth.core.landscape.migration._places import Place, merge_remainder, remainder_of, whole_row
from elspeth.core.landscape.migration.contents import ContentSum, Meter, Report, TableContent
from elspeth.core.landscape.records.mapping import mapper
from elspeth.core.landscape.sealing.seal import seal_run
from elspeth.schema.predecessor import Shape
from elspeth_schema.contracts import AdoptedValue, AuditRecord, RunStatus
from elspeth_schema.conversions import ROWS, Row
from elspeth_schema.records import ADOPTED_VALUE, RECORD_TYPES, RUN
from elspeth_schema.tables import adopted_values_table, adoptions_table, runs_table

__all__ = ["Adoption", "adopt"]

_ROWS = 1000
"""The number of rows written, or read again, at a time, which limits memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """The result of an adoption.

    `rows` counts the rows of each old table, and `records` the rows that became records. `changed` holds a sentence for
    each table of the old database that has changed since an earlier adoption.
    """

    runs: tuple[str, ...]
    rows: Mapping[str, int]
    records: Mapping[str, int]
    changed: tuple[str, ...] = ()


def adopt(source: str, target: str, *, report: Report | None = None) -> Adoption:
    """Copy all runs of the predecessor's database into another.

    The target may be new. Runs that were adopted before are skipped. The source is not changed. Raises
    PredecessorDatabaseError or another SchemaCompatibilityError if the source is not a database of the predecessor, and
    LandscapeError if the target holds a run of the same id from elsewhere, or if a value would be lost. After an error,
    the target is unchanged.
    """
    url = parse_url(source)
    with read_only_connection(url) as old:
        state = detect_state(old)
        if state.kind not in {StateKind.PREDECESSOR, StateKind.OLDER} or state.versioned:
            raise LandscapeError(_refusal(state, mask_url(url)))
        shape = nearest_shape(old, table_names(old)).shape
        with fill_database(target) as new:
            return _adopt_runs(old, new, shape, mask_url(url), Meter(report))


def _adopt_runs(source: Connection, target: Connection, shape: Shape, location: str, meter: Meter) -> Adoption:
    """Copy the source's new runs within the caller's transactions.

    Raises LandscapeError if the target holds a run of the same id from elsewhere, or if a row cannot be rebuilt; the
    caller must then roll back.
    """
    ensure_log(target)
    runs, tables = _new_runs(source, target), old_tables(shape.tables)
    loose = _rows_of_no_run(source, tables)
    changed = tuple(_changes_since(source, target, tables))
    if not runs and _are_kept(loose, target):
        return Adoption(runs=(), rows={}, records={}, changed=changed)
    meter.expect(2 * sum(table.count(source) for table in tables.values()))
    adopter = _Adopter(source, target, tables, frozenset(runs), meter)
    found = adopter.take_over()
    adoption_id = hashlib.sha256(canonical_json([location, runs, loose]).encode()).hexdigest()
    target.execute(
        insert(adoptions_table).values(
            adoption_id=adoption_id,
            adopted_at=datetime.now(UTC),
            tool=tool(),
            location=location,
            shape=shape.name,
            runs_json=canonical_json(runs),
            tables_json=canonical_json({name: asdict(content) for name, content in found.items()}),
            values_json=loose,
        )
    )
    _require_all_found(found, adopter.found_again(adoption_id))
    statuses = dict(target.execute(select(runs_table.c.run_id, runs_table.c.status)).all())
    roots = {run_id: seal_run(target, run_id).root for run_id in runs if RunStatus(statuses[run_id]).is_terminal}
    for run_id in runs:
        root = roots.get(run_id)
        append_entry(target, Happening.ADOPTED, root=root, run_id=run_id, status=statuses[run_id])
    rows = {name: content.rows for name, content in found.items()}
    return Adoption(runs=tuple(runs), rows=rows, records=dict(adopter.records), changed=changed)


def _rows_of_no_run(source: Connection, tables: Mapping[str, OldTable]) -> str:
    """Return the rows without a run, by table, as JSON."""
    rows = {
        name: sorted((row.values for row in table.rows_of_no_run(source)), key=canonical_bytes)
        for name, table in tables.items()
    }
    return canonical_json({name: some for name, some in rows.items() if some})


def _are_kept(loose: str, target: Connection) -> bool:
    """Return whether an earlier adoption kept these rows."""
    kept = select(adoptions_table.c.adoption_id).where(adoptions_table.c.values_json == loose)
    return loose == "{}" or target.execute(kept).first() is not None


def _changes_since(source: Connection, target: Connection, tables: Mapping[str, OldTable]) -> Iterator[str]:
    """Yield the changes in runs that were adopted before.

    Rows without a run are taken from the adoption, because others may have been added since.
    """
    present = set(source.exec_driver_sql("SELECT run_id FROM runs").scalars())
    for adoption in target.execute(select(adoptions_table).order_by(adoptions_table.c.adopted_at)).all():
        runs, kept = set(json.loads(adoption.runs_json)), json.loads(adoption.values_json)
        if not runs & present:
            continue  # the adoption was from another database
        moment = timestamp_text(adoption.adopted_at)
        if gone := sorted(runs - present):
            yield f"{len(gone)} of {len(runs)} runs that were adopted at {moment} are gone, among them {gone[0]}"
        for name, content_then in json.loads(adoption.tables_json).items():
            if name not in tables:
                continue
            then, content = TableContent(**content_then), ContentSum()
            for values in kept.get(name, ()):
                content.add(canonical_bytes(values))
            for row in tables[name].rows(source):
                if row.run_id in runs:
                    content.add(canonical_bytes(row.values))
            now = content.content
            if now != then:
                yield (
                    f"table {name} of runs that were adopted at {moment}: {then.rows} rows then, {now.rows} now"
                    f"{', with other values' if now.rows == then.rows else ''}"
                )


def _adopted_runs(target: Connection) -> set[str]:
    """Return the keys of all runs adopted before."""
    return {run for text in target.scalars(select(adoptions_table.c.runs_json)) for run in json.loads(text)}


def _new_runs(source: Connection, target: Connection) -> list[str]:
    runs = sorted(source.exec_driver_sql("SELECT run_id FROM runs WHERE run_id IS NOT NULL").scalars())
    adopted, pruned = _adopted_runs(target), {run.run_id for run in read_pruned_runs(target)}
    present = set(target.scalars(select(runs_table.c.run_id))) | pruned
    taken = [run for run in runs if run in present - adopted]
    if taken:
        raise LandscapeError(f"run {taken[0]} is already there, and was not adopted: use a database without it")
    return [run for run in runs if run not in present]


def _require_all_found(found: Mapping[str, TableContent], again: Mapping[str, TableContent]) -> None:
    for name, content in found.items():
        if content != again[name]:
            raise LandscapeError(
                f"table {name}: {content.rows} rows were read, {again[name].rows} could be put together again"
                f"{'' if content.rows != again[name].rows else ', with other values'}"
            )


class _Adopter:
    """Copies the rows of some runs, and rebuilds them."""

    def __init__(
        self,
        source: Connection,
        target: Connection,
        tables: Mapping[str, OldTable],
        runs: frozenset[str],
        meter: Meter,
    ) -> None:
        self.runs = runs
        self.records: defaultdict[str, int] = defaultdict(int)
        self._source, self._target, self._tables, self._meter = source, target, tables, meter
        self._of_moment = stored_times(target.dialect.name).of_moment
        self._places = {
            record_type.table.name: Place.of(record_type, tables[record_type.table.name])
            for record_type in RECORD_TYPES.values()
            if record_type.table.name in tables
        }
        self._lost: defaultdict[str, set[tuple[object, ...]]] = defaultdict(set)

    def take_over(self) -> dict[str, TableContent]:
        """Copy all rows, and return the contents of the tables.

        Rows without a run count, but are not copied.
        """
        found: dict[str, TableContent] = {}
        # Tables of records come first, each after those to which it refers.
        for name in (*self._places, *(name for name in self._tables if name not in self._places)):
            table, content = self._tables[name], ContentSum()
            for rows in chunks(table.rows(self._source), _ROWS):
                ours = [row for row in rows if row.run_id in self.runs]
                self._write(table, ours)
                for row in rows:
                    if row.run_id is None or row.run_id in self.runs:
                        content.add(canonical_bytes(row.values))
                # Each row counts when it is copied and when it is found again, which those of other runs are not.
                others = sum(row.run_id is not None and row.run_id not in self.runs for row in rows)
                self._meter.advance(name, len(rows) + others)
            found[name] = content.content
        return found

    def found_again(self, adoption_id: str) -> dict[str, TableContent]:
        """Return the contents of the tables, rebuilt from the copy.

        Rows without a run are those that the adoption recorded.
        """
        again = {name: ContentSum() for name in self._tables}
        kept = select(adoptions_table.c.values_json).where(adoptions_table.c.adoption_id == adoption_id)
        for name, rows in json.loads(self._target.execute(kept).scalar_one()).items():
            for row in rows:
                again[name].add(canonical_bytes(row))
            self._meter.advance(name, len(rows))
        for runs in chunks(iter(sorted(self.runs)), _ROWS):
            for name, place in self._places.items():
                for some in chunks(self._rebuilt(self._tables[name], place, runs), _ROWS):
                    for values in some:
                        again[name].add(canonical_bytes(values))
                    self._meter.advance(name, len(some))
            for value in self._adopted(adopted_values_table.c.run_id.in_(runs)):
                whole = whole_row(value, self._tables[value.source_table])
                if whole is not None:
                    again[value.source_table].add(canonical_bytes(whole))
                    self._meter.advance(value.source_table, 1)
        return {name: content.content for name, content in again.items()}

    def _write(self, table: OldTable, rows: Sequence[OldRow]) -> None:
        place = self._places.get(table.name)
        records = [self._record(place, row) for row in rows]
        if place is not None:
            self._insert(place, records)
        kept = [
            value
            for row, record in zip(rows, records, strict=True)
            if (value := remainder_of(table, place, row, record))
        ]
        if kept:
            insert_rows(self._target, adopted_values_table, [self._row_of(each) for each in kept])

    def _record(self, place: Place | None, row: OldRow) -> AuditRecord | None:
        record = place.record_of(row) if place is not None else None
        if record is None and place is not None and place.record_type is RUN:
            raise LandscapeError(f"run {row.run_id}: its record cannot be adopted, status {row.values['status']!r}")
        if place is None or (record is not None and not self._refers_to_lost(place, record)):
            return record
        self._lose(place, [row.run_id if name == "run_id" else row.values.get(name) for name in place.record_type.key])
        return None

    def _refers_to_lost(self, place: Place, record: AuditRecord) -> bool:
        return any(
            tuple(getattr(record, column, None) for column in reference.columns) in self._lost[reference.record_type]
            for reference in place.record_type.references
        )

    def _lose(self, place: Place, key: Sequence[object]) -> None:
        """Note that a row did not become a record.

        Rows that refer to it cannot become records either.
        """
        self._lost[place.record_type.name].add(tuple(key))

    def _insert(self, place: Place, records: list[AuditRecord | None]) -> None:
        """Insert the records.

        A record that the database refuses is replaced by None in the list.
        """
        sound = [position for position, record in enumerate(records) if record is not None]
        rows = [self._row_of(record) for record in records if record is not None]
        for place_of_row, _ in insert_sound_rows(self._target, place.record_type.table, rows):
            position = sound[place_of_row]
            self._lose(place, [getattr(records[position], name) for name in place.record_type.key])
            records[position] = None
        self.records[place.record_type.table.name] += sum(record is not None for record in records)

    def _row_of(self, record: AuditRecord) -> Row:
        return ROWS[type(record)](record, self._of_moment)

    def _rebuilt(self, table: OldTable, place: Place, runs: Sequence[str]) -> Iterator[Mapping[str, Plain]]:
        statement = place.convert.select().where(place.record_type.table.c.run_id.in_(runs))
        rows = self._target.execute(statement, execution_options={"yield_per": _ROWS})
        for chunk in rows.partitions():
            records = [place.convert.from_row(row) for row in chunk]
            values = [{old: place.held(record, old) for old in table.columns} for record in records]
            keys = [table.key_of(each) for each in values]
            kept = {
                (value.run_id, value.source_key): merge_remainder(value)
                for some in chunks(iter(keys), 500)
                for value in self._adopted(
                    adopted_values_table.c.run_id.in_(runs),
                    adopted_values_table.c.source_key.in_(some),
                    adopted_values_table.c.source_table == table.name,
                )
            }
            for record, each, key in zip(records, values, keys, strict=True):
                yield {**each, **kept.get((record.run_id, key), {})}

    def _adopted(self, *conditions: object) -> Iterator[AdoptedValue]:
        statement = mapper(ADOPTED_VALUE).select().where(*conditions)  # type: ignore[arg-type]  # conditions of SQLAlchemy
        for row in self._target.execute(statement, execution_options={"yield_per": _ROWS}):
            yield mapper(ADOPTED_VALUE).from_row(row)


def _refusal(state: DatabaseState, url: str) -> str:
    if state.kind is StateKind.CURRENT or state.versioned:
        return (
            f"audit database {url} is not the predecessor's. Nothing was changed. To take a run from it into another"
            " database, export it and import the export (elspeth export, elspeth import)"
        )
    return describe_state(state, url)
