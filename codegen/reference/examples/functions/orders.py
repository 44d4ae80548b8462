"""Functions for a pipeline of orders."""

from decimal import Decimal
from typing import Literal

LARGE = 1000


def with_tax(amount: Decimal, rate: Decimal = Decimal("0.19")) -> Decimal:
    """Return the amount to be paid."""
    return round(amount * (1 + rate), 2)


def clean(row: dict[str, object]) -> dict[str, object] | None:
    """Return the row with a clean name, unless a test."""
    name = str(row["name"]).strip()
    return None if name == "test" else {**row, "name": name.title()}


def size(amount: Decimal) -> Literal["large", "small"]:
    """Return where an order goes."""
    return "large" if amount >= LARGE else "small"


def summary(rows: list[dict[str, object]]) -> dict[str, object]:
    """Return one row for a batch."""
    return {"orders": len(rows), "customers": len({row["name"] for row in rows})}
