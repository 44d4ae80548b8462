"""A killed upgrade leaves the old or the new database."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import make_url

from elspeth.core.landscape.database.state import StateKind, read_state
from elspeth_schema.records import RECORD_TYPES
from tests.durability.disk import journal_entries
from tests.durability.pipeline import elspeth
from tests.durability.shadow import Shadow
from tests.fixtures.legacy import LEGACY, rows_of
from tests.fixtures.predecessor import releases

KILLS = 40

Rows = Mapping[str, list[dict[str, object]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """A command that writes `written`, and reads `read`."""

    directory: Path
    arguments: tuple[str, ...]
    written: Path
    read: Path | None = None

    def records(self) -> Rows:
        """Return all records of the database that is written."""
        tables = {record_type.table.name for record_type in RECORD_TYPES.values()}
        return {name: rows for name, rows in rows_of(self.written).items() if name in tables}


@pytest.fixture(params=["epoch1-audit-export", "epoch4-rich"])
def migration(request: pytest.FixtureRequest, tmp_path: Path) -> Upgrade:
    """Return a migration, with a backup."""
    directory = tmp_path / "job"
    directory.mkdir()
    path = Path(shutil.copy(LEGACY / f"{request.param}.db", directory / "audit.db"))
    return Upgrade(directory=directory, arguments=("landscape", "migrate", "-d", str(path)), written=path)


@pytest.fixture(params=["into a new database", "beside other runs"])
def adoption(request: pytest.FixtureRequest, predecessor_files: Path, tmp_path: Path) -> Upgrade:
    """Return an adoption."""
    directory, (first, *_, last) = tmp_path / "job", releases(predecessor_files)
    directory.mkdir()
    old, new = Path(shutil.copy(last, directory / "old.db")), directory / "new.db"
    if request.param == "beside other runs":
        assert elspeth("landscape", "adopt", str(first), "-d", str(new)).returncode == 0
    return Upgrade(
        directory=directory, arguments=("landscape", "adopt", str(old), "-d", str(new)), written=new, read=old
    )


def kill_often(upgrade: Upgrade, library: Path, kills: int, scratch: Path) -> tuple[int, int]:
    """Kill the command at random changes, and repeat it.

    Returns how often the old database was left, and how often the new one.
    """
    fresh, journal = scratch / "fresh", scratch / "journal"
    shutil.copytree(upgrade.directory, fresh)
    assert (
        elspeth(
            *upgrade.arguments, shadow=Shadow(preloaded=library, root=upgrade.directory, journal=journal)
        ).returncode
        == 0
    )
    changes = sum(entry.is_barrier or entry.kind in "wt" for entry in journal_entries(journal))
    after, chance, left = upgrade.records(), random.Random(kills), {False: 0, True: 0}  # noqa: S311 - no secret
    for _ in range(kills):
        shutil.rmtree(upgrade.directory)
        shutil.copytree(fresh, upgrade.directory)
        before = upgrade.written.read_bytes() if upgrade.written.exists() else None
        stop = Shadow(preloaded=library, root=upgrade.directory, stop_event=chance.randint(1, changes))
        where = f"killed at {stop.stop_event} of {changes}"
        assert elspeth(*upgrade.arguments, shadow=stop).returncode == -signal.SIGKILL, where
        is_new = _require_old_or_new(upgrade, before, after, where)
        left[is_new] += 1
        again = elspeth(*upgrade.arguments)
        assert (again.returncode, upgrade.records()) == (0, after), (where, again.stderr)
        assert ("nothing to" in again.stdout) == is_new, (where, again.stdout)
        if upgrade.read is not None:
            assert upgrade.read.read_bytes() == (fresh / upgrade.read.name).read_bytes(), where
    return left[False], left[True]


def _require_old_or_new(upgrade: Upgrade, before: bytes | None, after: Rows, where: str) -> bool:
    """Return whether a killed command had done its work."""
    kind = read_state(make_url(f"sqlite:///{upgrade.written}")).kind
    for backup in upgrade.directory.glob("*.bak"):
        assert read_state(make_url(f"sqlite:///{backup}")).kind is StateKind.OLDER, where
    if kind is StateKind.CURRENT and upgrade.records() == after:
        return True
    if before is None:
        assert (kind, upgrade.written.exists()) == (StateKind.EMPTY, False), where
    else:
        with closing(sqlite3.connect(upgrade.written)) as connection:
            connection.execute("PRAGMA wal_checkpoint")  # takes over what others had committed: nothing
        assert upgrade.written.read_bytes() == before, where
    return False


@pytest.mark.thorough
def test_a_killed_migration_leaves_the_old_or_the_new_database(
    migration: Upgrade, library: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    old, new = kill_often(migration, library, KILLS // 2, tmp_path)
    record_property("durability", f"{old + new} kills: {old} times the old database, {new} times the new one")
    assert old > 0


@pytest.mark.thorough
def test_a_killed_adoption_leaves_the_old_or_the_new_database(
    adoption: Upgrade, library: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    old, new = kill_often(adoption, library, KILLS // 2, tmp_path)
    record_property("durability", f"{old + new} kills: {old} times the old database, {new} times the new one")
    assert old > 0
