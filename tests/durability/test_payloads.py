"""Payloads and their directories, which survive a power cut."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

from elspeth.core.payload_store import FilesystemPayloadStore
from tests.durability.disk import Disk, journal_entries
from tests.durability.shadow import Shadow

CONTENT = b"what was read"
CONTENT_HASH = hashlib.sha256(CONTENT).hexdigest()

PROGRAM = f"""
from pathlib import Path
from elspeth.core.payload_store import FilesystemPayloadStore
FilesystemPayloadStore(Path("new/payloads")).store({CONTENT!r})
"""


def store(shadow: Shadow) -> int:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=shadow.root, env=shadow.environment(), check=False
    ).returncode


def test_contents_survive_even_if_an_earlier_process_was_killed_while_storing_them(
    library: Path, tmp_path: Path
) -> None:
    barrier, killed = 0, -signal.SIGKILL
    while killed:
        barrier += 1
        scratch = tmp_path / str(barrier)
        root, journal = scratch / "root", scratch / "journal"
        root.mkdir(parents=True)
        disk = Disk(root)
        killed = store(Shadow(preloaded=library, root=root, journal=journal, stop_barrier=barrier))
        disk.follow(journal_entries(journal))
        assert store(Shadow(preloaded=library, root=root, journal=journal)) == 0
        disk.follow(journal_entries(journal))
        disk.cut_power(scratch / "cut")
        assert FilesystemPayloadStore(scratch / "cut" / "new" / "payloads").retrieve(CONTENT_HASH) == CONTENT
    assert barrier > 8
