"""Records rows and tokens: create, fork, expand, coalesce, outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elspeth.core.canonical import CanonicalText
from elspeth.core.landscape.recording.base import (
    RecorderPart,
    describe,
    json_or_none,
    make_storable,
    member_of,
    new_id,
    now,
)
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import records
from elspeth_schema.contracts import Row, RowOutcome, Token, TokenOutcome, TokenParent, ValidationErrorRecord

__all__ = ["TokenRecording"]


class TokenRecording(RecorderPart):
    """Calls about source rows, tokens and their outcomes."""

    def create_row(
        self,
        run_id: str,
        source_node_id: str,
        row_index: int,
        data: Mapping[str, Any] | CanonicalText,
        *,
        row_id: str | None = None,
        payload_ref: str | None = None,
        quarantined: bool = False,
    ) -> Row:
        """Record a source row.

        Only a quarantined row may hold values that canonical JSON cannot express.
        """
        content = describe(data) if quarantined else CanonicalText.of(data)
        row = Row(
            run_id=run_id,
            row_id=row_id or new_id(),
            source_node_id=source_node_id,
            row_index=row_index,
            source_data_hash=content.sha256,
            source_data_ref=self._keep(content, payload_ref),
            created_at=now(),
        )
        self._store.add(row)
        return row

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
        """Record that a row did not fit the source's schema.

        `row_data` may be anything. Returns the id of the error.
        """
        content = describe(row_data)
        record = ValidationErrorRecord(
            run_id=run_id,
            error_id=new_id(),
            node_id=node_id,
            row_hash=content.sha256,
            row_data_json=content.text,
            error=make_storable(error),
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

    def create_token(
        self,
        row_id: str,
        *,
        run_id: str | None = None,
        token_id: str | None = None,
        branch_name: str | None = None,
        fork_group_id: str | None = None,
        join_group_id: str | None = None,
    ) -> Token:
        """Record the token that carries a row into the graph."""
        token = Token(
            run_id=run_id or self._row(row_id).run_id,
            token_id=token_id or new_id(),
            row_id=row_id,
            branch_name=branch_name,
            fork_group_id=fork_group_id,
            join_group_id=join_group_id,
            created_at=now(),
        )
        self._store.add(token)
        return token

    def fork_token(
        self,
        parent_token_id: str,
        row_id: str,
        branches: Sequence[str],
        *,
        run_id: str | None = None,
        step_in_pipeline: int | None = None,
        record_parent_outcome: bool = False,
    ) -> list[Token]:
        """Record that a token continues as one child per branch.

        `record_parent_outcome` also ends the parent.
        """
        group = new_id()
        return self._children(
            parent_token_id,
            row_id,
            [{"branch_name": branch, "fork_group_id": group} for branch in branches],
            run_id=run_id,
            step_in_pipeline=step_in_pipeline,
            outcome=RowOutcome.FORKED if record_parent_outcome else None,
            expected=list(branches),
        )

    def expand_token(
        self,
        parent_token_id: str,
        row_id: str,
        count: int,
        step_in_pipeline: int | None = None,
        *,
        run_id: str | None = None,
        record_parent_outcome: bool = False,
    ) -> list[Token]:
        """Record that a token becomes `count` tokens.

        `record_parent_outcome` also ends the parent.
        """
        group = new_id()
        return self._children(
            parent_token_id,
            row_id,
            [{"expand_group_id": group}] * count,
            run_id=run_id,
            step_in_pipeline=step_in_pipeline,
            outcome=RowOutcome.EXPANDED if record_parent_outcome else None,
            expected={"count": count},
        )

    def coalesce_tokens(
        self,
        parent_token_ids: Sequence[str],
        row_id: str,
        *,
        run_id: str | None = None,
        step_in_pipeline: int | None = None,
    ) -> Token:
        """Record that several tokens of a row continue as one."""
        if not parent_token_ids:
            raise _no_children("coalesce_tokens", row_id, "at least one parent token")
        run = run_id or self._row(row_id).run_id
        with self.unit_of_work():
            token = Token(
                run_id=run,
                token_id=new_id(),
                row_id=row_id,
                join_group_id=new_id(),
                step_in_pipeline=step_in_pipeline,
                created_at=now(),
            )
            self._store.add(token)
            for ordinal, parent in enumerate(parent_token_ids):
                self._store.add(
                    TokenParent(run_id=run, token_id=token.token_id, parent_token_id=parent, ordinal=ordinal)
                )
        return token

    def record_token_outcome(
        self,
        run_id: str,
        token_id: str,
        outcome: RowOutcome | str,
        *,
        sink_name: str | None = None,
        batch_id: str | None = None,
        fork_group_id: str | None = None,
        join_group_id: str | None = None,
        expand_group_id: str | None = None,
        error_hash: str | None = None,
        context: Mapping[str, Any] | None = None,
        expected_branches: object = None,
    ) -> str:
        """Record that a token ended, or waits in a batch.

        A token has one terminal outcome, and may wait in a batch before that. Returns the id of the outcome.
        """
        ending = member_of(RowOutcome, outcome, call="record_token_outcome")
        record = TokenOutcome(
            run_id=run_id,
            outcome_id=new_id(),
            token_id=token_id,
            outcome=ending,
            is_terminal=ending.is_terminal,
            recorded_at=now(),
            sink_name=sink_name,
            batch_id=batch_id,
            fork_group_id=fork_group_id,
            join_group_id=join_group_id,
            expand_group_id=expand_group_id,
            error_hash=error_hash,
            context_json=json_or_none(context),
            expected_branches_json=json_or_none(expected_branches),
        )
        self._store.add(record)
        return record.outcome_id

    def _children(
        self,
        parent_token_id: str,
        row_id: str,
        children: Sequence[Mapping[str, str]],
        *,
        run_id: str | None,
        step_in_pipeline: int | None,
        outcome: RowOutcome | None,
        expected: object,
    ) -> list[Token]:
        if not children:
            raise _no_children(parent_token_id, row_id, "at least one child token")
        run = run_id or self._row(row_id).run_id
        tokens = [
            Token(
                run_id=run,
                token_id=new_id(),
                row_id=row_id,
                step_in_pipeline=step_in_pipeline,
                created_at=now(),
                **child,
            )
            for child in children
        ]
        with self.unit_of_work():
            self._store.add(*tokens)
            for ordinal, token in enumerate(tokens):
                self._store.add(
                    TokenParent(run_id=run, token_id=token.token_id, parent_token_id=parent_token_id, ordinal=ordinal)
                )
            if outcome is not None:
                self.record_token_outcome(
                    run,
                    parent_token_id,
                    outcome,
                    fork_group_id=tokens[0].fork_group_id,
                    expand_group_id=tokens[0].expand_group_id,
                    expected_branches=expected,
                )
        return tokens

    def _row(self, row_id: str) -> Row:
        return self._store.require(records.ROW, row_id)


def _no_children(token_id: str, row_id: str, expected: str) -> AuditIntegrityError:
    key: dict[str, object] = {"row_id": row_id, "token_id": token_id}
    return AuditIntegrityError(table="tokens", key=key, field="children", expected=expected, got=None)
