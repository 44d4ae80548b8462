"""A transform: one row becomes another, or several."""

from __future__ import annotations

from dataclasses import dataclass

from elspeth.contracts.enums import RowOutcome
from elspeth.contracts.plugins import Row, RowError
from elspeth.contracts.routing import CONTINUE
from elspeth.core.canonical import stable_hash
from elspeth.core.settings.wiring import Place, Wire
from elspeth.engine.errors import AnswerError
from elspeth.engine.flow import Failure, Flow, Visit
from elspeth.engine.tokens import Token, changed_fields, independent
from elspeth.plugins.base import Transform
from elspeth.plugins.coercion import RowValidator

__all__ = ["TransformStep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    row: Row
    row_hash: str


class TransformStep:
    """Hands each token's row to the plugin. Whatever goes wrong with a row is recorded, and the run goes on."""

    is_ordered = False

    def __init__(self, flow: Flow, place: Place, plugin: Transform) -> None:
        self._flow = flow
        self._place = place
        self._plugin = plugin
        self._node_id = flow.node(place).node_id
        self._validator = RowValidator(plugin.options.schema_config)

    def take(self, token: Token, along: Wire) -> None:  # noqa: ARG002  the same whichever way a token came
        """Send on the row, or a child for each of the rows, that the plugin makes."""
        visit = self._flow.arrive(token, self._node_id)
        try:
            result = self._plugin.process(independent(self._validator.validate(token.row)))
            if isinstance(result, RowError):
                self._flow.refuse(visit, self._place, Failure.of(result))
                return
            outputs = [_Output(row=row, row_hash=stable_hash(row)) for row in self._rows(result)]
        except Exception as error:  # noqa: BLE001  a plugin may fail in any way, and one row must not end the run
            self._flow.refuse(visit, self._place, Failure.of(error))
            return
        if isinstance(result, dict):
            self._pass_on(visit, *outputs)
        else:
            self._expand(visit, outputs)

    def _rows(self, result: object) -> list[Row]:
        """The rows in a plugin's answer; AnswerError for one that it must not give."""
        name = self._plugin.name
        if isinstance(result, dict):
            return [result]
        if not isinstance(result, list) or not all(isinstance(row, dict) for row in result):
            raise AnswerError(
                f"transform {name!r} must return a row, a list of rows or a RowError, got {_kind(result)}"
            )
        if not self._plugin.expands:
            raise AnswerError(f"transform {name!r} must return one row: it does not declare that it expands rows")
        if not result:
            raise AnswerError(f"transform {name!r} returned no rows: a row that ends here needs a RowError saying why")
        return result

    def _pass_on(self, visit: Visit, output: _Output) -> None:
        token = visit.token
        self._flow.complete(visit, output.row_hash, self._reason(token.row, output.row))
        token.row, token.row_hash = output.row, output.row_hash
        self._flow.send(token, self._place, CONTINUE)

    def _expand(self, visit: Visit, outputs: list[_Output]) -> None:
        token, flow = visit.token, self._flow
        rows = [output.row for output in outputs]
        flow.complete(visit, stable_hash(rows), {"action": self._plugin.name, "rows": len(rows)})
        children = flow.recorder.expand_token(
            token.token_id, token.row_id, len(rows), visit.step, run_id=flow.run_id, record_parent_outcome=True
        )
        flow.count(RowOutcome.EXPANDED)
        for child, output in zip(children, outputs, strict=True):
            made = Token(
                token_id=child.token_id,
                row_id=token.row_id,
                row_index=token.row_index,
                row=output.row,
                row_hash=output.row_hash,
                step=token.step,
                branches=token.branches,
            )
            flow.send(made, self._place, CONTINUE)

    def _reason(self, before: Row, after: Row) -> dict[str, object]:
        return {"action": self._plugin.name, "fields_modified": changed_fields(before, after)}


def _kind(value: object) -> str:
    return "a list that holds something else" if isinstance(value, list) else type(value).__name__
