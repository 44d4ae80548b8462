"""Reading an export completely finds every alteration, with its place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.core.canonical import canonical_bytes
from elspeth.core.landscape.exporting import reader
from elspeth.core.landscape.exporting._csv_form import HASH_REMARK
from elspeth.core.landscape.exporting.exporter import ManifestBuilder
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.forms import ExportError
from elspeth.core.landscape.exporting.reader import find_place, find_source, read_export
from elspeth.core.landscape.records.mapping import mapper, record_type_of, reshape
from elspeth.evidence.format import export_lines
from elspeth.outputs.compression import Compression
from elspeth_schema import EPOCH
from elspeth_schema.contracts import Run, RunStatus
from elspeth_schema.records import RECORD_TYPES
from tests.fixtures.landscapes import in_memory
from tests.fixtures.rich_run import export_to, recorded, rich_run

Record = dict[str, object]

LOSSLESS = [ExportFormat.JSONL, ExportFormat.JSON, ExportFormat.PARQUET, ExportFormat.CSV]
KEY = b"key"


def lines_of(run_id: str = "run-1", *, signing_key: bytes | None = None, include_payloads: bool = False) -> list[bytes]:
    with TemporaryDirectory() as directory:
        path = export_to(
            Path(directory) / "export",
            ExportFormat.JSONL,
            rich_run(run_id),
            signing_key=signing_key,
            include_payloads=include_payloads,
        )
        return path.read_bytes().splitlines()


LINES = lines_of()
SIGNED = lines_of(signing_key=KEY)
WHOLE = lines_of(include_payloads=True)
OTHERS = lines_of("run-2")
MANIFEST = len(LINES) - 1
NUMBERS = {json.loads(line)["record_type"]: number for number, line in reversed([*enumerate(LINES)])}
"""Where the first record of each type is."""
RUN_WITHOUT_EMPTY_TEXT = reshape(rich_run()[0], Run, {"export_error": None})


def refusal(lines: Sequence[bytes], *, key: bytes | None = None) -> str:
    """Return the reader's message about these lines, without the path."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "export.jsonl"
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        with pytest.raises(ExportError) as refused:
            list(read_export(path, signing_key=key))
    return str(refused.value).removeprefix(str(path)).removeprefix(", ")


def closed(records: Sequence[Record], *, signed: bool = False, include_payloads: bool = False) -> list[bytes]:
    """Return the lines of records with a fitting manifest."""
    builder = ManifestBuilder()
    for record in records:
        builder.add(record, canonical_bytes(record))
    manifest = builder.manifest(signed=signed, include_payloads=include_payloads)
    return [canonical_bytes(record) for record in (*records, manifest)]


def records_of(lines: Sequence[bytes]) -> list[Record]:
    return [json.loads(line) for line in lines[:-1]]


def replaced(lines: Sequence[bytes], number: int, line: bytes) -> list[bytes]:
    return [*lines[:number], line, *lines[number + 1 :]]


def edited(lines: Sequence[bytes], number: int, **changes: object) -> list[bytes]:
    """Return the lines with one record changed, still canonical."""
    return replaced(lines, number, canonical_bytes({**json.loads(lines[number]), **changes}))


def without(lines: Sequence[bytes], number: int, name: str) -> list[bytes]:
    record = json.loads(lines[number])
    del record[name]
    return replaced(lines, number, canonical_bytes(record))


# -- what was written is read ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", LOSSLESS)
@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("include_payloads", [False, True])
def test_every_record_is_read_with_its_contract(
    tmp_path: Path, form: ExportFormat, key: bytes | None, *, include_payloads: bool
) -> None:
    run = rich_run()
    path = export_to(tmp_path / "export", form, run, signing_key=key, include_payloads=include_payloads)
    entries = list(read_export(path, signing_key=key))
    assert [entry.record["record_type"] for entry in entries] == [record_type_of(record).name for record in run]
    for entry, record in zip(entries, run, strict=True):
        convert = mapper(record_type_of(record))
        row = list(convert.to_row(record).values())
        unsigned = {name: value for name, value in entry.record.items() if name != "signature"}
        assert unsigned == convert.to_record(row, withheld=include_payloads)
        assert entry.contract == convert.from_record(unsigned)


@pytest.mark.parametrize("form", LOSSLESS)
def test_the_summary_describes_what_was_read(tmp_path: Path, form: ExportFormat) -> None:
    path = export_to(tmp_path / "export", form, rich_run(status=RunStatus.RUNNING), signing_key=KEY)
    unchecked, checked = read_export(path), read_export(path, signing_key=KEY)
    for export, is_checked in ((unchecked, False), (checked, True)):
        list(export)
        summary = export.summary
        assert (summary.run_id, summary.run_status, summary.record_count) == ("run-1", "running", 37)
        assert dict(summary.counts) == json.loads(LINES[-1])["counts"]
        assert (summary.signed, summary.signatures_checked) == (True, is_checked)


def test_there_is_no_summary_before_the_end(tmp_path: Path) -> None:
    export = read_export(export_to(tmp_path / "export", ExportFormat.JSONL))
    next(iter(export))
    with pytest.raises(RuntimeError) as refused:
        _ = export.summary
    assert str(refused.value) == f"{tmp_path / 'export'}: the export was not read to its end"


def test_lines_are_named_by_number(tmp_path: Path) -> None:
    for form, first in ((ExportFormat.JSONL, 1), (ExportFormat.JSON, 2)):
        places = [entry.where for entry in read_export(export_to(tmp_path / form, form))]
        assert places == [f"line {number}" for number in range(first, first + 37)]


# -- lines are lost, repeated, moved -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(len(LINES)))
def test_a_lost_line_is_found(number: int) -> None:
    problem = refusal([*LINES[:number], *LINES[number + 1 :]])
    if number == 0:
        assert problem == "line 1: expected the run record first, got one of type secret_resolution"
    elif number == MANIFEST:
        assert problem == "after line 37: expected the manifest, got the end: the export is incomplete"
    else:
        expected = "expected 36, derived from what comes before, got 37"
        assert problem == f"line 37: manifest: record_count: {expected}"


@pytest.mark.parametrize("number", range(len(LINES)))
def test_a_repeated_line_is_found(number: int) -> None:
    problem = refusal([*LINES[: number + 1], *LINES[number:]])
    assert problem.startswith(f"line {number + 2}: ")
    expected = (
        "expected nothing after the manifest, got a record" if number == MANIFEST else "repeated, or out of order"
    )
    assert problem.endswith(expected)


@pytest.mark.parametrize("number", range(len(LINES) - 1))
def test_swapped_lines_are_found(number: int) -> None:
    problem = refusal([*LINES[:number], LINES[number + 1], LINES[number], *LINES[number + 2 :]])
    if number == 0:
        assert problem.startswith("line 1: expected the run record first")
    elif number == MANIFEST - 1:
        assert problem.startswith("line 37: manifest: record_count: expected 36")
    else:
        assert problem.startswith(f"line {number + 2}: ")
        assert re.search(r"repeated, or out of order$|or a later one, got one of type \w+$", problem), problem


@pytest.mark.parametrize("number", range(1, len(LINES)))
def test_a_cut_between_lines_is_found(number: int) -> None:
    expected = f"after line {number}: expected the manifest, got the end: the export is incomplete"
    assert refusal(LINES[:number]) == expected


@pytest.mark.parametrize("number", range(len(LINES)))
def test_a_cut_inside_a_line_is_found(tmp_path: Path, number: int) -> None:
    path = tmp_path / "export.jsonl"
    for cut in (LINES[number][:-1], LINES[number]):
        path.write_bytes(b"".join(line + b"\n" for line in LINES[:number]) + cut)
        with pytest.raises(ExportError) as refused:
            list(read_export(path))
        shown = repr(cut[-30:].decode())
        expected = f"expected a line feed at its end, got the end of the file after {shown}: the file is truncated"
        assert str(refused.value) == f"{path}, line {number + 1}: {expected}"


@pytest.mark.parametrize("number", range(len(LINES)))
def test_a_line_of_another_run_is_found(number: int) -> None:
    problem = refusal(replaced(LINES, number, OTHERS[number]))
    if number == 0:
        expected = 'run_id: expected "run-2" as in the records before, got "run-1"'
        assert problem == f"line 2: {expected}"
    elif number == MANIFEST:
        expected = 'manifest: run_id: expected "run-1", derived from what comes before, got "run-2"'
        assert problem == f"line 38: {expected}"
    else:
        expected = 'run_id: expected "run-1" as in the records before, got "run-2"'
        assert problem == f"line {number + 1}: {expected}"


def test_a_line_after_the_manifest_is_found() -> None:
    assert refusal([*LINES, LINES[1]]) == "line 39: expected nothing after the manifest, got a record"


def test_a_manifest_alone_is_refused() -> None:
    assert refusal(LINES[-1:]) == "line 1: expected the run record first, got a manifest"


# -- lines are altered -------------------------------------------------------------------------------------------------


@given(position=st.integers(0, sum(len(line) + 1 for line in LINES) - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found(position: int, bit: int) -> None:
    content = bytearray(b"".join(line + b"\n" for line in LINES))
    content[position] ^= 1 << bit
    with TemporaryDirectory() as directory:
        path = Path(directory) / "export.jsonl"
        path.write_bytes(content)
        with pytest.raises(ExportError):
            list(read_export(path))


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_arbitrary_bytes_are_refused(content: bytes) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "export"
        path.write_bytes(content)
        with pytest.raises(ExportError):
            list(read_export(path))


Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(number=st.integers(0, len(LINES) - 1), data=st.data())
def test_any_other_value_of_a_field_is_found(number: int, data: st.DataObject) -> None:
    record = json.loads(LINES[number])
    name = data.draw(st.sampled_from(sorted(record)))
    value = data.draw(Json)
    line = json.dumps({**record, name: value}, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    altered = line.encode(errors="surrogatepass")
    if altered != LINES[number]:
        refusal(replaced(LINES, number, altered))


def test_a_plausible_change_is_found_by_the_hash() -> None:
    problem = refusal(edited(LINES, NUMBERS["row"], source_data_hash="0" * 64))
    claimed = json.loads(LINES[-1])["final_hash"]
    assert problem.startswith('line 38: manifest: final_hash: expected "')
    assert problem.endswith(f'", derived from what comes before, got "{claimed}"')


def test_a_plausible_change_of_a_signed_record_is_named() -> None:
    record = json.loads(SIGNED[NUMBERS["row"]])
    problem = refusal(edited(SIGNED, NUMBERS["row"], source_data_hash="0" * 64), key=KEY)
    expected = "the record was altered, or signed with another key"
    assert problem == (
        f"line {NUMBERS['row'] + 1}: signature: expected one by the key given, got {record['signature']}: {expected}"
    )


def test_a_forged_export_with_a_fitting_manifest_is_found_by_its_signature() -> None:
    records = records_of(edited(SIGNED, NUMBERS["row"], source_data_hash="0" * 64))
    *_, manifest = closed(records, signed=True)
    forged = [*map(canonical_bytes, records), canonical_bytes({**json.loads(manifest), "signature": "0" * 64})]
    assert refusal(forged, key=KEY).startswith(f"line {NUMBERS['row'] + 1}: signature: expected one by the key given")


def test_an_unsigned_export_is_refused_with_a_key() -> None:
    assert refusal(LINES, key=KEY) == "line 1: signature: expected one by the key given, got an unsigned export"


OF_FIRST = "tokens run_id='run-1' token_id='token-1': "
OF_CALL = "calls run_id='run-1' call_id='call-0': "
UNKNOWN_TYPE = f"record_type: expected one of {', '.join(RECORD_TYPES)}, got "
SCALAR = "expected text, a number, a boolean or null, got "
NO_JSON = "Input is a zero-length, empty document: line 1 column 1 (char 0)"
BEYOND = "an integer is beyond 2^53-1 and would change in other JSON readers"
WITHHELD = '["validation_error.row_data_json","transform_error.row_data_json","adopted_value.contents_json"]'
DERIVED = "derived from what comes before"

AT = {name: position + 1 for name, position in NUMBERS.items()} | {"manifest": len(LINES)}
"""The line of the first record of each type."""


@pytest.mark.parametrize(
    ("lines", "line", "problem"),
    [
        (edited(LINES, 3, record_type="knot"), 4, f'{UNKNOWN_TYPE}"knot"'),
        (
            edited(LINES, 3, record_type="n" * 1000),
            4,
            f'{UNKNOWN_TYPE}"{"n" * 199}... (1002 characters)',
        ),
        (edited(LINES, 3, record_type=["node"]), 4, 'record_type: expected text, got ["node"]'),
        (without(LINES, 3, "record_type"), 4, "record_type: expected text, got null"),
        (
            edited(LINES, NUMBERS["token"], note="?"),
            AT["token"],
            f"{OF_FIRST}note: expected a field of this record type, got 'an unknown field'",
        ),
        (
            without(LINES, NUMBERS["token"], "branch_name"),
            AT["token"],
            f"{OF_FIRST}branch_name: expected a value or null, got 'no such field'",
        ),
        (
            edited(LINES, NUMBERS["token"], created_at="2026-02-01T00:00:02.999Z"),
            AT["token"],
            f"{OF_FIRST}created_at: expected a datetime in UTC, got '2026-02-01T00:00:02.999Z'",
        ),
        (edited(LINES, NUMBERS["node_state"], status=[]), AT["node_state"], f"status: {SCALAR}an array"),
        (edited(LINES, NUMBERS["node_state"], status={}), AT["node_state"], f"status: {SCALAR}an object"),
        (
            edited(LINES, NUMBERS["call"], operation_id="operation-1"),
            AT["call"],
            f"{OF_CALL}state_id, operation_id: expected exactly one of them, got 'state_id and operation_id'",
        ),
        (replaced(LINES, 0, b"[]"), 1, "expected '[' and a record on each following line, got '[]'"),
        (replaced(LINES, 3, b"[]"), 4, "expected a JSON object, got '[]'"),
        (replaced(LINES, 3, b""), 4, f"expected a record in canonical JSON, got no JSON: {NO_JSON}"),
        (replaced(LINES, 3, b'{"a": 1}'), 4, "is not canonical JSON: expected '1}' at byte 6, got ' 1}'"),
        (replaced(LINES, 3, b'{"a":9007199254740992}'), 4, f"expected a record in canonical JSON: {BEYOND}"),
        (
            edited(LINES, NUMBERS["token"] + 1, signature="0" * 64),
            AT["token"] + 1,
            "signature: expected none as in the records before, got a signature",
        ),
        (
            without(SIGNED, NUMBERS["token"] + 1, "signature"),
            AT["token"] + 1,
            "signature: expected a signature as in the records before, got none",
        ),
        (
            edited(SIGNED, NUMBERS["token"], signature="?"),
            AT["token"],
            'signature: expected 64 hexadecimal digits, got "?"',
        ),
        (
            without(WHOLE, NUMBERS["transform_error"], "row_data_json"),
            AT["transform_error"],
            "row_data_json: expected as every record here has it, got no such field",
        ),
        (
            edited(LINES, NUMBERS["transform_error"], row_data_json=None),
            AT["transform_error"],
            "row_data_json: expected in none of the records, got a value",
        ),
        (without(LINES, MANIFEST, "epoch"), AT["manifest"], "manifest: epoch: expected this field, got none"),
        (edited(LINES, MANIFEST, note=1), AT["manifest"], "manifest: note: expected no field of this name, got one"),
        (edited(LINES, MANIFEST, epoch=4), AT["manifest"], f"manifest: epoch: expected {EPOCH}, {DERIVED}, got 4"),
        (
            edited(LINES, MANIFEST, run_status="running"),
            AT["manifest"],
            f'manifest: run_status: expected "completed", {DERIVED}, got "running"',
        ),
        (
            edited(LINES, MANIFEST, withheld=[]),
            AT["manifest"],
            f"manifest: withheld: expected {WITHHELD}, {DERIVED}, got []",
        ),
        (
            edited(LINES, MANIFEST, signature_algorithm="hmac-sha256"),
            AT["manifest"],
            f'manifest: signature_algorithm: expected null, {DERIVED}, got "hmac-sha256"',
        ),
        (
            edited(LINES, MANIFEST, signature="0" * 64),
            AT["manifest"],
            "signature: expected none as in the records before, got a signature",
        ),
    ],
)
def test_each_fault_has_its_message(lines: list[bytes], line: int, problem: str) -> None:
    assert refusal(lines) == f"line {line}: {problem}"


NO_EPOCH = " (no manifest at the end says of which epoch the export is: it is incomplete)"


def test_without_a_manifest_only_a_record_that_does_not_fit_may_be_of_another_epoch() -> None:
    number = NUMBERS["token"]
    swapped = [*LINES[:number], LINES[number + 1], LINES[number], *LINES[number + 2 : -1]]
    problem = "token_id: expected a value after 'token-2', got 'token-1': repeated, or out of order"
    assert refusal(swapped) == f"line {number + 2}: {problem}"
    other = edited(LINES, number, record_type="knot")
    assert refusal(other) == f'line {number + 1}: {UNKNOWN_TYPE}"knot"'
    assert refusal(other[:-1]) == f'line {number + 1}: {UNKNOWN_TYPE}"knot"{NO_EPOCH}'


@pytest.mark.parametrize(
    ("stated", "found"),
    [
        ({}, (EPOCH, False)),
        ({"epoch": 5}, (5, True)),
        ({"epoch": 4}, (EPOCH, True)),
        ({"epoch": "5"}, (EPOCH, True)),
        ({"epoch": True}, (EPOCH, True)),
    ],
    ids=["none", "an older one", "one before exports", "text", "a boolean"],
)
@pytest.mark.parametrize("form", LOSSLESS)
def test_an_export_that_names_no_known_epoch_is_read_as_one_of_today(
    tmp_path: Path, form: ExportFormat, stated: Record, found: tuple[int, bool]
) -> None:
    path = export_to(tmp_path / "export", form, rich_run()[:1])
    file = path / "manifest.json" if path.is_dir() else path
    manifest = json.loads(LINES[-1])
    del manifest["epoch"]
    lines = file.read_bytes().splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if b'"record_type":"manifest"' in line)
    lines[last] = canonical_bytes(manifest | stated) + b"\n"
    file.write_bytes(b"".join(lines))
    source = find_source(path)
    assert (source.epoch, source.is_stated) == found


def test_an_empty_key_is_a_key() -> None:
    assert refusal(LINES, key=b"") == "line 1: signature: expected one by the key given, got an unsigned export"


@pytest.mark.parametrize("form", [ExportFormat.JSONL, ExportFormat.CSV])
def test_a_compression_without_its_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: ExportFormat
) -> None:
    path = tmp_path / "export"
    with in_memory() as db:
        write_export(db, recorded(db, rich_run()), path, format=form, compression=Compression.ZSTD)
    assert find_place(path).is_compressed
    monkeypatch.setattr(reader, "missing_library", lambda each: f"needs a library for {each}")
    with pytest.raises(ExportError) as refused:
        find_place(path)
    assert str(refused.value) == f"{path}: is compressed with zstd, which needs a library for zstd"


def test_a_line_in_another_order_is_not_canonical() -> None:
    number = NUMBERS["token_parent"]
    first, *others = json.loads(LINES[number]).items()
    swapped = json.dumps(dict([*others, first]), separators=(",", ":")).encode()
    assert len(swapped) == len(LINES[number])
    expected, got = LINES[number][2:32].decode(), swapped[2:32].decode()
    assert refusal(replaced(LINES, number, swapped)) == (
        f"line {number + 1}: is not canonical JSON: expected {expected!r}... at byte 3, got {got!r}..."
    )


# -- the array form ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda content: content.replace(b"[\n", b"[", 1),
            ", line 1: expected '[' and a record on each following line, got '[{\"canonical_version\":\"sha256-'...",
        ),
        (
            lambda content: content.removesuffix(b"]\n"),
            ", line 40: expected ']', got the end of the file: it is truncated",
        ),
        (
            lambda content: content.removesuffix(b"\n"),
            ", line 40: expected a line feed at its end, got the end of the file after ']': the file is truncated",
        ),
        (lambda content: content + b"\n", ", line 41: expected the end of the file, got ''"),
        (
            lambda content: content.replace(b"},\n", b"}\n", 1),
            ', line 3: expected \']\' after a record without comma, got \'{"env_var_name":"API_KEY","fin\'...',
        ),
    ],
)
def test_an_array_in_another_layout_is_refused(tmp_path: Path, change: Callable[[bytes], bytes], problem: str) -> None:
    path = export_to(tmp_path / "export.json", ExportFormat.JSON)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ExportError) as refused:
        list(read_export(path))
    assert str(refused.value) == f"{path}{problem}"


def test_an_endless_line_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = export_to(tmp_path / "export", ExportFormat.JSONL)
    longest = max(map(len, path.read_bytes().splitlines(keepends=True)))
    monkeypatch.setattr(export_lines, "MAX_LINE", longest)
    list(read_export(path))
    monkeypatch.setattr(export_lines, "MAX_LINE", longest - 1)
    with pytest.raises(ExportError, match=rf"line \d+: expected at most {longest - 1:,} bytes, got more$"):
        list(read_export(path))


# -- paths without an export -------------------------------------------------------------------------------------------


def test_csv_of_the_first_release_is_read_if_its_hash_matches(tmp_path: Path) -> None:
    whole, lossy = (export_to(tmp_path / name, ExportFormat.CSV) for name in ("whole", "lossy"))
    assert ',"",' in (whole / "run.csv").read_text()
    for file in lossy.glob("*.csv"):
        file.write_bytes(file.read_bytes().replace(b',"",', b",,"))
    with pytest.raises(ExportError) as refused:
        list(read_export(lossy))
    assert str(refused.value).startswith(f"{lossy}, manifest.json: manifest: final_hash: expected ")
    assert str(refused.value).endswith(HASH_REMARK)
    without = export_to(tmp_path / "without", ExportFormat.CSV, [RUN_WITHOUT_EMPTY_TEXT])
    assert ',"",' not in (without / "run.csv").read_text()
    assert [entry.contract for entry in read_export(without)] == [RUN_WITHOUT_EMPTY_TEXT]


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "export").touch()
    with pytest.raises(ExportError) as refused:
        list(read_export(tmp_path / "export"))
    assert str(refused.value) == f"{tmp_path / 'export'}: expected an export, got an empty file"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError) as refused:
        read_export(tmp_path / "export")
    assert str(refused.value) == f"{tmp_path / 'export'}: cannot be read: No such file or directory"


def test_a_directory_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError) as refused:
        read_export(tmp_path)
    assert (
        str(refused.value) == f"{tmp_path}: is not an export: expected a file, a bag, or a directory with manifest.json"
    )
