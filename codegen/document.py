"""How the data dictionary words what the model says."""

from __future__ import annotations

from codegen.model import Column, Kind, Table

__all__ = ["FILTERS"]


def code_list(names: tuple[str, ...]) -> str:
    """The names as inline code, or none."""
    return ", ".join(f"`{name}`" for name in names) or "none"


def table_cell(text: str) -> str:
    """The text without what would end a table cell."""
    return text.replace("|", "\\|")


def lifecycle(table: Table) -> str:
    """When the record may change."""
    stages = table.lifecycle
    if stages.is_transient:
        return "comes and goes"
    open_until = f"open until `{stages.status}` is final" if stages.status else "immutable"
    return f"{open_until}; later only {code_list(stages.afterwards)}" if stages.afterwards else open_until


def type_text(column: Column) -> str:
    """What the column holds."""
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
    """Whether the column belongs to the key, is always there or may be null."""
    if column.name in table.primary_key:
        return "**key**"
    return "may be null" if column.nullable else "always"


def diagram(tables: tuple[Table, ...]) -> str:
    """Return the keys and references of records as an entity-relationship diagram in Mermaid's words.

    That a record belongs to a run is drawn only where it refers to nothing else.
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
"""What the dictionary's template may call."""
