"""What libraries log while a command runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["hidden_logs"]


@contextmanager
def hidden_logs() -> Iterator[None]:
    """Keep Python from printing what libraries log.

    Without a handler it prints warnings and errors to standard error. Libraries also raise these errors, and the
    command reports them.
    """
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
