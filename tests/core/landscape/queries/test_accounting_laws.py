"""A run and the verifier find the same laws broken."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from elspeth.contracts.errors import AuditIntegrityError
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.accounting import account_for
from elspeth.core.landscape.records.mapping import mapper
from elspeth.core.landscape.records.store import RecordStore
from elspeth.evidence.format.laws import LAWS, Law
from elspeth.evidence.verifier.procedure import StepError
from elspeth_schema.records import RECORD_TYPES
from tests.engine.pipelines import Records
from tests.evidence.verifier.test_accounting import laws_of_lines, lines_of
from tests.fixtures.broken_laws import EXAMPLES, broken, drop_states, drop_tokens
from tests.fixtures.effort import law
from tests.fixtures.every_kind import run_every_kind
from tests.fixtures.landscapes import in_memory
from tests.fixtures.other_runs import record_other_run


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Return the trail of a run with every feature.

    Tests must not change it.
    """
    return run_every_kind(tmp_path_factory.mktemp("run"))


def laws_of_database(db: LandscapeDB, records: Records, run_id: str) -> set[Law | None]:
    """Return the broken laws that the run finds.

    None stands for work that has not ended.
    """
    contracts = [
        mapper(record_type).from_record({**record, "run_id": run_id})
        for name, record_type in RECORD_TYPES.items()
        for record in records.get(name, [])
    ]
    RecordStore(db).add(*contracts)
    return {breach.law for breach in account_for(db, run_id).breaches}


def test_the_queries_and_the_verifier_name_the_same_broken_laws(landscape: LandscapeDB, trail: Records) -> None:
    """All runs are in one database, with the same ids."""
    assert laws_of_database(landscape, trail, "sound") == set()
    record_other_run(landscape, "sound")
    found = {
        case: laws_of_database(landscape, broken(trail, case), f"run-{number}") for number, case in enumerate(EXAMPLES)
    }
    proved = {law for law, facts in LAWS.items() if facts.proved_by_run}
    assert found == {case: laws & proved for case, (_, laws) in EXAMPLES.items()}
    assert account_for(landscape, "sound").breaches == ()


GROUPS = ("fork_group_id", "expand_group_id", "join_group_id")
LEAVES = ("routing_event", "token_parent", "batch_member", "batch_output", "token_outcome", "artifact", "edge")
COLUMNS = {
    "routing_event": ["edge_id", "mode", "state_id"],
    "token_parent": ["parent_token_id", "token_id"],
    "batch_member": ["batch_id", "token_id"],
    "batch_output": ["batch_id", "output_id"],
    "token_outcome": ["outcome", "sink_name", "batch_id", "token_id", *GROUPS],
    "token": ["row_id", *GROUPS],
    "node_state": ["node_id", "token_id", "step_index"],
    "row": ["row_index", "source_node_id"],
    "edge": ["from_node_id", "to_node_id"],
    "node": ["node_type"],
}
"""What is given the value that another record of the type has."""


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[str, str, int, int]]:
    """Draw changes: kind, type or column, and two record numbers."""
    kinds = [("drop", name) for name in LEAVES] + [("drop with all", name) for name in ("token", "node_state")]
    kinds += [(name, column) for name, columns in COLUMNS.items() for column in columns]
    number = st.integers(0, 10_000)
    return draw(
        st.lists(
            st.tuples(st.sampled_from(kinds), number, number).map(lambda each: (*each[0], *each[1:])),
            min_size=1,
            max_size=2,
        )
    )


def apply(records: Records, change: tuple[str, str, int, int]) -> None:
    kind, name, first, second = change
    if kind == "drop":
        records[name].pop(first % len(records[name]))
    elif kind == "drop with all":
        record = records[name][first % len(records[name])]
        (drop_tokens if name == "token" else drop_states)(
            records, {record["token_id" if name == "token" else "state_id"]}
        )
    else:
        some = records[kind]
        some[first % len(some)][name] = some[second % len(some)][name]
        if name == "outcome":
            some[first % len(some)]["is_terminal"] = some[second % len(some)]["is_terminal"]


@pytest.fixture(scope="module")
def copy_of_trail(trail: Records) -> Callable[[], Records]:
    """Return a function that copies the trail.

    It has a short name where Hypothesis shows arguments.
    """
    return lambda: copy.deepcopy(trail)


@law(300)
@given(changes())
def test_a_run_and_the_verifier_of_its_bag_agree(
    copy_of_trail: Callable[[], Records], some: list[tuple[str, str, int, int]]
) -> None:
    """Skip changes after which the records do not fit together."""
    records = copy_of_trail()
    for change in some:
        apply(records, change)
    proved = {law for law, facts in LAWS.items() if facts.proved_by_run}
    try:
        expected = laws_of_lines(lines_of(records))
        with in_memory() as database:
            found = laws_of_database(database, records, "run")
    except (StepError, AuditIntegrityError):
        return
    event("both asked")
    # If a token is recorded as two groups, each side may search another one for its end.
    unsure = {Law.ORIGINS} if Law.GROUPS in expected else set()
    assert found - unsure == (expected & proved) - unsure
