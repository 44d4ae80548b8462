"""The loop of server_kills.py, in short."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.durability.server_kills import ServerHarness
from tests.fixtures.postgres import UNAVAILABLE, Cluster, find_binaries, new_cluster


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Start a server that the test may kill.

    Tests are skipped on a machine without PostgreSQL, but fail in CI.
    """
    binaries = find_binaries()
    if binaries is not None:
        with new_cluster(binaries) as made:
            yield made
    elif os.environ.get("CI"):
        pytest.fail(UNAVAILABLE)
    else:
        pytest.skip(UNAVAILABLE)


@pytest.mark.thorough
@pytest.mark.postgres
def test_a_run_whose_server_is_killed_twice_ends_as_an_undisturbed_one(
    cluster: Cluster, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    harness = ServerHarness(tmp_path, cluster, rows=1200)
    harness.disturb(2)
    record_property("durability", f"PostgreSQL: {harness.count}")
    assert harness.count.bad == []
    assert harness.count.kills >= 1
