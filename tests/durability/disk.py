"""What a disk holds after a power cut.

It follows from a process's journal of changes and syncs.

The model, as strict as POSIX allows: content written to a file survives if the file was synced afterwards; that a name
appears, disappears or changes survives if its directory was synced afterwards, whatever happened to the file. What was
not synced is lost, or survives in part: `survives` decides for each change.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Disk", "Entry", "Survives", "everything", "journal_entries", "nothing"]

_HEADER = struct.Struct("<BiqQ")
_NOT_ON_DISK = "-shm"
"""SQLite's shared memory: it is rebuilt from the log."""

Survives = Callable[[], bool]
"""Whether one change that was not synced is on the disk nevertheless."""


def nothing() -> bool:
    """Let only synced changes survive."""
    return False


def everything() -> bool:
    """Let everything survive, as when only the process dies."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event of a journal.

    `number` holds the flags of an open, the offset of a write, or the length of a truncation.
    """

    kind: str
    descriptor: int
    number: int
    content: bytes

    @property
    def is_barrier(self) -> bool:
        """Return whether the event orders the changes around it.

        Syncs and changes of names do.
        """
        return self.kind in "srum" or (self.kind == "o" and bool(self.number & (os.O_CREAT | os.O_TRUNC)))


def journal_entries(path: Path) -> Iterator[Entry]:
    """Yield the complete events of a journal."""
    with path.open("rb") as file:
        while len(header := file.read(_HEADER.size)) == _HEADER.size:
            kind, descriptor, number, size = _HEADER.unpack(header)
            content = file.read(size)
            if len(content) < size:
                return
            yield Entry(kind=chr(kind), descriptor=descriptor, number=number, content=content)


@dataclass(slots=True)
class _File:
    """A file on the disk, with its unsynced changes."""

    content: bytearray = field(default_factory=bytearray)
    waiting: list[Entry] = field(default_factory=list)

    def sync(self) -> None:
        """Bring every change to the disk."""
        for change in self.waiting:
            _change(self.content, change)
        self.waiting.clear()

    def after_cut(self, survives: Survives) -> bytearray:
        """Return what is on the disk after a power cut."""
        content = bytearray(self.content)
        for change in self.waiting:
            if survives():
                _change(content, change)
        return content


def _change(content: bytearray, change: Entry) -> None:
    end = change.number + len(change.content)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if change.kind == "t":
        del content[change.number :]
    else:
        content[change.number : end] = change.content


_Names = dict[str, "_File | _Directory"]
_Renaming = dict[str, "_File | _Directory | None"]
"""Names given and, with None, taken away: a rename within a directory is one change, which survives whole."""


@dataclass(slots=True)
class _Directory:
    """A directory: its current names, and those on the disk."""

    names: _Names = field(default_factory=dict)
    on_disk: _Names = field(default_factory=dict)
    waiting: list[_Renaming] = field(default_factory=list)

    def change(self, names: _Renaming) -> None:
        """Add and remove names."""
        _rename(self.names, names)
        self.waiting.append(names)

    def sync(self) -> None:
        """Bring every change to the disk."""
        self.on_disk = dict(self.names)
        self.waiting.clear()

    def after_cut(self, survives: Survives) -> _Names:
        """Return what is on the disk after a power cut."""
        names = dict(self.on_disk)
        for change in self.waiting:
            if survives():
                _rename(names, change)
        return names


def _rename(names: _Names, change: _Renaming) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


class Disk:
    """The files of processes, and those of the disk.

    They are those below one directory, all synced at first.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._top = _read(root)
        self._open: dict[int, _File | _Directory] = {}

    def follow(self, entries: Iterator[Entry]) -> None:
        """Apply the events of a process."""
        for entry in entries:
            self.take(entry)
        self._open.clear()

    def take(self, entry: Entry) -> None:
        """Apply one event."""
        match entry.kind:
            case "o":
                self._opened(entry)
            case "c":
                self._open.pop(entry.descriptor, None)
            case "w" | "t":
                file = self._open[entry.descriptor]
                assert isinstance(file, _File)
                file.waiting.append(entry)
            case "s":
                self._open[entry.descriptor].sync()
            case "m":
                parent, name = self._place(entry.content)
                parent.change({name: _Directory()})
            case "u":
                parent, name = self._place(entry.content)
                parent.change({name: None})
            case "r":
                self._renamed(*entry.content.split(b"\0"))
            case kind:
                raise AssertionError(kind)

    def cut_power(self, after: Path, survives: Survives = nothing) -> None:
        """Fill a directory with what survives a power cut."""
        after.mkdir()
        _write(self._top, after, survives)

    def _opened(self, entry: Entry) -> None:
        if Path(os.fsdecode(entry.content)) == self._root:
            self._open[entry.descriptor] = self._top
            return
        parent, name = self._place(entry.content)
        if name not in parent.names:
            parent.change({name: _File()})
        node = self._open[entry.descriptor] = parent.names[name]
        if isinstance(node, _File) and entry.number & os.O_TRUNC:
            node.waiting.append(Entry(kind="t", descriptor=entry.descriptor, number=0, content=b""))

    def _renamed(self, old: bytes, new: bytes) -> None:
        (from_parent, from_name), (to_parent, to_name) = self._place(old), self._place(new)
        node = from_parent.names[from_name]
        if from_parent is to_parent:
            from_parent.change({from_name: None, to_name: node})
        else:
            from_parent.change({from_name: None})
            to_parent.change({to_name: node})

    def _place(self, path: bytes) -> tuple[_Directory, str]:
        """Return a path's directory and its name there."""
        *parents, name = Path(os.fsdecode(path)).relative_to(self._root).parts
        directory = self._top
        for parent in parents:
            found = directory.names[parent]
            assert isinstance(found, _Directory)
            directory = found
        return directory, name


def _read(path: Path) -> _Directory:
    names: _Names = {
        each.name: _read(each) if each.is_dir() else _File(bytearray(each.read_bytes())) for each in path.iterdir()
    }
    return _Directory(names=dict(names), on_disk=names)


def _write(directory: _Directory, path: Path, survives: Survives) -> None:
    for name, node in directory.after_cut(survives).items():
        if isinstance(node, _Directory):
            (path / name).mkdir()
            _write(node, path / name, survives)
        elif not name.endswith(_NOT_ON_DISK):
            (path / name).write_bytes(node.after_cut(survives))
