"""Exports of older epochs are read, of later epochs refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.core.canonical import canonical_bytes
from elspeth.core.landscape.exporting.exporter import ManifestBuilder
from elspeth_schema import EPOCH
from tests.fixtures.older_exports import EXPORTS, SIGNED, WHOLE, verdicts, write
from tests.fixtures.synthetic_epochs import SyntheticEpochs

Captured = pytest.CaptureFixture[str]

PROGRAM = """
import json, sys
from pathlib import Path
from tests.fixtures.older_exports import read, verdicts, write
directory = Path(sys.argv[1])
"""
WRITE = f"{PROGRAM}write(directory, priority=3); print(json.dumps(verdicts(directory)))"
READ = f"{PROGRAM}print(json.dumps([read(directory, 'priority', sys.argv[2:]), verdicts(directory)]))"


def expected(names: Iterable[str], priority: int | None) -> dict[str, list[object]]:
    """Return the records that a later epoch finds in exports.

    They are those of the migrated database, except what was withheld.
    """
    return {name: ["told", True, name == WHOLE, True, priority] for name in names}


@pytest.fixture(scope="module")
def current_exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a database and exports of today's epoch."""
    directory = tmp_path_factory.mktemp("today")
    write(directory)
    return directory


@pytest.fixture(scope="module")
def next_exports(tmp_path_factory: pytest.TempPathFactory, synthetic_epochs: SyntheticEpochs) -> tuple[Path, object]:
    """Write a database and exports of the next epoch.

    Also tells what verifying these says then.
    """
    directory = tmp_path_factory.mktemp("next")
    return directory, json.loads(synthetic_epochs.run(EPOCH + 1, WRITE, str(directory)))


@pytest.mark.thorough
def test_exports_of_today_are_read_two_epochs_later(
    current_exports: Path, synthetic_epochs: SyntheticEpochs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ELSPETH_SIGNING_KEY", raising=False)
    said = verdicts(current_exports)
    assert said[SIGNED] == "VERIFIED"
    assert said["csv"] == "CONSISTENT BUT UNSIGNED"
    found = json.loads(synthetic_epochs.run(EPOCH + 2, READ, str(current_exports), *EXPORTS))
    assert found == [expected(EXPORTS, None), said]


def test_exports_of_the_next_epoch_are_read_one_epoch_later(
    next_exports: tuple[Path, object], synthetic_epochs: SyntheticEpochs
) -> None:
    directory, said = next_exports
    found = json.loads(synthetic_epochs.run(EPOCH + 2, READ, str(directory), "trail.jsonl", "csv"))
    assert found == [expected(["trail.jsonl", "csv"], 3), said]


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("command", [["import", "-d", "new.db"], ["explain", "--row", "0", "--from"], ["verify"]])
def test_exports_of_a_later_epoch_are_refused(
    next_exports: tuple[Path, object], name: str, command: list[str], tmp_path: Path, capsys: Captured
) -> None:
    path = next_exports[0] / name
    if command == ["verify"] and name.startswith("bag"):
        pytest.skip("a bag has its schema with it, and is verified by that")
    command = [each.replace("new.db", str(tmp_path / "new.db")) for each in command]
    problem = (
        f"this export is of epoch {EPOCH + 1}, this version reads exports up to epoch {EPOCH}:"
        " use the version of elspeth that wrote it, or a later one"
    )
    code = main([*command, str(path)])
    assert (code, *capsys.readouterr()) == (1, "", f"error: {path}: {problem}\n")
    assert list(tmp_path.iterdir()) == []


# -- an older export that is not as it was written ---------------------------------------------------------------------

REFUSALS = f"""{PROGRAM}
from elspeth.core.landscape.exporting.forms import ExportError
from elspeth.core.landscape.exporting.importer import import_export
from tests.core.landscape.exporting.test_older_export import DAMAGE
from tests.fixtures.landscapes import in_memory
original = (directory / "trail.jsonl").read_bytes()
damaged = directory / "damaged.jsonl"
said = []
for change, _ in DAMAGE.values():
    damaged.write_bytes(change(original))
    with in_memory() as target:
        try:
            import_export(target, damaged)
        except ExportError as error:
            said.append(str(error).removeprefix(str(damaged) + ", "))
print(json.dumps(said))
"""


def without_line(number: int) -> Callable[[bytes], bytes]:
    """Leave out a line, counted from 1."""
    return lambda content: b"".join(
        line for at, line in enumerate(content.splitlines(keepends=True), start=1) if at != number
    )


def resealed(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Compute the manifest again, as a forger would."""

    def changed(content: bytes) -> bytes:
        *lines, last = change(content).splitlines()
        builder = ManifestBuilder()
        for line in lines:
            builder.add(json.loads(line), line)
        manifest = builder.manifest(signed=False, include_payloads=False, epoch=json.loads(last)["epoch"])
        return b"\n".join([*lines, canonical_bytes(manifest), b""])

    return changed


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no manifest": (
        lambda content: content[: content[:-1].rindex(b"\n") + 1],
        r"line \d+: tokens .*: priority: expected .*, got 'no such field' \(no manifest at the end says of which .*\)",
    ),
    "another value": (
        lambda content: content.replace(b'"plugin_version":"1.0.0"', b'"plugin_version":"9.9.9"', 1),
        r'line \d+: manifest: final_hash: expected "\w+", derived from what comes before, got "\w+"',
    ),
    "a field more": (
        lambda content: content.replace(b',"plugin_name"', b',"p":1,"plugin_name"', 1),
        "line 2: p: expected a field of this record type, got an unknown field",
    ),
    "a field less": (
        lambda content: content.replace(b'"plugin_version":"1.0.0",', b"", 1),
        "line 2: plugin_version: expected a value or null, got no such field",
    ),
    "no number": (
        lambda content: content.replace(b'"row_index":0', b'"row_index":"0"', 1),
        r"line \d+: row_index: expected an integer from -\d+ to \d+, got '0'",
    ),
    "no time": (
        lambda content: content.replace(b'"registered_at":"', b'"registered_at":"soon', 1),
        "line 2: registered_at: expected a datetime in UTC, got 'soon.*'",
    ),
    "a line less": (
        resealed(without_line(2)),
        r"line \d+: expected a record that is unique, .* refers to records before it: FOREIGN KEY constraint failed",
    ),
    "a status nobody knows": (
        resealed(lambda content: content.replace(b'"completed"}', b'"perfect"}', 1)),
        "line 1: expected a record that is unique, sound, .*: CHECK constraint failed: ck_runs_status",
    ),
}


def test_an_altered_older_export_is_refused_with_the_place(
    current_exports: Path, synthetic_epochs: SyntheticEpochs
) -> None:
    said = json.loads(synthetic_epochs.run(EPOCH + 1, REFUSALS, str(current_exports)))
    for message, (_, pattern) in zip(said, DAMAGE.values(), strict=True):
        assert re.fullmatch(pattern, message)
