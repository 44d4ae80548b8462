"""Rate limits of calls."""

import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyrate_limiter import RateItem

from elspeth.contracts.plugins import PluginError
from elspeth.core.settings.model import RateLimitSettings, ServiceRateSettings
from elspeth.engine.calls.rates import RateLimit, RateLimits
from tests.engine.calls.oracle import FakeTime

Settings = dict[str, object]


def times(settings: Settings, calls: int, *, service: str = "delphi") -> list[float]:
    """Return the times of calls that are requested at once.

    Times are seconds.
    """
    time = FakeTime()
    limit = RateLimits(RateLimitSettings.model_validate(settings), clock=time.clock).get(service)
    return [] if limit is None else [made_at(limit, time) for _ in range(calls)]


def made_at(limit: RateLimit, time: FakeTime) -> float:
    limit.acquire(time.pause)
    return round(time.now, 1)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"default_requests_per_second": 2}, [0, 0, 1, 1, 2]),
        ({"default_requests_per_minute": 2}, [0, 0, 60, 60, 120]),
        ({"default_requests_per_second": 1, "default_requests_per_minute": 3}, [0, 1, 2, 60, 61]),
        ({"default_requests_per_second": 5, "default_requests_per_minute": 2}, [0, 0, 60, 60, 120]),
        ({"default_requests_per_second": 1, "default_requests_per_minute": 100}, [0, 1, 2, 3, 4]),
        ({"default_requests_per_second": 2, "default_requests_per_minute": 2}, [0, 0, 60, 60, 120]),
        ({"default_requests_per_second": 1, "default_requests_per_minute": 60}, [0, 1, 2, 3, 4]),
        (
            {"default_requests_per_second": 9, "services": {"delphi": {"requests_per_minute": 2}}},
            [0, 0, 60, 60, 120],
        ),
        ({"default_requests_per_second": 1, "services": {"delphi": {"requests_per_second": 4}}}, [0, 0, 0, 0, 1]),
        ({"default_requests_per_second": 3, "services": {"dodona": {"requests_per_second": 1}}}, [0, 0, 0, 1, 1]),
    ],
)
def test_calls_are_spread_over_time_as_the_settings_say(settings: Settings, expected: list[float]) -> None:
    assert times(settings, 5) == expected


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"enabled": False, "default_requests_per_second": 1},
        {"default_requests_per_second": 1, "services": {"delphi": {}}},
    ],
)
def test_without_a_rate_there_is_no_limit(settings: Settings) -> None:
    assert RateLimits(RateLimitSettings.model_validate(settings)).get("delphi") is None


def test_a_limit_with_a_file_holds_for_all_processes_that_use_the_file(tmp_path: Path) -> None:
    time = FakeTime()
    path = tmp_path / "new" / "rates.db"
    settings = RateLimitSettings(default_requests_per_second=2, persistence_path=str(path))
    users = [RateLimits(settings, clock=time.clock) for _ in range(2)]
    made = []
    for user in users * 3:
        limit = user.get('it\'s "Delphi"; DROP TABLE x')
        assert limit is not None
        made.append(made_at(limit, time))
    other = users[0].get("dodona")
    assert other is not None
    made.append(made_at(other, time))
    for user in users:
        user.close()
    assert made == [0, 0, 1, 1, 2, 2, 2]


def test_no_other_process_counts_while_a_call_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rates.db"
    limits = RateLimits(RateLimitSettings(default_requests_per_second=2, persistence_path=str(path)))
    limit = limits.get("delphi")
    assert limit is not None
    put = limit._bucket.put
    refused = []

    def put_while_another_tries(item: RateItem) -> object:
        with closing(sqlite3.connect(path, timeout=0)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                refused.append(str(error))
        return put(item)

    monkeypatch.setattr(limit._bucket, "put", put_while_another_tries)
    limit.acquire(FakeTime().pause)
    limits.close()
    assert refused == ["database is locked"]


def test_old_calls_are_forgotten(tmp_path: Path) -> None:
    time = FakeTime()
    settings = RateLimitSettings(default_requests_per_second=10, persistence_path=str(tmp_path / "rates.db"))
    limits = RateLimits(settings, clock=time.clock)
    limit = limits.get("delphi")
    assert limit is not None
    for _ in range(2000):
        limit.acquire(time.pause)
    assert limit._bucket.count() == pytest.approx(600, abs=50)
    limits.close()


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "rates.db").write_text("no database" * 100)
    settings = RateLimitSettings(default_requests_per_second=1, persistence_path=str(tmp_path / "rates.db"))
    with pytest.raises(PluginError) as raised:
        RateLimits(settings).get("delphi")
    assert str(raised.value) == (
        f"the file of the rate limits, {tmp_path / 'rates.db'}, cannot be used: file is not a database"
    )


def test_a_file_that_is_lost_during_the_run_ends_the_run(tmp_path: Path) -> None:
    settings = RateLimitSettings(default_requests_per_second=1, persistence_path=str(tmp_path / "rates.db"))
    limits = RateLimits(settings)
    limit = limits.get("delphi")
    assert limit is not None
    limits.close()
    with pytest.raises(PluginError) as raised:
        limit.acquire(FakeTime().pause)
    assert str(raised.value) == "the file of the rate limits cannot be used: Cannot operate on a closed database."


def test_a_file_whose_directory_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "rates.db"
    with pytest.raises(PluginError) as raised:
        RateLimits(RateLimitSettings(default_requests_per_second=1, persistence_path=str(path))).get("delphi")
    assert str(raised.value).startswith(f"the file of the rate limits, {path}, cannot be used: [Errno ")


def test_closing_closes_the_file_for_every_service(tmp_path: Path) -> None:
    free = {"free": ServiceRateSettings()}
    settings = RateLimitSettings(
        default_requests_per_second=9, persistence_path=str(tmp_path / "rates.db"), services=free
    )
    limits = RateLimits(settings)
    assert limits.get("free") is None
    made = [limit for name in ("delphi", "dodona") if (limit := limits.get(name)) is not None]
    limits.close()
    assert len(made) == 2
    for limit in made:
        with pytest.raises(PluginError, match="Cannot operate on a closed database"):
            limit.acquire(FakeTime().pause)


def test_processes_that_share_a_file_count_by_the_time_of_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other clocks differ between machines."""
    monkeypatch.setattr("elspeth.engine.calls.rates.time", SimpleNamespace(time=lambda: 7e5, monotonic=lambda: 1.0))
    path = tmp_path / "rates.db"
    limits = RateLimits(RateLimitSettings(default_requests_per_second=1, persistence_path=str(path)))
    limit = limits.get("delphi")
    assert limit is not None
    limit.acquire(FakeTime().pause)
    limits.close()
    with closing(sqlite3.connect(path)) as connection:
        (table,) = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchone()
        found = connection.execute(f"SELECT item_timestamp FROM {table}").fetchall()  # noqa: S608  our own name
    assert found == [(700_000_000,)]
