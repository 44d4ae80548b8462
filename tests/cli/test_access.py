"""How commands open the databases that they are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from elspeth.cli.access import database_url, open_landscape
from elspeth.core.landscape.database import LandscapeDB


@pytest.mark.parametrize("name", ["50%25.db", "who?.db", "a#b.db", "a b+c.db", "a?mode=ro.db"])
def test_any_file_name_is_accepted_as_that_of_a_database(tmp_path: Path, name: str) -> None:
    LandscapeDB.from_url(f"sqlite:///{tmp_path / 'made.db'}").close()
    (tmp_path / "made.db").rename(tmp_path / name)
    with open_landscape(str(tmp_path / name)) as db, db.connection() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM runs").scalar_one() == 0
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("url", ["sqlite:///50%25.db", "postgresql://u@h/d?sslmode=require"])
def test_a_url_is_left_as_it_is(url: str) -> None:
    assert database_url(url) == url
