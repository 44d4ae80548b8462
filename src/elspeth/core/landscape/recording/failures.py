"""Rows that were refused and transforms that failed: errors recorded as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elspeth.core.canonical import canonical_json, stable_hash
from elspeth.core.landscape.recording.base import RecorderPart, new_id, now, storable_text, tolerant
from elspeth_schema import records
from elspeth_schema.contracts import TransformErrorRecord, ValidationErrorRecord
from elspeth_schema.tables import transform_errors_table, validation_errors_table

__all__ = ["FailureRecording"]


class FailureRecording(RecorderPart):
    """Calls about validation errors and transform errors."""

    def record_validation_error(
        self,
        run_id: str,
        node_id: str | None,
        row_data: Mapping[str, Any] | object,
        error: str,
        schema_mode: str,
        destination: str,
        *,
        violation_type: str | None = None,
        original_field_name: str | None = None,
        normalized_field_name: str | None = None,
        expected_type: str | None = None,
        actual_type: str | None = None,
    ) -> str:
        """Record that a row did not fit the source's schema, whatever it held; returns the error's id."""
        content = tolerant(row_data)
        record = ValidationErrorRecord(
            run_id=run_id,
            error_id=new_id(),
            node_id=node_id,
            row_hash=stable_hash(content),
            row_data_json=canonical_json(content),
            error=storable_text(error),
            schema_mode=schema_mode,
            destination=destination,
            created_at=now(),
            violation_type=violation_type,
            original_field_name=original_field_name,
            normalized_field_name=normalized_field_name,
            expected_type=expected_type,
            actual_type=actual_type,
        )
        self._store.add(record)
        return record.error_id

    def record_transform_error(
        self,
        run_id: str,
        token_id: str,
        transform_id: str,
        row_data: Mapping[str, Any] | object,
        error_details: Mapping[str, Any],
        destination: str,
    ) -> str:
        """Record that a transform could not process a row; returns the error's id."""
        content = tolerant(row_data)
        record = TransformErrorRecord(
            run_id=run_id,
            error_id=new_id(),
            token_id=token_id,
            transform_id=transform_id,
            row_hash=stable_hash(content),
            row_data_json=canonical_json(content),
            error_details_json=canonical_json(tolerant(error_details)),
            destination=destination,
            created_at=now(),
        )
        self._store.add(record)
        return record.error_id

    def get_validation_errors_for_row(self, run_id: str, row_hash: str) -> list[ValidationErrorRecord]:
        """The validation errors of rows with that content."""
        columns = validation_errors_table.c
        return self._store.select(records.VALIDATION_ERROR, columns.run_id == run_id, columns.row_hash == row_hash)

    def get_validation_errors_for_run(self, run_id: str) -> list[ValidationErrorRecord]:
        """The run's validation errors."""
        return self._store.select(records.VALIDATION_ERROR, validation_errors_table.c.run_id == run_id)

    def get_transform_errors_for_token(self, token_id: str, *, run_id: str | None = None) -> list[TransformErrorRecord]:
        """The errors of transforms that processed the token."""
        token = self._store.get(records.TOKEN, token_id, run_id=run_id)
        if token is None:
            return []
        columns = transform_errors_table.c
        return self._store.select(records.TRANSFORM_ERROR, columns.run_id == token.run_id, columns.token_id == token_id)

    def get_transform_errors_for_run(self, run_id: str) -> list[TransformErrorRecord]:
        """The run's transform errors."""
        return self._store.select(records.TRANSFORM_ERROR, transform_errors_table.c.run_id == run_id)
