"""Connections to PostgreSQL that are cut."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sqlalchemy import make_url

_CUT = """
import sys, psycopg
from elspeth.cli.logs import hidden_logs
try:
    with hidden_logs(), psycopg.connect(sys.argv[1]) as connection, connection.pipeline():
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        connection.execute("SELECT 1").fetchall()
except psycopg.Error as error:
    print("the error was raised")
"""


@pytest.mark.postgres
def test_the_driver_prints_nothing_itself(postgresql_url: str) -> None:
    address = make_url(postgresql_url).set(drivername="postgresql").render_as_string(hide_password=False)
    done = subprocess.run([sys.executable, "-c", _CUT, address], check=True, capture_output=True, text=True)
    assert (done.stdout.splitlines()[-1], done.stderr) == ("the error was raised", "")
