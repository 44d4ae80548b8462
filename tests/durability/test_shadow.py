"""The model of a disk, checked with small programs."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.durability.disk import Disk, everything, journal_entries, nothing
from tests.durability.pipeline import Job
from tests.durability.shadow import Shadow

PRELUDE = """
import os
def sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
"""

APPEND = "file = open('new', 'ab', 0); file.write(b'first'); "

OLD = {"old": b"original"}

CUTS: dict[str, tuple[str, dict[str, bytes]]] = {
    "a file that nobody synced": ("open('new', 'wb').write(b'x')", OLD),
    "a file without its name": (APPEND + "sync('new')", OLD),
    "a name without the file's content": (APPEND + "sync('.')", OLD | {"new": b""}),
    "a file and its name": (APPEND + "sync('new'); sync('.')", OLD | {"new": b"first"}),
    "what was appended after the sync": (
        APPEND + "sync('new'); sync('.'); file.write(b' second')",
        OLD | {"new": b"first"},
    ),
    "a place in the middle": (
        "d = os.open('old', os.O_RDWR); os.pwrite(d, b'XY', 1); os.fdatasync(d); os.pwrite(d, b'zz', 0)",
        {"old": b"oXYginal"},
    ),
    "a hole": (
        "d = os.open('old', os.O_RDWR); os.pwrite(d, b'end', 10); os.fsync(d)",
        {"old": b"original\0\0end"},
    ),
    "an emptied file": ("open('old', 'wb').close()", OLD),
    "an emptied file that was synced": ("open('old', 'wb').close(); sync('old')", {"old": b""}),
    "a shortened file": ("d = os.open('old', os.O_RDWR); os.ftruncate(d, 2); os.fsync(d)", {"old": b"or"}),
    "a renamed file": ("os.rename('old', 'new')", OLD),
    "a renamed file and the directory": ("os.rename('old', 'new'); sync('.')", {"new": b"original"}),
    "a file renamed to a name that nothing has": (
        "import ctypes; ctypes.CDLL(None).renameat2(-100, b'old', -100, b'new', 1); sync('.')",
        {"new": b"original"},
    ),
    "a removed file": ("os.unlink('old')", OLD),
    "a removed file and the directory": ("os.unlink('old'); sync('.')", {}),
    "a directory that is in no synced one": (
        "os.mkdir('d'); open('d/f', 'wb').close(); sync('d/f'); sync('d')",
        OLD,
    ),
    "a directory": ("os.mkdir('d'); open('d/f', 'wb').close(); sync('d'); sync('.')", OLD | {"d/f": b""}),
    "a file moved to another directory": (
        "os.mkdir('d'); sync('.'); os.rename('old', 'd/old'); sync('d')",
        OLD | {"d/old": b"original"},
    ),
    "names given relative to a directory": (
        "d = os.open('.', os.O_RDONLY); os.rename('old', 'new', src_dir_fd=d, dst_dir_fd=d); os.fsync(d)",
        {"new": b"original"},
    ),
}
"""What survives -> program, and the files after a power cut; `old` was there before."""


def files(directory: Path) -> dict[str, bytes]:
    """Read the files below a directory.

    SQLite's shared memory is left out.
    """
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and not path.name.endswith("-shm")
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a directory with one file."""
    directory = tmp_path / "root"
    directory.mkdir()
    (directory / "old").write_bytes(b"original")
    return directory


def execute(program: str, shadow: Shadow) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-S", "-c", PRELUDE + program],
        cwd=shadow.root,
        env=shadow.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("what", CUTS)
def test_a_power_cut_keeps_what_was_synced(library: Path, root: Path, tmp_path: Path, what: str) -> None:
    program, expected = CUTS[what]
    disk = Disk(root)
    shadow = Shadow(preloaded=library, root=root, journal=tmp_path / "journal")
    assert execute(program, shadow).stderr == ""
    disk.follow(journal_entries(tmp_path / "journal"))
    disk.cut_power(tmp_path / "cut", nothing)
    disk.cut_power(tmp_path / "all", everything)
    assert files(tmp_path / "cut") == expected
    assert files(tmp_path / "all") == files(root)


def test_the_journal_of_a_run_is_complete(library: Path, tmp_path: Path) -> None:
    job = Job(directory=tmp_path / "job", rows=600)
    job.write()
    disk = Disk(job.directory)
    result = job.run(Shadow(preloaded=library, root=job.directory, journal=tmp_path / "journal"))
    assert result.returncode == 0, result.stderr
    disk.follow(journal_entries(tmp_path / "journal"))
    disk.cut_power(tmp_path / "all", everything)
    assert files(tmp_path / "all") == files(job.directory)
    assert len(files(job.directory)) == 5


@pytest.mark.parametrize(
    ("event", "barrier", "expected"),
    [
        (2, None, OLD | {"new": b""}),
        (4, None, OLD | {"new": b"12"}),
        (None, 2, OLD | {"new": b"123"}),
        (None, 3, OLD | {"new": b"123"}),
        (None, 4, OLD | {"moved": b"123"}),
    ],
)
def test_a_process_is_killed_right_before_an_event(
    library: Path, root: Path, event: int | None, barrier: int | None, expected: dict[str, bytes]
) -> None:
    program = """
file = open('new', 'wb', 0)
for digit in (b'1', b'2', b'3'):
    file.write(digit)
os.fsync(file.fileno())
os.rename('new', 'moved')
os.unlink('old')
"""
    result = execute(program, Shadow(preloaded=library, root=root, stop_event=event, stop_barrier=barrier))
    assert (result.returncode, result.stderr) == (-signal.SIGKILL, "")
    assert files(root) == expected


def test_a_full_disk_accepts_part_of_a_write_and_changes_that_need_no_space(library: Path, root: Path) -> None:
    program = """
descriptor = os.open('old', os.O_RDWR)
print(os.pwrite(descriptor, b'0123456789', 0), os.pwrite(descriptor, b'abcdef', 8), os.pwrite(descriptor, b'AB', 0))
os.lseek(descriptor, 0, os.SEEK_END)
try:
    os.write(descriptor, b'x')
except OSError as error:
    print(error.strerror)
open('other', 'wb').write(b'there is room')
"""
    result = execute(program, Shadow(preloaded=library, root=root, room=5, full="*/old"))
    assert (result.stdout, result.stderr) == ("10 5 2\nNo space left on device\n", "")
    assert files(root) == {"old": b"AB234567abcde", "other": b"there is room"}
