"""Compression changes only the bytes of an export."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.importer import import_export
from elspeth.core.landscape.exporting.reader import find_source
from elspeth.core.landscape.records.store import RecordStore
from elspeth.outputs.compression import SUFFIXES, Compression, load_zstd
from elspeth_schema.contracts import AuditRecord
from elspeth_strategies import whole_runs
from tests.fixtures.effort import law
from tests.fixtures.landscapes import in_memory
from tests.property.test_round_trip import content, truthful

FORMS = [ExportFormat.JSONL, ExportFormat.JSON, ExportFormat.CSV]


def decompressed(file: bytes, kind: Compression) -> bytes:
    """Decompress with a library, without any code of ours."""
    if kind is Compression.GZIP:
        return gzip.decompress(file)
    found: bytes = load_zstd().decompress(file)
    return found


def stored(path: Path) -> list[tuple[object, ...]]:
    """Return the records of an export without their places."""
    return [(each.record, each.line, each.position) for each in find_source(path).records()]


def of_plain_files(package: bytes, suffix: str) -> object:
    """Return a description of files as if uncompressed."""
    described = json.loads(package)
    for resource in described["resources"]:
        assert resource.pop("compression") == suffix.removeprefix(".")
        resource["path"] = resource["path"].removesuffix(suffix)
    return described


@given(
    run=whole_runs(),
    form=st.sampled_from(FORMS),
    kind=st.sampled_from(Compression),
    key=st.none() | st.binary(min_size=1),
)
@law(30)
def test_compression_changes_only_the_bytes_of_an_export(
    run: list[AuditRecord], form: ExportFormat, kind: Compression, key: bytes | None
) -> None:
    with TemporaryDirectory() as directory, in_memory() as source:
        plain, packed = Path(directory) / "plain" / "trail", Path(directory) / "packed" / "trail"
        RecordStore(source).add(*truthful(run))
        count = write_export(source, run[0].run_id, plain, format=form, signing_key=key)
        assert count == write_export(source, run[0].run_id, packed, format=form, signing_key=key, compression=kind)
        for name, file in content(packed).items():
            if name == "manifest.json":
                assert file == content(plain)[name]
            elif name == "datapackage.json":
                assert of_plain_files(file, SUFFIXES[kind]) == json.loads(content(plain)[name])
            else:
                assert decompressed(file, kind) == content(plain)[name.removesuffix(SUFFIXES[kind])]
        assert stored(packed) == stored(plain)
        with in_memory() as target:
            assert import_export(target, packed, signing_key=key).record_count == count
            write_export(target, run[0].run_id, plain, format=form, signing_key=key, compression=kind)
        assert content(plain) == content(packed)
