"""Checks the content that exports and seals leave out."""

from __future__ import annotations

import hashlib
import json

from sqlalchemy import Connection, select

from elspeth.core.canonical import CanonicalError, stable_hash
from elspeth.core.landscape.sealing.seal import read_secret
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES, RecordType

__all__ = ["check_withheld_content"]

_DESCRIPTION = {"__repr__", "__type__", "__canonical_error__"}
"""The keys of the description that is stored for a row without canonical JSON."""

_FETCH = 1000
"""The number of rows fetched at a time, which limits memory."""


def check_withheld_content(connection: Connection, run_id: str) -> None:
    """Check a run's withheld content against its recorded hashes.

    Content that was erased, and runs without a secret, are skipped: an import may lack the content, and before runs had
    secrets, the stored content was not always the hashed one. Raises AuditIntegrityError for the first content that
    does not have its hash.
    """
    if read_secret(connection, run_id) is None:
        return
    for record_type in RECORD_TYPES.values():
        for column in record_type.columns:
            if column.hash_column is not None:
                _check_column(connection, record_type, column.name, column.hash_column, run_id)


def _check_column(
    connection: Connection, record_type: RecordType[AuditRecord], name: str, hash_column: str, run_id: str
) -> None:
    columns = record_type.table.c
    keys = [columns[key] for key in record_type.key]
    statement = (
        select(columns[name], columns[hash_column], *keys)
        .where(columns.run_id == run_id, columns[name].is_not(None))
        .order_by(*keys)
        .execution_options(yield_per=_FETCH)
    )
    with connection.execute(statement) as rows:
        for content, expected, *key in rows:
            if not _has_hash(content, expected):
                raise AuditIntegrityError(
                    table=record_type.table.name,
                    key=dict(zip(record_type.key, key, strict=True)),
                    field=name,
                    expected=f"the content with the SHA-256 {expected}, as {hash_column} says",
                    got="another",
                )


def _has_hash(content: object, expected: str) -> bool:
    if not isinstance(content, str):
        return False
    if hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest() == expected:
        return True
    try:
        value = json.loads(content)
        if isinstance(value, dict) and value.keys() == _DESCRIPTION:  # the predecessor hashed only the representation
            return hashlib.sha256(str(value["__repr__"]).encode()).hexdigest() == expected
        return stable_hash(value) == expected
    except (ValueError, RecursionError, CanonicalError):
        return False
