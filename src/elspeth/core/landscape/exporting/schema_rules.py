"""The rules of the schema for the records of an export, checked record by record.

For each record:

1. Its type is known and it is flat.
2. Types come in export order.
3. It keeps the rules of its epoch: those of today's schema, or what the snapshot of an older one says of its columns.
4. Its key is greater than that of the record before it: none is repeated or out of place.
5. All carry what may be withheld, or none.

What holds for an export of any schema (one run, signatures, hash and manifest) is `elspeth.evidence`'s to check.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, cast

from elspeth.core.landscape.exporting.record_forms import RecordForm, forms_of
from elspeth.core.landscape.exporting.signing import withheld_columns
from elspeth.core.landscape.records.mapping import mapper
from elspeth.evidence.verifier.export import shown_json
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import EPOCH
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES

__all__ = ["BrokenRuleError", "Checked", "SchemaRules", "UnfitRecordError"]

_Key = tuple[str | int, ...]


class BrokenRuleError(Exception):
    """What was expected of a record, and what was found."""


class UnfitRecordError(BrokenRuleError):
    """A record that does not fit the supposed epoch."""


class Checked(NamedTuple):
    """The type of a record, and its contract or, in an older epoch, its row; neither for a line known to be sound."""

    record_type: str
    contract: AuditRecord | None
    row: dict[str, object] | None


class SchemaRules:
    """The rules of one epoch, applied to the records of one export in their order."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._forms = forms_of(epoch)
        self._positions = {name: position for position, name in enumerate(self._forms)}
        self._form: RecordForm | None = None
        self._last_key: _Key = ()
        self._include_payloads: bool | None = None

    def check(self, record: Mapping[str, object], *, sound: bool = False) -> Checked:
        """Check the next record and return what it is.

        `sound` says that it is known to keep the schema's rules. Raises BrokenRuleError if it breaks one.
        """
        form = self._known(record)
        if not sound:
            _check_flat(record)
        self._check_type_order(form)
        contract, row = (None, None) if sound else self._check_contract(form, record)
        self._check_key(form, record)
        self._check_withheld(form, record)
        self._form = form
        return Checked(form.name, contract, row)

    def manifest_fields(self, manifest: Mapping[str, object]) -> dict[str, int | list[str]]:
        """Return the fields of the manifest that only the schema determines."""
        include = manifest.get("withheld") == [] if self._include_payloads is None else self._include_payloads
        return {"epoch": self._epoch, "withheld": [] if include else withheld_columns(self._epoch)}

    def _known(self, record: Mapping[str, object]) -> RecordForm:
        name = record.get("record_type")
        found = self._forms.get(name) if isinstance(name, str) else None
        if found is None:
            raise UnfitRecordError(f"record_type: expected one of {', '.join(self._forms)}, got {shown_json(name)}")
        return found

    def _check_contract(
        self, form: RecordForm, record: Mapping[str, object]
    ) -> tuple[AuditRecord | None, dict[str, object] | None]:
        try:
            if self._epoch == EPOCH:
                return mapper(RECORD_TYPES[form.name]).from_record(record), None
            return None, form.row(record)
        except (AuditIntegrityError, ValueError) as error:
            raise UnfitRecordError(str(error)) from error

    def _check_type_order(self, form: RecordForm) -> None:
        if self._form is not None and self._positions[form.name] < self._positions[self._form.name]:
            expected = f"a {self._form.name} record, or one of a later type"
            raise BrokenRuleError(f"expected {expected}, got a {form.name} record")

    def _check_key(self, form: RecordForm, record: Mapping[str, object]) -> None:
        # The contract vouches for the types; text is ordered by code point, in Python as in both databases.
        key = cast("_Key", tuple(record[name] for name in form.order))
        if form is self._form and not self._last_key < key:
            names = ", ".join(form.order[1:] or form.order)
            last, this = (" ".join(map(repr, each[1:] or each)) for each in (self._last_key, key))
            raise BrokenRuleError(f"{names}: expected a value after {last}, got {this}: repeated, or out of order")
        self._last_key = key

    def _check_withheld(self, form: RecordForm, record: Mapping[str, object]) -> None:
        withheld = form.withheld
        if not withheld:
            return
        present = withheld & record.keys()
        include = bool(present) if self._include_payloads is None else self._include_payloads
        if present != (withheld if include else frozenset()):
            expected = "as every record here has it" if include else "in none of the records"
            name = min(present ^ withheld) if include else min(present)
            raise BrokenRuleError(f"{name}: expected {expected}, got {'no such field' if include else 'a value'}")
        self._include_payloads = include


def _check_flat(record: Mapping[str, object]) -> None:
    for name, value in record.items():
        if isinstance(value, dict | list):
            kind = "an object" if isinstance(value, dict) else "an array"
            raise BrokenRuleError(f"{name}: expected text, a number, a boolean or null, got {kind}")
