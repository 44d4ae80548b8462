"""A small bag in memory, and ways to change it.

Its run has a record of every kind that a rule is about.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import rfc8785

from elspeth.evidence.format import bag
from elspeth.evidence.format.bag import PAYLOAD_TYPE, RunFacts
from elspeth.evidence.format.envelopes import Envelope
from elspeth.evidence.format.salts import Salts
from elspeth.evidence.format.signatures import PublicKey, Signer
from elspeth.evidence.verifier import reader
from elspeth.evidence.verifier.accounting.accountant import LEDGERS
from elspeth.evidence.verifier.procedure import StepResult, Verification
from elspeth.evidence.verifier.reader import BagFiles
from elspeth.evidence.verifier.statements import read_statement
from elspeth.evidence.verifier.verify import verify_files
from elspeth.evidence.writer.bag import write_bag

SECRET = "a secret of the run"
SETTINGS = '{"sinks":{"out":"\u00fc"}}'

Record = dict[str, object]

_ID = {"type": "string", "maxLength": 64}
_HASH = {"type": "string", "pattern": "^[0-9a-f]{64}$", "maxLength": 64}
_NUMBER = {"type": "integer", "minimum": 0, "maximum": 2**53 - 1}


def _or_null(schema: Mapping[str, object]) -> dict[str, object]:
    return {"anyOf": [schema, {"type": "null"}]}


def _shape(record_type: str, **properties: object) -> dict[str, object]:
    named = {"record_type": {"const": record_type}, "run_id": _ID, **properties}
    return {
        "title": record_type,
        "type": "object",
        "properties": {**named, "salt": _HASH},
        "required": list(named),
        "additionalProperties": False,
    }


_TIME: dict[str, object] = {
    "type": "string",
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$",
}
_KINDS: dict[str, dict[str, object]] = {
    "text": {"type": "string"},
    "whole number from 0": _NUMBER,
    "true or false": {"type": "boolean"},
    "time": _TIME,
}


def _told(record_type: str, keys: Sequence[str] = ()) -> dict[str, object]:
    """Return the columns that the laws need, without keys."""
    found: dict[str, object] = {}
    for name, kind in LEDGERS[record_type].columns.items():
        schema = _KINDS[kind.removesuffix(" or null")]
        found[name] = _or_null(schema) if kind.endswith(" or null") else schema
    return {name: schema for name, schema in found.items() if name not in keys}


_DEFINITIONS: dict[str, dict[str, object]] = {
    "Status": {"enum": ["running", "completed", "failed"]},
    "Run": _shape("run", status={"$ref": "#/$defs/Status"}, **_told("run")),
    "Thing": _shape("thing", row_id=_ID, row_index=_NUMBER, digest=_HASH, note=_or_null({"type": "string"})),
    "Open": _shape("step", step_id=_ID, row_id=_ID, status={"const": "open"}, seconds={"type": "null"}),
    "Done": _shape(
        "step",
        step_id=_ID,
        row_id=_ID,
        status={"const": "done"},
        seconds=_or_null({"type": "number", "minimum": 0, "maximum": 2**53 - 1}),
    ),
    "Link": {
        **_shape("link", step_id=_ID, other_id=_ID, row=_or_null(_ID), file=_or_null(_ID), good={"type": "boolean"}),
        "allOf": [
            {
                "oneOf": [
                    {"properties": {"row": {"not": {"type": "null"}}, "file": {"type": "null"}}},
                    {"properties": {"row": {"type": "null"}, "file": {"not": {"type": "null"}}}},
                ]
            }
        ],
    },
}

_KEYS = {
    "node": ["node_id"],
    "edge": ["edge_id"],
    "operation": ["operation_id"],
    "row": ["row_id"],
    "token": ["token_id"],
    "token_parent": ["token_id", "parent_token_id"],
    "node_state": ["state_id"],
    "call": ["call_id"],
    "routing_event": ["event_id"],
    "batch": ["batch_id"],
    "batch_member": ["batch_id", "token_id"],
    "batch_output": ["batch_output_id"],
    "artifact": ["artifact_id"],
    "token_outcome": ["outcome_id"],
    "validation_error": ["error_id"],
    "transform_error": ["error_id"],
    "checkpoint": ["checkpoint_id"],
}
"""The types that the laws of accounting are about, with their keys; the run of these bags has none of their records."""

_DEFINITIONS |= {name: _shape(name, **dict.fromkeys(keys, _ID), **_told(name, keys)) for name, keys in _KEYS.items()}

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Records, epoch 5",
    "oneOf": [{"$ref": f"#/$defs/{name}"} for name in _DEFINITIONS if name != "Status"],
    "$defs": _DEFINITIONS,
}


def _rules(
    key: Sequence[str],
    order: Sequence[str],
    references: Mapping[str, str],
    final: Sequence[str],
    *,
    abandoned: Sequence[str] = (),
) -> dict[str, Any]:
    return {
        "key": ["run_id", *key],
        "order": ["run_id", *order],
        "references": [
            {"columns": ["run_id"], "record_type": "run"},
            *({"columns": ["run_id", column], "record_type": target} for column, target in references.items()),
        ]
        if key
        else [],
        "lifecycle": {"status": "status" if final else None, "final": list(final), "abandoned": list(abandoned)},
    }


_TYPES: dict[str, dict[str, Any]] = {
    "run": _rules([], [], {}, ["completed", "failed"], abandoned=["failed"]),
    "thing": _rules(["row_id"], ["row_index"], {}, []),
    "step": _rules(["step_id"], ["step_id"], {"row_id": "thing"}, ["done"]),
    "link": _rules(["step_id", "other_id"], ["step_id", "other_id"], {"step_id": "step", "row": "thing"}, []),
    **{name: _rules(keys, keys, LEDGERS[name].links, []) for name, keys in _KEYS.items()},
}

REFERENCES = {"order": list(_TYPES), "types": _TYPES}

DOCUMENTS = {
    "export.schema.json": rfc8785.dumps(SCHEMA),  # type: ignore[arg-type]
    "references.json": rfc8785.dumps(REFERENCES),  # type: ignore[arg-type]
    "data-dictionary.md": b"# Records\n",
}


def records(run_id: str = "run-1") -> list[Record]:
    """Return the records of a run, without salts.

    They hold UUIDs and other ids, escapes, and all kinds of numbers.
    """
    uuid = "0199c2e4a1b27c3d8e9f0a1b2c3d4e5f"
    step = {"record_type": "step", "run_id": run_id, "row_id": uuid, "status": "done"}
    moment = "2026-02-01T00:00:00.000000Z"
    link = {"record_type": "link", "run_id": run_id, "good": False, "row": None, "file": "a b.csv"}
    return [
        {
            "record_type": "run",
            "run_id": run_id,
            "status": "completed",
            "started_at": "2026-01-31T23:59:59.999999Z",
            "completed_at": "2026-02-01T00:00:00.000000Z",
            "config_hash": hashlib.sha256(SETTINGS.encode()).hexdigest(),
            "settings_json": SETTINGS,
        },
        {"record_type": "thing", "run_id": run_id, "row_id": uuid, "row_index": 2, "digest": "0" * 64, "note": None},
        {
            "record_type": "thing",
            "run_id": run_id,
            "row_id": 'r\u00e9 "1"',
            "row_index": 10,
            "digest": "0123456789abcdef" * 4,
            "note": 'say "\u20ac"\n\u0001',
        },
        {**step, "step_id": "a", "seconds": 0.1234567890123456},
        {**step, "step_id": "b", "seconds": 7},
        {**step, "step_id": "c", "seconds": 0.5, "row_id": 'r\u00e9 "1"'},
        {**step, "step_id": "d", "seconds": 1e-7},
        {**step, "step_id": "e", "seconds": None},
        {**link, "step_id": "a", "other_id": "x"},
        {**link, "step_id": "a", "other_id": "y", "row": uuid, "file": None, "good": True},
        {**link, "step_id": "b", "other_id": "a", "row": 'r\u00e9 "1"', "file": None, "good": True},
        {
            "record_type": "node",
            "run_id": run_id,
            "node_id": "source",
            "node_type": "source",
            "config_hash": hashlib.sha256(b"{}").hexdigest(),
            "config_json": "{}",
            "registered_at": moment,
        },
        {
            "record_type": "operation",
            "run_id": run_id,
            "operation_id": "load",
            "node_id": "source",
            "operation_type": "source_load",
            "status": "completed",
            "output_data_hash": hashlib.sha256(b'{"rows":0}').hexdigest(),
            "started_at": moment,
            "completed_at": moment,
        },
    ]


def add_salt(record: Record) -> Record:
    """Add the salt to a record, as in version 2."""
    rules = _TYPES.get(str(record["record_type"]))
    if rules is None:
        return record
    key = rfc8785.dumps([str(record[column]) for column in rules["key"]])  # all keys here are texts
    message = str(record["record_type"]).encode() + b"\x00" + key
    return {**record, "salt": hmac.digest(SECRET.encode(), message, "sha256").hex()}


def to_lines(some: Sequence[Record], *, salts: bool = False) -> list[bytes]:
    """Return records as lines of canonical JSON.

    With salts they are those of a bag of version 2.
    """
    return [rfc8785.dumps(add_salt(record) if salts else record) for record in some]  # type: ignore[arg-type]


def run_facts(run_id: str = "run-1", **changes: object) -> RunFacts:
    """Return the facts about the run for the statement."""
    values = {
        "run_status": "completed",
        "epoch": 5,
        "withheld": ("row.data",),
        "complete": True,
        "recorded_epoch": 5,
        **changes,
    }
    return RunFacts(run_id=run_id, **values)  # type: ignore[arg-type]


_MADE_OF_OTHERS = {bag.MANIFEST, bag.TAG_MANIFEST, bag.ENVELOPE, bag.STATEMENT, bag.TIMESTAMP}


class MemoryFiles(BagFiles):
    """A bag whose files are in memory."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        super().__init__(Path("bag"), {name: len(content) for name, content in contents.items()})
        self._contents = contents

    def _blocks(self, name: str) -> Iterator[bytes]:
        content = self._contents[name]
        return (content[start : start + reader._BLOCK] for start in range(0, len(content), reader._BLOCK))


def salts_of(lines: int) -> list[bytes]:
    """Return the salts of the first lines, derived here again."""
    blocks = range(-(-lines // 1024))
    calls = [b"elspeth leaf salts\0" + bytes(7) + bytes([block]) + SECRET.encode() for block in blocks]
    data = b"".join(hashlib.shake_256(call).digest(1024 * 32) for call in calls)
    return [data[32 * line : 32 * line + 32] for line in range(lines)]


def read_bag(path: Path) -> dict[str, bytes]:
    """Return the files of a bag in a directory."""
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def make_bag(
    directory: Path,
    lines: Sequence[bytes],
    signer: Signer | None = None,
    *,
    run: RunFacts | None = None,
    secret: str | None = SECRET,
    documents: Mapping[str, bytes] = DOCUMENTS,
) -> dict[str, bytes]:
    """Write a bag, and return its files."""
    target = directory / f"bag-{sum(1 for _ in directory.iterdir())}"
    write_bag(target, [lines], facts=run or run_facts(), documents=documents, signer=signer, secret=secret)
    return read_bag(target)


def make_older_bag(directory: Path, lines: Sequence[bytes], signer: Signer | None = None) -> dict[str, bytes]:
    """Return a bag of version 2, whose records have salts."""
    files = make_bag(directory, lines, secret=None)
    files[bag.SALTS] = Salts(secret=SECRET, version=2).to_bytes()
    return reseal(files, signer, version=2)


def reseal(files: Mapping[str, bytes], signer: Signer | None = None, **changes: object) -> dict[str, bytes]:
    """Return a bag with a new statement that fits it.

    `changes` replace parts of the statement, as the holder of the key could.
    """
    old, _ = read_statement(MemoryFiles(files))
    rest = {name: content for name, content in files.items() if name not in _MADE_OF_OTHERS}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in rest.items()}
    subjects = {name: digest for name, digest in digests.items() if name != bag.BAGIT}
    statement = replace(old, **{"subjects": subjects, **changes}).to_bytes()  # type: ignore[arg-type]
    if signer is None:
        rest[bag.STATEMENT] = statement
    else:
        rest[bag.ENVELOPE] = Envelope.sign(statement, PAYLOAD_TYPE, signer).to_bytes()
    return rewrite_manifests(rest)


def rewrite_manifests(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return a bag with manifests that fit it."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    payload = {name: digest for name, digest in hashes.items() if name.startswith(bag.PAYLOAD)}
    manifest = bag.manifest_text(payload)
    tags = {name: digest for name, digest in hashes.items() if name not in {*payload, bag.TAG_MANIFEST}}
    tags[bag.MANIFEST] = hashlib.sha256(manifest).hexdigest()
    return {**files, bag.MANIFEST: manifest, bag.TAG_MANIFEST: bag.manifest_text(tags)}


def verify(files: Mapping[str, bytes], key: PublicKey | None = None) -> Verification:
    """Verify a bag in memory."""
    return verify_files(MemoryFiles(files), key=key)


def faults(verification: Verification) -> list[tuple[int, str]]:
    """Return number and detail of each failed step."""
    return [(_number(result), result.detail) for result in verification.faults]


def statement_identity(files: Mapping[str, bytes]) -> str:
    """Return what step 2 says about the statement."""
    signed = bag.ENVELOPE in files
    text = base64.b64decode(json.loads(files[bag.ENVELOPE])["payload"]) if signed else files[bag.STATEMENT]
    return f"the statement has the SHA-256 {hashlib.sha256(text).hexdigest()}"


def _number(result: StepResult) -> int:
    return result.step.value
