"""The directory and the time zone in which commands run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from elspeth.core.landscape.database import connections as engines
from elspeth.core.landscape.migration import migrate


@pytest.fixture
def own_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Change to an empty directory, without settings in the environment.

    Commands do not wait for locks there.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engines, "_READ_TIMEOUT_S", 0)
    monkeypatch.setattr(migrate, "_LOCK_TIMEOUT_MS", 1)
    for name in [name for name in os.environ if name.startswith("ELSPETH_")]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the local time be another than UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "FAR-5:45")
        time.tzset()
        yield
    time.tzset()
