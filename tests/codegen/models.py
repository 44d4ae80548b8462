"""Short constructors for parts of a model."""

from dataclasses import replace
from pathlib import Path

from codegen.load import load_model
from codegen.model import Column, EnumType, EnumValue, Kind

_MINIMAL = load_model(Path(__file__).parent / "cases" / "good_minimal" / "schema" / "landscape.yaml")
_COLUMN = _MINIMAL.tables[0].column("note")


def column(
    name: str = "a",
    kind: Kind = Kind.TEXT,
    *,
    nullable: bool = True,
    enum: EnumType | None = None,
    max_length: int | None = None,
    pattern: str | None = None,
    bounds: tuple[int | None, int | None] = (None, None),
) -> Column:
    """Return a column with plain values for everything else."""
    return replace(
        _COLUMN,
        name=name,
        kind=kind,
        nullable=nullable,
        enum=enum,
        max_length=max_length,
        pattern=pattern,
        minimum=bounds[0],
        maximum=bounds[1],
    )


def enum(*values: str) -> EnumType:
    """Return an enum called State."""
    return EnumType(name="State", description="A state.", values=tuple(value_of(text) for text in values))


def value_of(text: str) -> EnumValue:
    """Return an enum value that is not final."""
    return EnumValue(text=text, description=f"It is {text}.", final=False, predecessor=())
