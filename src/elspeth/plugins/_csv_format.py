"""Formats records of CSV."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from math import isfinite

from elspeth.contracts.plugins import RowRejectedError
from elspeth.contracts.values import TypedValue, canonical_text
from elspeth.plugins._csv_dialect import CsvSinkOptions
from elspeth.plugins.json_text import encode_json

__all__ = ["CsvFormat"]


class CsvFormat:
    """Formats the records of one file."""

    def __init__(self, options: CsvSinkOptions) -> None:
        self._delimiter, self._quote = options.delimiter, options.quote
        self._decimal, self._null = options.decimal, options.null_value
        special = {options.delimiter, options.quote or "", "\r", "\n"}
        self._special = re.compile("|".join(re.escape(each) for each in sorted(special) if each))

    def record(self, cells: Sequence[str]) -> str:
        """Return one record (RFC 4180, section 2).

        Python's own writer does not quote a lone carriage return, which readers then interpret as a line break. Raises
        RowRejectedError if a cell needs quotes and the dialect has none.
        """
        quote = self._quote
        if not any(cells) and len(cells) == 1:
            if quote is None:
                raise RowRejectedError("the row is one empty field, which without quotes is no record")
            return f"{quote}{quote}\n"  # an empty line is not a record
        if self._special.search("".join(cells)):
            cells = [self._quoted(cell) for cell in cells]
        return self._delimiter.join(cells) + "\n"

    def cell(self, value: object) -> str:
        """Return a value as the text of a cell.

        Raises RowRejectedError if JSON cannot represent it.
        """
        if isinstance(value, str):
            return value
        if value is None:
            return self._null
        if type(value) is int:
            return repr(value)
        if type(value) is float and isfinite(value):
            return self._number(repr(value))  # the same text as in JSON
        if isinstance(value, TypedValue):
            text = canonical_text(value)
            return self._number(text) if isinstance(value, Decimal) else text
        return encode_json(value)

    def _number(self, text: str) -> str:
        return text if self._decimal == "." else text.replace(".", self._decimal)

    def _quoted(self, cell: str) -> str:
        if self._special.search(cell) is None:
            return cell
        if self._quote is None:
            raise RowRejectedError("a field holds the delimiter or a line break, and the dialect has no quotes")
        return self._quote + cell.replace(self._quote, self._quote * 2) + self._quote
