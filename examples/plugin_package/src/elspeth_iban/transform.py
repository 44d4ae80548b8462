"""Bank account numbers checked and put in one form."""

from pydantic import Field

from elspeth.contracts.plugins import RowError, Transform, TransformOptions
from elspeth.contracts.rows import RowData

__all__ = ["IbanOptions", "IbanTransform"]

SHORTEST, LONGEST = 15, 34  # ISO 13616


class IbanOptions(TransformOptions):
    """Options of the transform `iban`.

    `schema` and `on_error` come with the base class.
    """

    field: str = Field(default="iban", description="The field that holds the number.")


class IbanTransform(Transform):
    """Checks a bank account number (IBAN) and normalizes its spelling.

    The number is written in capitals without spaces.
    """

    name = "iban"
    plugin_version = "1.0.0"
    options_model = IbanOptions

    def __init__(self, options: IbanOptions) -> None:
        super().__init__(options)
        self._field = options.field

    def process(self, row: RowData) -> RowData | RowError:
        """Return the row, or an error that repeats no number."""
        value = row.get(self._field)
        if not isinstance(value, str):
            return RowError(message=f"field {self._field!r} is not text", details={"field": self._field})
        number = "".join(value.split()).upper()
        if not (number.isascii() and number.isalnum() and SHORTEST <= len(number) <= LONGEST):
            return RowError(message=f"field {self._field!r} does not look like an IBAN", details={"field": self._field})
        # With the first four characters moved to the end and letters as numbers, mod 97 must be 1 (ISO 13616).
        if int("".join(str(int(character, 36)) for character in number[4:] + number[:4])) % 97 != 1:
            return RowError(message=f"field {self._field!r} fails the check digits", details={"field": self._field})
        return row | {self._field: number}
