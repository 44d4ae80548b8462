"""Filters for the template of the data dictionary."""

from __future__ import annotations

from codegen.model import Column, Kind, Table

__all__ = ["FILTERS"]


def code_list(names: tuple[str, ...]) -> str:
    """Format names as inline code, or return "none"."""
    return ", ".join(f"`{name}`" for name in names) or "none"


def table_cell(text: str) -> str:
    """Escape the pipes in a table cell."""
    return text.replace("|", "\\|")


def lifecycle(table: Table) -> str:
    """Describe when the record may change."""
    stages = table.lifecycle
    if stages.is_transient:
        return "comes and goes"
    open_until = f"open until `{stages.status}` is final" if stages.status else "immutable"
    return f"{open_until}; later only {code_list(stages.afterwards)}" if stages.afterwards else open_until


def type_text(column: Column) -> str:
    """Describe the type of the column's values."""
    if column.enum is not None:
        return f"[{column.enum.name}](#{column.enum.name.lower()})"
    kind = {
        Kind.TEXT: "text",
        Kind.JSON: "JSON text",
        Kind.INTEGER: "integer",
        Kind.REAL: "number",
        Kind.BOOLEAN: "true or false",
        Kind.TIMESTAMP: "UTC time",
    }[column.kind]
    if column.pattern:
        return f"{kind} `{table_cell(column.pattern)}`"
    if column.max_length:
        return f"{kind}, at most {column.max_length} characters"
    bounds = (("at least", column.minimum), ("at most", column.maximum))
    return ", ".join([kind, *(f"{word} {bound}" for word, bound in bounds if bound is not None)])


def presence(table: Table, column: Column) -> str:
    """Say whether the column is a key, required or nullable."""
    if column.name in table.primary_key:
        return "**key**"
    return "may be null" if column.nullable else "always"


def diagram(tables: tuple[Table, ...]) -> str:
    """Return the records and their references as a Mermaid diagram.

    The reference from a record to its run is drawn only if the record has no other.
    """
    lines = ["erDiagram"]
    for table in tables:
        shown = [(column, marks) for column in table.columns if (marks := _marks(table, column))]
        columns = [f"        {column.kind} {column.name} {', '.join(marks)}" for column, marks in shown]
        lines += [f"    {table.record_type} {{", *columns, "    }"]
    for table in tables:
        keys = [key for key in table.foreign_keys if key.columns != ("run_id",)] or table.foreign_keys
        for key in keys:
            column = key.columns[-1]
            one = "|o" if table.column(column).nullable else "||"
            lines.append(f'    {key.record_type} {one}--o{{ {table.record_type} : "{column}"')
    return "\n".join(lines)


def _marks(table: Table, column: Column) -> list[str]:
    refers = any(column.name in key.columns for key in table.foreign_keys)
    return ["PK"] * (column.name in table.primary_key) + ["FK"] * refers


FILTERS = {
    "code_list": code_list,
    "diagram": diagram,
    "lifecycle": lifecycle,
    "presence": presence,
    "table_cell": table_cell,
    "type_text": type_text,
}
"""Filters that the template of the dictionary uses."""
