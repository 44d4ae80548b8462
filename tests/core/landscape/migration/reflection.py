"""The tables of a database, read without our code."""

from __future__ import annotations

from sqlalchemy import NullPool, create_engine, inspect

_TRIGGERS = {
    "sqlite": "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name",
    "postgresql": """\
SELECT tgname, pg_get_triggerdef(pg_trigger.oid), pg_get_functiondef(tgfoid), tgenabled::text
FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgname""",
}


def reflected(url: str) -> dict[str, object]:
    """Return the tables, triggers and other objects of a database.

    Tables come with their columns in order, keys, constraints and indexes.
    """
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        inspector = inspect(connection)
        tables = {
            name: {
                "columns": [
                    (each["name"], repr(each["type"]), each["nullable"], each["default"])
                    for each in inspector.get_columns(name)
                ],
                "primary key": inspector.get_pk_constraint(name),
                "foreign keys": by_name(inspector.get_foreign_keys(name)),
                "uniques": by_name(inspector.get_unique_constraints(name)),
                "checks": by_name(inspector.get_check_constraints(name)),
                "indexes": by_name(inspector.get_indexes(name)),
            }
            for name in sorted(inspector.get_table_names())
        }
        triggers = [tuple(row) for row in connection.exec_driver_sql(_TRIGGERS[engine.dialect.name])]
        return {"tables": tables, "triggers": triggers, "schemas": sorted(inspector.get_schema_names())}


def by_name(items: object) -> list[str]:
    """Return the items as text."""
    assert isinstance(items, list)
    return sorted(str({key: plain(value) for key, value in item.items()}) for item in items)


def plain(value: object) -> object:
    """Return the value with conditions as text.

    SQLAlchemy returns them as objects.
    """
    return {key: str(each) for key, each in value.items()} if isinstance(value, dict) else value
