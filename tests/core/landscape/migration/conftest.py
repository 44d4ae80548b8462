"""Databases that were migrated once, for tests that only read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from elspeth.core.landscape.migration.migrate import MigrationReport, migrate
from tests.fixtures.legacy import EVERY_OLD_DATABASE, OldDatabase, making_old_databases


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """A migrated database, its report and the progress told."""

    database: OldDatabase
    report: MigrationReport
    progress: list[tuple[str, int, int]]


@pytest.fixture(scope="session", params=EVERY_OLD_DATABASE)
def migrated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Migrated]:
    """Return each historical database on each engine, migrated."""
    told: list[tuple[str, int, int]] = []
    with making_old_databases(request, tmp_path_factory.mktemp("migrated")) as make:
        database = make(*request.param)
        report = migrate(
            database.url,
            no_backup=database.engine == "postgresql",
            report=lambda table, done, total: told.append((table, done, total)),
        )
        yield Migrated(database=database, report=report, progress=told)
