"""Tokens: how rows travel, split, merge and multiply, and how each journey ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elspeth.core.landscape.recording.base import RecorderPart, json_or_none, member_of, new_id, now
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import records
from elspeth_schema.contracts import Row, RowOutcome, Token, TokenOutcome, TokenParent
from elspeth_schema.tables import token_outcomes_table, token_parents_table, tokens_table

__all__ = ["TokenRecording"]


class TokenRecording(RecorderPart):
    """Calls about tokens, their parents and their outcomes."""

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
        """Record that a token goes on as one child per branch; optionally also that its own journey ends with it."""
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
        """Record that a token becomes `count` tokens; optionally also that its own journey ends with it."""
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
        """Record that several tokens of a row go on as one."""
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

    def get_token(self, token_id: str, *, run_id: str | None = None) -> Token | None:
        """The token, or None."""
        return self._store.get(records.TOKEN, token_id, run_id=run_id)

    def get_tokens(self, row_id: str, *, run_id: str | None = None) -> list[Token]:
        """The tokens of a row, in the order they were made."""
        row = self._store.get(records.ROW, row_id, run_id=run_id)
        if row is None:
            return []
        columns = tokens_table.c
        found = self._store.select(records.TOKEN, columns.run_id == row.run_id, columns.row_id == row_id)
        return sorted(found, key=lambda token: (token.created_at, token.token_id))

    def get_token_parents(self, token_id: str, *, run_id: str | None = None) -> list[TokenParent]:
        """The parents of a token, in order."""
        token = self.get_token(token_id, run_id=run_id)
        if token is None:
            return []
        columns = token_parents_table.c
        found = self._store.select(records.TOKEN_PARENT, columns.run_id == token.run_id, columns.token_id == token_id)
        return sorted(found, key=lambda parent: parent.ordinal)

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
        """Record how a token's journey ended (once per token) or that it waits in a batch; returns the outcome's id."""
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

    def get_token_outcome(self, token_id: str, *, run_id: str | None = None) -> TokenOutcome | None:
        """The token's terminal outcome, else the latest that it has, else None."""
        token = self.get_token(token_id, run_id=run_id)
        if token is None:
            return None
        columns = token_outcomes_table.c
        found = self._store.select(records.TOKEN_OUTCOME, columns.run_id == token.run_id, columns.token_id == token_id)
        return max(found, key=lambda each: (each.is_terminal, each.recorded_at, each.outcome_id), default=None)

    def get_token_outcomes_for_row(self, run_id: str, row_id: str) -> list[TokenOutcome]:
        """The outcomes of all tokens of a row, in the order they were recorded."""
        columns, tokens = token_outcomes_table.c, tokens_table.c
        of_row = tokens_table.select().with_only_columns(tokens.token_id)
        of_row = of_row.where(tokens.run_id == run_id, tokens.row_id == row_id)
        found = self._store.select(records.TOKEN_OUTCOME, columns.run_id == run_id, columns.token_id.in_(of_row))
        return sorted(found, key=lambda each: (each.recorded_at, each.outcome_id))

    def _row(self, row_id: str) -> Row:
        return self._store.require(records.ROW, row_id)


def _no_children(token_id: str, row_id: str, expected: str) -> AuditIntegrityError:
    key: dict[str, object] = {"row_id": row_id, "token_id": token_id}
    return AuditIntegrityError(table="tokens", key=key, field="children", expected=expected, got=None)
