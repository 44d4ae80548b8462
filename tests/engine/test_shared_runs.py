"""Runs whose rows are shared among workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, chdir
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL

from elspeth.api.workers import ProcessWorkers
from elspeth.cli.clusters import ClusterWorkers
from elspeth.contracts.rows import RowData
from elspeth.core.landscape.database import LandscapeDB
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.sharing import Workers
from tests.engine.drawn import ROWS, SINKS, AskTransform, graphs
from tests.engine.drawn_wired import wired_graphs
from tests.engine.killing import run_with_kills
from tests.engine.pipelines import PLUGINS, Settings, assert_sound, build, graph_settings, groups_of, trail
from tests.engine.told import tell, without_operations
from tests.fixtures.databases import create_database, drop_database
from tests.fixtures.effort import law
from tests.fixtures.workers import InlineWorkers

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # a process that is killed closes nothing
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def run_shared(directory: Path, chosen: Settings, workers: Workers | None) -> tuple[list[bytes], Counter[str], object]:
    """Run settings; return what is left of the run."""
    with chdir(directory):
        pipeline = build(directory, chosen, *PLUGINS, AskTransform)
        keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
        with LandscapeDB.from_url(pipeline.settings.landscape.url) as db:
            result = Orchestrator(db, pipeline, keys, workers=workers).run()
        records = trail(directory, chosen["landscape"]["url"])
    assert_sound(records, status="completed")
    outputs = [(directory / f"{name}.jsonl").read_bytes() for name in ("out", *SINKS)]
    return outputs, tell(records), (result.rows_by_sink, result.failed, result.quarantined, result.reasons)


def without_repeated_calls(chosen: Settings) -> Settings:
    """Let calls fail always or never.

    How often that happens depends on which process asks.
    """
    for part in [*chosen.get("row_plugins", []), *chosen.get("transforms", [])]:
        part["options"].pop("late", None)
    return chosen


ROUTES = {"true": "s1", "false": "continue"}

WORKERS = st.builds(
    InlineWorkers, count=st.integers(1, 3), deadly=st.sets(st.integers(1, 6), max_size=2), twice=st.booleans()
)


@law(10)
@given(data=st.data(), rows=ROWS, more=ROWS, size=st.integers(1, 7), workers=WORKERS)
def test_outputs_of_wired_steps_and_several_sources_do_not_depend_on_workers(  # noqa: PLR0917  what is drawn
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    rows: list[RowData],
    more: list[RowData],
    size: int,
    workers: Workers,
) -> None:
    directory = tmp_path_factory.mktemp("run")
    chosen = without_repeated_calls(data.draw(wired_graphs(directory, {"first": rows, "second": more})))
    alone = run_shared(directory, chosen, None)
    with pytest.MonkeyPatch.context() as patch:
        groups_of(patch, size)
        assert run_shared(directory, chosen, workers) == alone


@law(30)
@given(
    data=st.data(),
    rows=ROWS,
    size=st.integers(1, 7),
    kills=st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=4),
    workers=st.lists(st.none() | WORKERS, min_size=6, max_size=6),
)
def test_outputs_and_trail_do_not_depend_on_workers_even_if_processes_are_killed(  # noqa: PLR0917  what is drawn
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    rows: list[RowData],
    size: int,
    kills: list[tuple[int, bool]],
    workers: list[Workers | None],
) -> None:
    directory = tmp_path_factory.mktemp("run")
    chosen = without_repeated_calls(data.draw(graphs(directory, rows)))
    outputs, told, _ = run_shared(directory, chosen, None)
    attempts = iter(workers)
    with pytest.MonkeyPatch.context() as patch, chdir(directory):
        groups_of(patch, size)
        run_with_kills(directory, chosen, kills, lambda: next(attempts))
    assert [(directory / f"{name}.jsonl").read_bytes() for name in ("out", *SINKS)] == outputs
    again = tell(trail(directory))
    assert (without_operations(again) if kills else again) == (without_operations(told) if kills else told)


@pytest.fixture(scope="module", params=["processes", "cluster"])
def real_workers(request: pytest.FixtureRequest) -> Iterator[list[Workers]]:
    """Start workers that are other processes, once for all runs."""
    with ExitStack() as stack:
        if request.param == "processes":
            started: list[Workers] = [ProcessWorkers(count, "elspeth.engine.workshop") for count in (1, 2, 3)]
            for each in started:
                assert isinstance(each, ProcessWorkers)
                stack.callback(each.stop)
        else:
            distributed = pytest.importorskip("distributed")
            options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
            local = stack.enter_context(distributed.LocalCluster(**options, protocol="tcp://", host="127.0.0.1"))
            client = stack.enter_context(distributed.Client(local, set_as_default=False))
            started = [ClusterWorkers(client, local.scheduler_address)]
        yield started


@pytest.mark.thorough
@law(60)
@given(data=st.data(), rows=ROWS, size=st.integers(1, 7))
def test_outputs_and_trail_do_not_depend_on_processes_and_clusters(
    tmp_path_factory: pytest.TempPathFactory,
    real_workers: list[Workers],
    data: st.DataObject,
    rows: list[RowData],
    size: int,
) -> None:
    directory = tmp_path_factory.mktemp("run")
    chosen = without_repeated_calls(data.draw(graphs(directory, rows) | wired_graphs(directory, {"first": rows})))
    alone = run_shared(directory, chosen, None)
    with pytest.MonkeyPatch.context() as patch:
        groups_of(patch, size)
        assert run_shared(directory, chosen, data.draw(st.sampled_from(real_workers))) == alone


@pytest.fixture(scope="module")
def one_postgresql_url(postgresql_server: URL) -> Iterator[str]:
    """Create a PostgreSQL database for all runs."""
    url = create_database(postgresql_server)
    yield url.render_as_string(hide_password=False)
    drop_database(postgresql_server, url)


@pytest.mark.thorough
@pytest.mark.postgres
@law(20)
@given(data=st.data(), rows=ROWS, size=st.integers(1, 7))
def test_outputs_and_trail_in_postgresql_do_not_depend_on_workers(  # noqa: PLR0917  what is drawn
    tmp_path_factory: pytest.TempPathFactory,
    one_postgresql_url: str,
    real_workers: list[Workers],
    data: st.DataObject,
    rows: list[RowData],
    size: int,
) -> None:
    directory = tmp_path_factory.mktemp("run")
    chosen = without_repeated_calls(data.draw(graphs(directory, rows)))
    chosen["landscape"]["url"] = one_postgresql_url
    alone = run_shared(directory, chosen, None)
    with pytest.MonkeyPatch.context() as patch:
        groups_of(patch, size)
        assert run_shared(directory, chosen, data.draw(st.sampled_from(real_workers))) == alone


@pytest.mark.postgres
def test_a_run_in_postgresql_is_shared_in_the_same_way(tmp_path: Path, postgresql_url: str) -> None:
    rows: list[RowData] = [{"id": number % 6, "v": number % 5 - 1, "items": [number]} for number in range(60)]
    fork = {"name": "fork", "condition": "row['id'] > 2", "routes": {"true": "fork", "false": "continue"}}
    sections: dict[str, object] = {
        "row_plugins": [
            {"plugin": "mark", "options": {"field": "m", "fail": [1], "on_error": "bad"}},
            {"plugin": "mark", "branch": "a", "options": {"field": "n", "crash": [4], "on_error": "discard"}},
        ],
        "gates": [fork | {"fork_to": ["a", "b", "s2"]}, {"name": "r", "condition": "row['v'] > 2", "routes": ROUTES}],
        "coalesce": [{"name": "meet", "branches": ["a", "b"], "policy": "best_effort", "timeout_seconds": 1000}],
    }
    chosen = graph_settings(tmp_path, rows, *SINKS, **sections)
    chosen["landscape"]["url"] = postgresql_url
    alone = run_shared(tmp_path, chosen, None)
    assert run_shared(tmp_path, chosen, InlineWorkers(count=2, deadly=[2])) == alone
