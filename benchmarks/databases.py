"""Recording, exporting, verifying and importing, each beside its floor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.earlier import Size
from benchmarks.floors import hash_lines, read_rows, write_rows
from benchmarks.measuring import REPEATS, Ratio, Timing, best
from benchmarks.recording import RUN, record_rows
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.importer import import_into
from elspeth.evidence.format.signatures import generate_keys, load_public_key, load_signer
from elspeth.evidence.verifier.verify import verify_bag
from elspeth.outputs.compression import Compression

__all__ = ["evidence_ratios", "export_sizes", "ratios"]

_COMPRESSED_BYTES = 110
"""What a record of a compressed export may take."""

_KEY = b"k" * 32


def ratios(name: str, new_url: Callable[[str], str], records: int, rows: str, directory: Path) -> list[Ratio]:
    """Measure on the databases whose URLs `new_url` returns.

    `rows` is the URL of a SQLite database with a run of that size.
    """
    found: list[Ratio] = []

    def measured(work: str, floor: Timing, taken: Timing, reach: float) -> None:
        found.append(Ratio(work=f"{work}, {name}", records=records, floor=floor, taken=taken, reach=reach))

    targets = [new_url(f"raw{attempt}") for attempt in range(REPEATS)]
    writing = best(lambda attempt: write_rows(rows, targets[attempt]))
    recorded = [new_url(f"recorded{attempt}") for attempt in range(REPEATS)]
    recording = best(lambda attempt: record_rows(recorded[attempt], records))
    measured("record in units of work", writing, recording, 0.55 if name == "SQLite" else 0.40)
    source, path = targets[0], directory / f"{name}.jsonl"
    reading = best(lambda _: read_rows(source))
    with LandscapeDB.from_url(source, create_tables=False) as db:
        plain = best(lambda _: write_export(db, RUN, path, format=ExportFormat.JSONL))
        measured("export to jsonl", reading, plain, 0.40)
        hmac = best(lambda _: write_export(db, RUN, directory / "hmac", format=ExportFormat.JSONL, signing_key=_KEY))
        measured("export to jsonl, HMAC per record", reading, hmac, 0.30)
    imported = [new_url(f"imported{attempt}") for attempt in range(REPEATS)]
    importing = best(lambda attempt: import_into(imported[attempt], path))
    measured("import from jsonl", writing, importing, 0.50 if name == "SQLite" else 0.35)
    return found


def evidence_ratios(source: str, records: int, directory: Path) -> list[Ratio]:
    """Measure exporting a signed bag, and verifying it."""
    generate_keys(directory / "keys")
    signer = load_signer(str(directory / "keys" / "elspeth.key.pem"))
    public = load_public_key(directory / "keys" / "elspeth.pub.pem")

    def export(attempt: int) -> None:
        with LandscapeDB.from_url(source, create_tables=False) as db:
            write_export(db, RUN, directory / f"bag{attempt}", format=ExportFormat.BAG, signer=signer)

    reading = best(lambda _: read_rows(source))
    exporting = best(export)
    hashing = best(lambda _: hash_lines(directory / "bag0" / "data" / "records.jsonl"))
    verifying = best(lambda _: verify_bag(directory / "bag0", key=public))
    return [
        Ratio(work="export to bag, SQLite", records=records, floor=reading, taken=exporting, reach=0.25),
        Ratio(work="verify a bag", records=records, floor=hashing, taken=verifying, reach=0.22),
    ]


def export_sizes(source: str, directory: Path) -> Iterator[Size]:
    """Compare the bytes of compressed exports with plain ones."""

    def size(compression: Compression | None, key: bytes | None) -> tuple[int, int]:
        path = directory / "compressed.jsonl"
        with LandscapeDB.from_url(source, create_tables=False) as db:
            count = write_export(db, RUN, path, format=ExportFormat.JSONL, compression=compression, signing_key=key)
        return count, path.stat().st_size

    for signed, key in (("", None), (" with HMAC", _KEY)):
        count, plain = size(None, key)
        for compression in Compression:
            _, packed = size(compression, key)
            work = f"export to jsonl{signed}, {compression}"
            before, now = plain / count, packed / count
            yield Size(work=work, records=count, before=before, now=now, reach=_COMPRESSED_BYTES / before)
