"""A signal is noted or raised, and never lost."""

import errno
import signal
import sqlite3
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import closing, suppress
from types import ModuleType

import pytest
from typer.core import TyperGroup

from elspeth.cli import main
from elspeth.cli.signals import Stopped, note_signals, raise_signals
from elspeth.plugins.manager import PluginManager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("number", SIGNALS)
def test_an_ignored_signal_stays_ignored(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with raise_signals(), note_signals() as request:
            signal.raise_signal(number)
            assert not request()
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted_and_the_second_raised(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = [signal.getsignal(each) for each in SIGNALS]
    with note_signals() as request:
        assert (request(), request.exit_code) == (False, 0)
        signal.raise_signal(number)
        assert (request(), request.exit_code) == (True, 128 + number)
        with pytest.raises(Stopped) as stopped:
            signal.raise_signal(signal.SIGTERM)
    assert stopped.value.exit_code == 143
    assert [signal.getsignal(each) for each in SIGNALS] == usual
    how = {
        signal.SIGINT: "stopping when the rows at hand are recorded; press Ctrl-C again to stop at once\n",
        signal.SIGTERM: "SIGTERM: stopping when the rows at hand are recorded; SIGTERM now stops at once\n",
        signal.SIGHUP: "SIGHUP: stopping when the rows at hand are recorded; SIGTERM now stops at once\n",
    }
    assert capsys.readouterr() == ("", how[number])


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, ""), (signal.SIGTERM, "SIGTERM: ")])
def test_a_run_with_workers_stops_at_once_and_says_so(
    number: signal.Signals, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with note_signals(shared=True):
        signal.raise_signal(number)
    said = "stopping; the rows that workers have at hand are processed again when the run is resumed"
    assert capsys.readouterr() == ("", f"{name}{said}\n")


def test_a_second_hangup_is_ignored() -> None:
    with note_signals() as request:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        assert request()
    with raise_signals():
        with pytest.raises(Stopped) as stopped:
            signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
    assert stopped.value.exit_code == 129


class Doomed:
    """An object that calls a function when it is deleted."""

    def __init__(self, at_end: Callable[[], object]) -> None:
        self._at_end = at_end

    def __del__(self) -> None:
        """Call the given function."""
        self._at_end()


def drop_in_a_destructor(raise_it: Callable[[], object]) -> None:
    Doomed(raise_it)


def drop_in_a_weak_reference(raise_it: Callable[[], object]) -> None:
    thing = Doomed(bool)
    _reference = weakref.ref(thing, lambda _: raise_it())
    del thing


def drop_in_a_library(raise_it: Callable[[], None]) -> None:
    """Raise in a function that SQLite calls."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.create_function("raise_it", 0, raise_it)
        with suppress(sqlite3.OperationalError):
            connection.execute("SELECT raise_it()")


def drop_in_code_that_catches_everything(raise_it: Callable[[], object]) -> None:
    with suppress(BaseException):
        raise_it()


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(
    "drop",
    [drop_in_a_destructor, drop_in_a_weak_reference, drop_in_a_library, drop_in_code_that_catches_everything],
)
def test_a_stop_that_was_swallowed_is_raised_again(
    number: signal.Signals, drop: Callable[[Callable[[], None]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        drop(lambda: signal.raise_signal(number))
        time.sleep(10)

    with raise_signals(), pytest.raises(Stopped) as stopped:
        work()
    assert stopped.value.exit_code == 128 + number
    assert capsys.readouterr() == ("", "")


def test_the_second_signal_of_a_run_is_raised_again_if_swallowed() -> None:
    def work() -> None:
        signal.raise_signal(signal.SIGINT)
        drop_in_a_destructor(lambda: signal.raise_signal(signal.SIGTERM))
        time.sleep(10)

    with raise_signals(), note_signals() as request, pytest.raises(Stopped) as stopped:
        work()
    assert (request.signal, stopped.value.signal) == (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "file"), "error: file: No space left on device\n"),
        (RuntimeError("release unlocked lock"), ""),
    ],
)
def test_a_stop_that_causes_another_error_decides_the_exit_code(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            raise error

    monkeypatch.setattr(PluginManager, "installed", fail)
    assert main(["plugins", "list"]) == 143
    assert capsys.readouterr() == ("", f"{message}error: stopped by SIGTERM\n")


def test_a_stop_that_the_command_library_catches_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(TyperGroup, "_main_shell_completion", interrupted)
    assert main(["plugins", "list"]) == 143
    assert capsys.readouterr() == ("", "error: stopped by SIGTERM\n")


def test_a_stop_that_is_lost_while_modules_are_loaded_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Loading(ModuleType):
        def __getattr__(self, name: str) -> object:
            if name != "command":
                raise AttributeError(name)
            with suppress(Stopped):
                signal.raise_signal(signal.SIGTERM)
            message = "Error building a validator: Stopped"
            raise RuntimeError(message)

    monkeypatch.setitem(sys.modules, "elspeth.cli.app", Loading("app"))
    assert main(["plugins", "list"]) == 143
    assert capsys.readouterr() == ("", "error: stopped by SIGTERM\n")
