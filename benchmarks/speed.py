"""Speed and memory of the main commands, beside their floors.

Run with: nox -s bench, or python -m benchmarks.speed [--records N] [--growth N ...] [--json PATH] [SUBJECT ...]
"""
# ruff: noqa: T201 - a script, which prints

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import URL, create_engine, text

from benchmarks.databases import evidence_ratios, export_sizes, ratios
from benchmarks.earlier import EARLIER, Size, comparisons, install_earlier
from benchmarks.growth import Growth, growth
from benchmarks.measuring import REPEATS, Ratio, machine
from benchmarks.pipeline import engine_ratio
from benchmarks.recording import RECORDS_PER_ROUTED_ROW, record_rows
from benchmarks.sizes import Breakdown, sizes
from benchmarks.startup import Start, starts
from benchmarks.workers import ONE_WORKER, TWO_WORKERS, Shared, shared_work
from tests.fixtures.postgres import find_binaries, launch

SUBJECTS = ("sqlite", "postgresql", "evidence", "engine", "earlier", "start", "workers", "growth", "bytes")

_MIB = "MB over start"


def main() -> None:
    """Measure the requested subjects, and print a table of each.

    With `--json`, also write all results to a file.
    """
    options = _options()
    report: dict[str, object] = {"machine": machine(), "records": options.records, "best_of": REPEATS}
    print(f"{report['machine']}; {options.records:,} records; best of {REPEATS}")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        rows = f"sqlite:///{directory}/rows.db"
        record_rows(rows, options.records)
        for subject in options.subjects or SUBJECTS:
            place = directory / subject
            place.mkdir()
            print(f"\n{subject}")
            report[subject] = [asdict(_printed(each)) for each in _measured(subject, rows, options, place)]
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subjects", nargs="*", choices=[[], *SUBJECTS], metavar="SUBJECT", help=", ".join(SUBJECTS))
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--growth", type=int, nargs="+", default=[10_000, 50_000, 200_000], metavar="RECORDS")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


Found = Ratio | Size | Growth | Start | Shared | Breakdown


def _measured(subject: str, rows: str, options: argparse.Namespace, place: Path) -> Iterable[Found]:
    records: int = options.records
    if subject == "sqlite":
        return ratios("SQLite", lambda name: f"sqlite:///{place}/{name}.db", records, rows, place)
    if subject == "postgresql":
        with _postgresql() as new_url:
            return ratios("PostgreSQL", new_url, records, rows, place)
    if subject == "evidence":
        return [*evidence_ratios(rows, records, place), *export_sizes(rows, place)]
    if subject == "engine":
        return [engine_ratio(records, place)]
    if subject == "earlier":
        with _postgresql() as new_url:
            print(f"the floor is {EARLIER}")
            urls = {"SQLite": lambda name: f"sqlite:///{place}/{name}.db", "PostgreSQL": new_url}
            return list(comparisons(install_earlier(place), urls, records, place))
    if subject == "start":
        return starts(place)
    if subject == "workers":
        return shared_work(rows, records, place)
    if subject == "bytes":
        with _postgresql() as new_url:
            return list(sizes(records // RECORDS_PER_ROUTED_ROW, place, new_url))
    return growth(options.growth, place)


@contextmanager
def _postgresql() -> Iterator[Callable[[str], str]]:
    """Yield a function that returns URLs of new databases.

    Their server runs until the end of the block and keeps its files in memory.
    """
    binaries = find_binaries()
    if binaries is None:
        message = "PostgreSQL: no server found; install one, or leave out this subject"
        raise SystemExit(message)
    with launch(binaries) as server:
        engine = create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            version = connection.scalar(text("SHOW server_version"))
        print(f"PostgreSQL {version}")

        def new_url(name: str) -> str:
            with engine.connect() as connection:
                connection.execute(text(f"CREATE DATABASE {name}"))
            url: URL = server.set(database=name)
            return url.render_as_string(hide_password=False)

        yield new_url
        engine.dispose()


def _printed(each: Found) -> Found:
    if isinstance(each, Ratio):
        floor, taken = each.records / each.floor.seconds, each.records / each.taken.seconds
        speeds = f"floor {floor:>10,.0f}/s  work {taken:>10,.0f}/s"
        both = f"ratio {each.ratio:.2f}, of processor time {each.processor_ratio:.2f} (reach {each.reach:.2f})"
        line = f"{each.work:<44} {speeds}  {both}"
    elif isinstance(each, Size):
        sizes = f"before {each.before:>6.0f}    now {each.now:>6.0f} bytes per record"
        line = f"{each.work:<44} {sizes}  ratio {each.ratio:.2f} (reach {each.reach:.2f})"
    elif isinstance(each, Growth):
        cost = f"{each.cost.memory:>5.0f} {_MIB}  {each.microseconds:>6.1f} us per record"
        line = f"{each.work:<20} {each.records:>10,} records  {cost}"
    elif isinstance(each, Start):
        times = f"{each.taken.seconds * 1000:>5.0f} ms  floor {each.floor.seconds * 1000:>5.0f} ms"
        line = f"{each.command:<20} {times}  {each.taken.seconds / each.floor.seconds:.2f} times (reach 1.50)"
    elif isinstance(each, Breakdown):
        before, now = sum(each.before.values()), sum(each.now.values())
        line = (
            f"{each.work:<44} before {before:>6.1f}  now {now:>6.1f}  ratio {each.ratio:.3f} (reach {each.reach:.2f})"
        )
        line += "".join(_printed_parts(each))
    else:
        seconds = (("", each.plain), ("--workers 1", each.one), ("--workers 2", each.two))
        times = "  ".join(f"{what} {timing.seconds:>6.2f} s".lstrip() for what, timing in seconds)
        slowness, speed = each.one.seconds / each.plain.seconds, each.plain.seconds / each.two.seconds
        ratios = f"{slowness:.2f} times as long (at most {ONE_WORKER}), {speed:.2f} times as fast (reach {TWO_WORKERS})"
        line = f"{each.work:<20} {times}  {ratios}"
    print(f"  {line}", flush=True)
    return each


def _printed_parts(size: Breakdown) -> Iterator[str]:
    for name in sorted({*size.before, *size.now}, key=lambda name: -size.before.get(name, 0)):
        before, now = size.before.get(name, 0), size.now.get(name, 0)
        if before + now >= 1:
            yield f"\n      {name:<40} before {before:>6.1f}  now {now:>6.1f}"


if __name__ == "__main__":
    main()
