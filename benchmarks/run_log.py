"""What the log of runs costs.

Run with: python -m benchmarks.run_log [--runs N]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from unittest.mock import patch

from sqlalchemy import insert

from benchmarks.measuring import Timing, best, machine, timed
from elspeth.core.canonical import canonical_json, timestamp_text
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording import _runs
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.sealing.log_check import check_log
from elspeth.core.landscape.sealing.log_delivery import CheckpointPlan, FilePlace, leave_checkpoint
from elspeth.core.landscape.sealing.log_proofs import LogState, read_log_state
from elspeth.evidence.format.log_place import LogPlace
from elspeth.evidence.format.notes import NoteSigner
from elspeth.evidence.format.signatures import PRIVATE_KEY, KeyType, generate_keys, load_signer
from elspeth_schema.contracts import RunStatus
from elspeth_schema.tables import run_log_table, runs_table

_CHUNK = 10_000
_TURNS = 30


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    runs = parser.parse_args().runs
    _tell(machine())
    with tempfile.TemporaryDirectory() as directory, LandscapeDB.from_url(f"sqlite:///{directory}/audit.db") as db:
        _fill(db, runs)
        for work, taken in _costs(db, Path(directory)):
            _tell(f"{work:55} {taken.seconds * 1e3:9.1f} ms {taken.processor * 1e3:9.1f} ms of processor time")


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _fill(db: LandscapeDB, runs: int) -> None:
    """Fill the database with runs and their entries."""
    now = datetime.now(UTC)
    with db.write_transaction() as connection:
        for first in range(0, runs, _CHUNK):
            numbers = range(first, min(runs, first + _CHUNK))
            common = {"started_at": now, "completed_at": now, "config_hash": "0" * 64, "settings_json": "{}"}
            rows = [
                {**common, "run_id": f"r{number:07}", "canonical_version": "v1", "status": "completed"}
                for number in numbers
            ]
            connection.execute(insert(runs_table), rows)
            entries = [
                {"position": 1 + 2 * number + ended, "entry_json": _entry(number, now, ended=bool(ended))}
                for number in numbers
                for ended in (0, 1)
            ]
            connection.execute(insert(run_log_table), entries)


def _entry(number: int, moment: datetime, *, ended: bool) -> str:
    run = {"run_id": f"r{number:07}", "time": timestamp_text(moment)}
    if ended:
        return canonical_json({**run, "entry": "ended", "root": "0" * 64, "status": "completed"})
    return canonical_json({**run, "entry": "begun", "config_hash": "0" * 64, "started_at": timestamp_text(moment)})


def _costs(db: LandscapeDB, directory: Path) -> Iterator[tuple[str, Timing]]:
    yield "begin and end a run", _run_cost(db, "with")
    with patch.object(_runs, "ensure_log"), patch.object(_runs, "append_entry"):
        yield "the same without the log", _run_cost(db, "without")
    with LandscapeDB.from_url(f"sqlite:///{directory}/new.db") as new:
        yield "begin and end a run in a new database", _run_cost(new, "new")
    generate_keys(directory / "keys", KeyType.ED25519)
    signer = NoteSigner(name="log", signer=load_signer(str(directory / "keys" / PRIVATE_KEY)))
    yield "a checkpoint: read the log, derive its root, sign", best(lambda _: signer.sign(_state(db).checkpoint().text))
    places = [FilePlace(name="kept", path=directory / "kept")]
    plan = CheckpointPlan(signer=signer.signer, files=places, witnesses=[], authority=None)
    yield "the same, left in a file that has an earlier one", best(lambda _: leave_checkpoint(db, plan))
    state = _state(db)
    size = len(state.entries)
    yield "a consistency proof for a witness", best(lambda _: state.consistency(size - 5, size))
    yield "the place of a run in the log, for its bag", best(lambda _: LogPlace.of(state.origin, state.entries, 7))
    yield "landscape check, its part about the log", best(lambda _: _check(db))


def _run_cost(db: LandscapeDB, name: str) -> Timing:
    """Return the median cost of beginning and ending a run."""

    def run(number: int) -> None:
        recorder = LandscapeRecorder(db)
        recorder.begin_run({}, "v1", run_id=f"{name}-{number}")
        recorder.complete_run(f"{name}-{number}", RunStatus.COMPLETED)

    taken = [timed(lambda number=number: run(number)) for number in range(_TURNS)]  # type: ignore[misc]
    return Timing(seconds=median(each.seconds for each in taken), processor=median(each.processor for each in taken))


def _state(db: LandscapeDB) -> LogState:
    with db.snapshot() as connection:
        return read_log_state(connection)


def _check(db: LandscapeDB) -> None:
    with db.snapshot() as connection:
        check_log(connection)


if __name__ == "__main__":
    main()
