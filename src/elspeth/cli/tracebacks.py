"""Where in its code a plugin failed, for its author: printed if asked for, and never recorded."""

from __future__ import annotations

import logging
import sys
import traceback

__all__ = ["LOGGER", "Tracebacks"]

LOGGER = logging.getLogger("elspeth.withheld")
"""Hears of every exception whose message is not recorded."""

_Place = tuple[tuple[str, int], ...]


class Tracebacks(logging.Handler):
    """Prints the traceback of each exception to standard error, once for each place in the code.

    Messages of exceptions may repeat values of rows.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._seen: set[_Place] = set()

    def listen(self) -> None:
        """Begin to print what is not recorded."""
        LOGGER.addHandler(self)
        LOGGER.setLevel(logging.DEBUG)

    def close(self) -> None:
        """Stop."""
        LOGGER.removeHandler(self)
        LOGGER.setLevel(logging.NOTSET)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Print the exception of a log record."""
        if record.exc_info and record.exc_info[1] is not None:
            self.show(record.exc_info[1])

    def show(self, error: BaseException) -> None:
        """Print the traceback of an exception and of those that caused it, unless its cause was printed before."""
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        place = tuple((frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(cause.__traceback__))
        if place not in self._seen:
            self._seen.add(place)
            sys.stderr.write("".join(traceback.format_exception(error)))
