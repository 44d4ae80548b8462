"""Answers about a run contain nothing from another run.

The other one has the same ids, as runs of other programs may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import Connection

from elspeth.core.canonical import canonical_json
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.queries.accounting import account_for
from elspeth.core.landscape.queries.comparison import compare_counts, compare_rows, compare_settings, compare_steps
from elspeth.core.landscape.queries.endings import ended_tokens, step_names
from elspeth.core.landscape.queries.outputs import recorded_outputs
from elspeth.core.landscape.queries.problems import (
    DIFFERS_FROM,
    count_differing_answers,
    count_visits,
    differing_answers,
    failed_rows,
    first_differing_rows,
)
from elspeth.core.landscape.queries.recorded import (
    calls_of_rows,
    count_calls,
    count_endings,
    count_rows,
    count_rows_by_source,
    row_hashes,
)
from elspeth.core.landscape.queries.runs import RecordedRun, recorded_settings
from elspeth.core.landscape.queries.story.model import story_json
from elspeth.core.landscape.queries.story.reader import row_story
from elspeth.core.landscape.queries.story.trail import DatabaseTrail
from tests.fixtures.landscapes import NewLandscape, in_memory
from tests.fixtures.other_runs import add_records, record_other_run
from tests.fixtures.told_run import ROWS, record_told_run

Record = dict[str, Any]
Question = Callable[[LandscapeDB], object]

RUN = "told"


def noted(record: Record) -> Record:
    """Return the record, its reason with a differing answer."""
    note = canonical_json({DIFFERS_FROM: None, "exception": "refused"})
    reasons = {"success_reason_json", "error_details_json"} & {name for name, value in record.items() if value}
    return record | dict.fromkeys(reasons, note)


@pytest.fixture(scope="module")
def databases(new_landscape: NewLandscape) -> Iterator[tuple[LandscapeDB, LandscapeDB]]:
    """Open a database with a run, and one with two."""
    with ExitStack() as stack:
        first, alone = stack.enter_context(in_memory()), stack.enter_context(in_memory())
        beside = stack.enter_context(new_landscape())
        record_told_run(first, RUN, ended=False)
        records = [noted(each) for each in LandscapeExporter(first, include_payloads=True).export_run(RUN)]
        add_records(alone, records)
        add_records(beside, records)
        record_other_run(beside, RUN)
        yield alone, beside


def stories(connection: Connection, run_id: str) -> list[str]:
    trail = DatabaseTrail(connection, run_id)
    return [story_json(row_story(trail, index)) for index in range(ROWS)]


def asked(question: Callable[[Connection, str], object]) -> Question:
    """Ask the question in a snapshot."""

    def ask(database: LandscapeDB) -> object:
        with database.snapshot() as connection:
            return question(connection, RUN)

    return ask


QUESTIONS: Mapping[str, Question] = {
    "breaches": lambda database: account_for(database, RUN),
    "endings": asked(lambda connection, run_id: list(ended_tokens(connection, run_id))),
    "names of steps": asked(step_names),
    "settings": asked(recorded_settings),
    "outputs": asked(recorded_outputs),
    "failed rows": lambda database: failed_rows(database, RUN),
    "visits": lambda database: count_visits(database, RUN, ["gate", "enrich"]),
    "differing answers": asked(lambda connection, run_id: list(differing_answers(connection, run_id))),
    "number of differing answers": lambda database: count_differing_answers(database, RUN),
    "first differing rows": lambda database: first_differing_rows(database, RUN, ROWS),
    "number of calls": asked(count_calls),
    "calls": lambda database: calls_of_rows(database, RUN, range(ROWS)),
    "number of endings": lambda database: count_endings(database, RUN),
    "number of rows": lambda database: count_rows(database, RUN),
    "rows by source": lambda database: count_rows_by_source(database, RUN),
    "hashes of rows": lambda database: list(row_hashes(database, RUN, "source")),
    "stories": asked(stories),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_do_not_depend_on_other_runs(databases: tuple[LandscapeDB, LandscapeDB], question: str) -> None:
    alone, beside = map(QUESTIONS[question], databases)
    assert alone
    assert beside == alone


def test_a_run_beside_another_does_not_differ_from_itself(databases: tuple[LandscapeDB, LandscapeDB]) -> None:
    with databases[0].snapshot() as alone, databases[1].snapshot() as beside:
        runs = RecordedRun(alone, RUN), RecordedRun(beside, RUN)
        compared = [list(compare(*runs)) for compare in (compare_settings, compare_steps, compare_counts)]
        assert (*compared, list(compare_rows(*runs))) == ([], [], [], [])
