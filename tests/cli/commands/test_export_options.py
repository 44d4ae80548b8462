"""Each option of an export reaches its writer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from elspeth.cli.clusters import READING
from elspeth.cli.commands import _record_exports
from elspeth.cli.commands._record_exports import ExportOptions, export_database, export_recorded_run
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting import contents as kept_contents
from elspeth.core.landscape.exporting import files
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.found import export as found_export
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.evidence.format.bag import Contact
from elspeth.outputs.compression import Compression
from elspeth.outputs.policy import Protected
from elspeth_schema.contracts import RunStatus

pytestmark = pytest.mark.usefixtures("own_directory")

Given = dict[str, Any]
DATABASE = "sqlite:///audit.db"
PLACE = Path("payloads")
CONTENTS = SimpleNamespace(kept=("a", "b"), missing=1_200, place="payloads")
OPTIONS = ExportOptions(
    form=ExportFormat.JSONL,
    compression=Compression.GZIP,
    signing_key=b"key",
    signer=cast("Any", "signer"),
    archive=True,
    stamp=cast("Callable[[bytes], bytes]", "stamp"),
    protected=[Protected(path=Path("key.pem"), what="a key")],
    force=True,
    contents=_record_exports.Contents(place=PLACE),
    contact=Contact(name="Acme", email=None),
    base="https://example.org/",
    workers=3,
    cluster="tcp://scheduler",
    is_large=True,
)
SHARED = {
    "format": ExportFormat.JSONL,
    "compression": Compression.GZIP,
    "signing_key": b"key",
    "signer": "signer",
    "archive": True,
    "stamp": "stamp",
    "protected": OPTIONS.protected,
    "force": True,
}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """Keep what an export is given, instead of writing it."""
    with LandscapeDB(DATABASE) as db:
        recorder = LandscapeRecorder(db)
        for run_id in ("first", "second"):
            recorder.begin_run({}, "v1", run_id=run_id)
            recorder.complete_run(run_id, RunStatus.COMPLETED)
    kept: Given = {}

    @contextmanager
    def share(*arguments: object, at_once: bool) -> Iterator[str]:
        kept["shared"] = (*arguments, at_once)
        yield "executor"

    def write(*arguments: object, progress: Callable[[int], None], **more: object) -> int:
        assert callable(progress)
        kept["written"] = (arguments[1:], more)
        return 1_200

    def export(*arguments: object, progress: Callable[[int], None], **more: object) -> object:
        assert callable(progress)
        kept["found"] = (arguments, more)
        return SimpleNamespace(name="db", tables=1_300, rows=1_400, records=1_500)

    def find(_: LandscapeDB, run_id: str, place: object) -> object:
        kept["contents"] = (run_id, place)
        return CONTENTS

    monkeypatch.setattr(_record_exports, "share_work", share)
    monkeypatch.setattr(files, "write_export", write)
    monkeypatch.setattr(found_export, "export_found", export)
    monkeypatch.setattr(kept_contents, "find_contents", find)
    return kept


def told(capsys: pytest.CaptureFixture[str]) -> Sequence[str]:
    output, errors = capsys.readouterr()
    assert errors == ""
    return [" ".join(line.split()) for line in output.splitlines()]


@pytest.mark.parametrize("run_id", ["first", "second"])
def test_all_options_of_the_export_of_a_run_are_used(
    run_id: str, given: Given, capsys: pytest.CaptureFixture[str]
) -> None:
    export_recorded_run(run_id, DATABASE, "out.jsonl.gz", OPTIONS, include_withheld=True, json=False)
    (arguments, more) = given["written"]
    assert arguments == (run_id, Path("out.jsonl.gz"))
    assert more == {
        **SHARED,
        "include_payloads": True,
        "contents": CONTENTS,
        "contact": OPTIONS.contact,
        "base": "https://example.org/",
        "executor": "executor",
    }
    assert given["contents"] == (run_id, PLACE)
    count, cluster, module, seen, at_once = given["shared"]
    assert (count, cluster, at_once) == (3, "tcp://scheduler", True)
    assert module == READING
    assert [path.absolute() for path in seen] == [Path("audit.db").absolute()]
    assert told(capsys) == [
        f"run {run_id}",
        "contents 2, 1,200 that records name are not in payloads",
        "export out.jsonl.gz (jsonl, gzip, 1,200 records, signed)",
    ]


@pytest.mark.parametrize("output", ["out.jsonl", "-"])
@pytest.mark.parametrize(
    ("changes", "is_signed"),
    [({"signer": None, "signing_key": None}, False), ({"signer": None}, True), ({"signing_key": None}, True)],
)
def test_the_summary_for_programs_goes_where_the_export_does_not(
    output: str, changes: Given, is_signed: bool, given: Given, capsys: pytest.CaptureFixture[str]
) -> None:
    members = {name: getattr(OPTIONS, name) for name in ExportOptions.__slots__}
    options = ExportOptions(**{**members, **changes})
    # As for each command, so that where this one prints its document does not affect later tests.
    export = partial(export_recorded_run, "latest", DATABASE, output, options, include_withheld=False, json=True)
    copy_context().run(export)
    assert given["written"][1]["include_payloads"] is False
    told_out, told_err = capsys.readouterr()
    document, nothing = (told_err, told_out) if output == "-" else (told_out, told_err)
    assert nothing == ""
    assert json.loads(document) == {
        "run_id": "second",
        "contents": {"included": 2, "missing": 1_200},
        "path": output,
        "format": "jsonl",
        "compress": "gzip",
        "records": 1_200,
        "signed": is_signed,
    }


def test_all_options_of_the_export_of_a_database_are_used(given: Given, capsys: pytest.CaptureFixture[str]) -> None:
    export_database(DATABASE, "out.jsonl", OPTIONS, json=False)
    ((url, target), more) = given["found"]
    assert (str(url), target, more) == (DATABASE, Path("out.jsonl"), SHARED)
    assert told(capsys) == [
        "database db, as found: 1,300 tables and views, 1,400 rows",
        "export out.jsonl (jsonl, gzip, 1,500 records, signed)",
    ]
