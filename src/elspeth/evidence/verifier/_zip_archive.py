"""Reads zip archives that all programs read alike.

An archive must consist of its entries, without gaps from the first byte, the central directory and the end record, and
nothing else; both headers of an entry must agree. Features that only some programs understand, or that programs read
differently, are refused: comments, encryption, sizes after the data, and extra fields that change names (PKWARE APPNOTE
6.3.10, section 4.3).
"""

from __future__ import annotations

import re
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import BinaryIO

from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.limits import MAX_DIRECTORY

__all__ = ["Member", "member_blocks", "read_members"]

_LOCAL = Struct("<4s5HIIIHH")
_CENTRAL = Struct("<4s6HIIIHHHHHII")
_END = Struct("<4s4HIIH")
_LOCATOR = Struct("<4sIQI")
_LARGE_END = Struct("<4sQHHIIQQQQ")
_FIELD = Struct("<HH")

_STORED, _DEFLATED = 0, 8
_HARMLESS_FLAGS = 0x0806
"""The flags of the compression level and of names in UTF-8."""

_LARGE = 0x0001
"""The extra field with sizes and offsets of more than 32 bits (section 4.5.3)."""
_TIMES = frozenset({0x000A, 0x5455, 0x5855, 0x7855, 0x7875})
"""Extra fields with times and owners, which say nothing about a bag."""

_MAX_SHORT, _MAX_INT = 0xFFFF, 0xFFFFFFFF

_NAME = re.compile(r"[A-Za-z0-9!#$%&'()+,;=@\[\]^_`{}~ ./-]+")
"""Characters that mean the same in every file system and character set."""

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file in an archive.

    Sizes and the position of the data are in bytes; `mode` is `st_mode` as in `os.stat`, or 0.
    """

    name: str
    position: int
    packed_size: int
    size: int
    crc: int
    is_deflated: bool
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """The fields that both headers of an entry share.

    `facts` holds flags, method, time and date. The version needed to read the entry is not among them: it may be higher
    in the central directory, which also holds the offset.
    """

    name: bytes
    facts: tuple[int, ...]
    crc: int
    packed_size: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """An entry of the central directory."""

    header: _Header
    offset: int
    mode: int


def read_members(file: BinaryIO, size: int, place: str, *, most: int) -> list[Member]:
    """Return the files of an archive, in their order.

    `size` is the size of the archive in bytes.

    Raises EvidenceError for an archive with more than `most` entries, or one that two programs could read differently.
    """
    start, end, count = _directory(file, size, place)
    if count > most:
        raise EvidenceError(place, f"expected at most {most:,} files, got {count:,}")
    entries = _entries(_at(file, start, end - start, place), count, place)
    members = []
    position = 0
    for entry in entries:
        if entry.offset != position:
            raise EvidenceError(place, f"expected an entry at byte {position:,}, got the next at {entry.offset:,}")
        data = _check_local(file, entry, place)
        position = data + entry.header.packed_size
        if not entry.header.name.endswith(b"/"):
            members.append(_member(entry, data))
    if position != start:
        raise EvidenceError(place, f"expected the central directory at byte {position:,}, got it at {start:,}")
    _check_names([entry.header.name.decode() for entry in entries])
    return members


def member_blocks(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """Yield the content of a file in blocks.

    Raises EvidenceError if the size or CRC-32 differs from the archive's header.
    """
    found = crc = 0
    for block in _unpacked(file, member):
        found += len(block)
        crc = zlib.crc32(block, crc)
        if found > member.size:
            break
        yield block
    if (found, crc) != (member.size, member.crc):
        expected = f"expected {member.size:,} bytes with the CRC-32 {member.crc:08x}"
        raise EvidenceError(member.name, f"{expected}, got {found:,} with {crc:08x}: the archive is damaged")


def _unpacked(file: BinaryIO, member: Member) -> Iterator[bytes]:
    rest = member.packed_size
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    while rest:
        # Two files of an archive may be read alternately.
        file.seek(member.position + member.packed_size - rest)
        packed = file.read(min(rest, _BLOCK))
        if not packed:
            break
        rest -= len(packed)
        if not member.is_deflated:
            yield packed
            continue
        while packed and not inflater.eof:
            # Unpacked, a block may be a thousand times larger, so its size is limited here.
            if block := inflater.decompress(packed, _BLOCK):
                yield block
            packed = inflater.unconsumed_tail
    if member.is_deflated:
        yield inflater.flush()
        if rest or not inflater.eof or inflater.unused_data:
            raise EvidenceError(member.name, "expected compressed data up to the next entry, got another end of it")


def _directory(file: BinaryIO, size: int, place: str) -> tuple[int, int, int]:
    """Return the directory's begin, end and number of entries."""
    end = size - _END.size
    mark, *disks, here, count, length, start, comment = _END.unpack(_at(file, end, _END.size, place))
    if mark != b"PK\x05\x06" or comment:
        raise EvidenceError(place, "expected a zip archive that ends with its end record, without a comment")
    stated, large = (count, length, start), end - _LOCATOR.size - _LARGE_END.size
    if large >= 0 and _at(file, end - _LOCATOR.size, 4, place) == b"PK\x06\x07":
        end, here, count, length, start = _large_directory(file, large, place)
    limits = (_MAX_SHORT, _MAX_INT, _MAX_INT)
    pairs = zip(stated, (count, length, start), limits, strict=True)
    if any(disks) or here != count or any(each not in {exact, limit} for each, exact, limit in pairs):
        raise EvidenceError(place, "expected one archive, whose end records agree")
    if start + length != end:
        raise EvidenceError(place, f"expected a central directory of {length:,} bytes before the end record")
    if length > MAX_DIRECTORY:
        raise EvidenceError(place, f"expected a central directory of at most {MAX_DIRECTORY:,} bytes, got {length:,}")
    return start, end, count


def _large_directory(file: BinaryIO, end: int, place: str) -> tuple[int, int, int, int, int]:
    """Read the Zip64 end record.

    Returns its position, and the values that replace those of the ordinary record (sections 4.3.14 and 4.3.15).
    """
    data = _at(file, end, _LARGE_END.size + _LOCATOR.size, place)
    mark, length, _, _, *disks, here, count, size, start = _LARGE_END.unpack_from(data)
    locator = _LOCATOR.unpack_from(data, _LARGE_END.size)
    if mark != b"PK\x06\x06" or length != _LARGE_END.size - 12 or any(disks) or locator[1:] != (0, end, 1):
        raise EvidenceError(place, "expected the end record for large archives before the other")
    return end, here, count, size, start


def _entries(data: bytes, count: int, place: str) -> list[_Entry]:
    entries = []
    position = 0
    for _ in range(count):
        if len(data) - position < _CENTRAL.size:
            break
        mark, _, _, *facts, crc, packed, size, name, extra, comment, disk, _, attributes, offset = _CENTRAL.unpack_from(
            data, position
        )
        first = position + _CENTRAL.size
        position = first + name + extra + comment
        if mark != b"PK\x01\x02" or position > len(data):
            break
        text = data[first : first + name]
        large = _large_values(data[first + name : first + name + extra], text)
        wide = [value == _MAX_INT for value in (size, packed, offset)]
        if comment or disk or len(large) != sum(wide):
            raise EvidenceError(_shown(text), "expected an entry without a comment, whose sizes are all there")
        values = iter(large)
        size, packed, offset = (
            next(values) if is_wide else value for is_wide, value in zip(wide, (size, packed, offset), strict=True)
        )
        header = _Header(name=text, facts=tuple(facts), crc=crc, packed_size=packed, size=size)
        _check_entry(header, attributes >> 16)
        entries.append(_Entry(header=header, offset=offset, mode=attributes >> 16))
    if len(entries) != count or position != len(data):
        raise EvidenceError(place, f"expected {count:,} entries in the central directory, got another number")
    return entries


def _check_local(file: BinaryIO, entry: _Entry, place: str) -> int:
    """Compare an entry's two headers.

    Returns the position of its data.
    """
    header = entry.header
    data = _at(file, entry.offset, _LOCAL.size, place)
    mark, _, *facts, crc, packed, size, name, extra = _LOCAL.unpack(data)
    rest = _at(file, entry.offset + _LOCAL.size, name + extra, place)
    large = _large_values(rest[name:], header.name)
    if large and large != (header.size, header.packed_size):
        raise EvidenceError(_shown(header.name), "expected the same sizes in both of its headers")
    if large:
        size, packed = (
            exact if value == _MAX_INT else value for value, exact in zip((size, packed), large, strict=True)
        )
    found = _Header(name=rest[:name], facts=tuple(facts), crc=crc, packed_size=packed, size=size)
    if mark != b"PK\x03\x04" or found != header:
        raise EvidenceError(_shown(header.name), "expected both of its headers in the archive to say the same")
    return entry.offset + _LOCAL.size + len(rest)


def _large_values(extra: bytes, name: bytes) -> tuple[int, ...]:
    """Return the values of the Zip64 extra field.

    Raises EvidenceError for other fields, except those with times and owners.
    """
    found: dict[int, bytes] = {}
    position = 0
    while position < len(extra):
        identifier, length = _FIELD.unpack_from(extra, position) if len(extra) - position >= _FIELD.size else (-1, 0)
        data = extra[position + _FIELD.size : position + _FIELD.size + length]
        if identifier in found or identifier not in {*_TIMES, _LARGE} or len(data) != length:
            raise EvidenceError(_shown(name), "expected extra fields with times and sizes at most, got others")
        found[identifier] = data
        position += _FIELD.size + length
    large = found.get(_LARGE, b"")
    if len(large) % 8:
        raise EvidenceError(_shown(name), "expected sizes of 64 bits in its extra field")
    return tuple(int.from_bytes(large[at : at + 8], "little") for at in range(0, len(large), 8))


def _check_entry(header: _Header, mode: int) -> None:
    name = header.name.decode("latin-1")
    parts = name.removesuffix("/").split("/")
    if not _NAME.fullmatch(name) or any(part in {"", ".", ".."} for part in parts):
        raise EvidenceError(shown(name), "expected a name inside the bag, got one that leads elsewhere")
    is_directory = name.endswith("/")
    if stat.S_IFMT(mode) not in {0, stat.S_IFDIR if is_directory else stat.S_IFREG}:
        raise EvidenceError(shown(name), "expected plain files and directories only, got a link or device")
    if is_directory and (header.size or header.packed_size or header.crc):
        raise EvidenceError(shown(name), "expected a directory without content")
    flags, method = header.facts[:2]
    if flags & ~_HARMLESS_FLAGS or method not in {_STORED, _DEFLATED}:
        raise EvidenceError(shown(name), "expected it stored or deflated, got it encrypted or in another compression")
    if method == _STORED and header.size != header.packed_size:
        raise EvidenceError(shown(name), "expected the same size packed and unpacked, because it is stored")


def _check_names(names: list[str]) -> None:
    """Check that no two names collide on any file system.

    Raises EvidenceError if two names differ in capitals only, or a file has the name of a directory.
    """
    taken: set[str] = set()
    for name in names:
        if (key := name.removesuffix("/").lower()) in taken:
            raise EvidenceError(shown(name), "expected each file once in the archive, got it again")
        taken.add(key)
    files = {name.lower() for name in names if not name.endswith("/")}
    for name in names:
        parts = name.removesuffix("/").lower().split("/")
        if any("/".join(parts[:depth]) in files for depth in range(1, len(parts))):
            raise EvidenceError(shown(name), "expected a directory above it, got a file")


def _member(entry: _Entry, data: int) -> Member:
    header = entry.header
    return Member(
        name=header.name.decode(),
        position=data,
        packed_size=header.packed_size,
        size=header.size,
        crc=header.crc,
        is_deflated=header.facts[1] == _DEFLATED,
        mode=entry.mode,
    )


def _at(file: BinaryIO, position: int, size: int, place: str) -> bytes:
    """Read bytes at a position.

    Raises EvidenceError if they are not there.
    """
    if position >= 0:
        file.seek(position)
        if len(data := file.read(size)) == size:
            return data
    raise EvidenceError(place, "expected a zip archive, got one that is truncated, or another file")


def _shown(name: bytes) -> str:
    return shown(name.decode("latin-1"))
