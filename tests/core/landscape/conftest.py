"""An audit database and its recorder, on each engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from tests.fixtures.landscapes import NewLandscape


@pytest.fixture
def landscape(new_landscape: NewLandscape) -> Iterator[LandscapeDB]:
    """Open an empty audit database."""
    with new_landscape() as database:
        yield database


@pytest.fixture
def recorder(landscape: LandscapeDB) -> LandscapeRecorder:
    """Return a recorder of that database, without payload store."""
    return LandscapeRecorder(landscape)
