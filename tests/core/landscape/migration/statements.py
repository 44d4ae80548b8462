"""Interrupting what is done to a database at its statements."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, event, make_url

__all__ = ["FaultError", "Statement", "before_each_statement", "cut_at", "do_nothing", "kill_at", "plain", "raise_at"]

Statement = Callable[[int, Connection], None]
"""What a test does before each statement, told its number and the connection."""


class FaultError(Exception):
    """The error that a test raises in a migration."""


@contextmanager
def before_each_statement(act: Statement) -> Iterator[list[str]]:
    """Call `act` before each statement; return the statements."""
    seen: list[str] = []

    def listen(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)
        act(len(seen) - 1, connection)

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", listen)


def do_nothing(_number: int, _connection: Connection) -> None:
    """Only count the statement."""


def raise_at(number: int) -> Statement:
    """Return an act that raises FaultError at a statement."""

    def act(current: int, _connection: Connection) -> None:
        if current == number:
            raise FaultError

    return act


def kill_at(number: int) -> Statement:
    """Return an act that kills the process at a statement."""

    def act(current: int, _connection: Connection) -> None:
        if current == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return act


def cut_at(number: int, url: str) -> Statement:
    """Return an act that ends the connection at a statement.

    It is the first one to that PostgreSQL database from then on.
    """
    left = [1]

    def act(current: int, connection: Connection) -> None:
        if current >= number and connection.dialect.name == "postgresql" and left.pop():
            left.append(0)
            driver: Any = connection.connection.driver_connection
            with psycopg.connect(plain(url), autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (driver.info.backend_pid,))

    return act


def plain(url: str) -> str:
    """Return the URL as psycopg takes it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
