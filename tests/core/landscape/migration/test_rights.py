"""Owners and grants of migrated tables stay (PostgreSQL)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import NullPool, create_engine, make_url, text

from elspeth.core.landscape.migration.migrate import migrate
from elspeth_schema.tables import metadata
from tests.fixtures.legacy import OldDatabase, OldDatabaseMaker

pytestmark = pytest.mark.postgres

RIGHTS = """\
SELECT relname, pg_get_userbyid(relowner), acl.grantee::regrole::text, acl.privilege_type, acl.is_grantable
FROM pg_class LEFT JOIN LATERAL aclexplode(relacl) AS acl ON true
WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"""


@pytest.fixture
def database(old_database_of: OldDatabaseMaker) -> OldDatabase:
    """Return a historical database."""
    return old_database_of("epoch3-rich", "postgresql")


@pytest.fixture
def roles(database: OldDatabase) -> Iterator[tuple[str, str]]:
    """Return an owner, and an auditor whose name needs quotes."""
    names = (f"owner_{uuid.uuid4().hex}", f"The Auditor {uuid.uuid4().hex}")
    run(database, *(f'CREATE ROLE "{name}"' for name in names))
    yield names
    run(database, *(f'DROP OWNED BY "{name}" CASCADE' for name in names), *(f'DROP ROLE "{name}"' for name in names))


def run(database: OldDatabase, *statements: str) -> None:
    with create_engine(database.url, poolclass=NullPool).begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def rights(database: OldDatabase) -> dict[str, set[tuple[object, ...]]]:
    """Return each table's owner and grants."""
    found: dict[str, set[tuple[object, ...]]] = {}
    with create_engine(database.url, poolclass=NullPool).connect() as connection:
        for name, *right in connection.execute(text(RIGHTS)):
            found.setdefault(name, set()).add(tuple(right))
    return found


def test_owner_and_grants_are_kept(database: OldDatabase, roles: tuple[str, str]) -> None:
    owner, auditor = roles
    tables = list(rights(database))
    run(
        database,
        *(f"ALTER TABLE {table} OWNER TO {owner}" for table in tables),
        # Without UPDATE nothing could be recorded: PostgreSQL checks references with the rights of a table's owner.
        *(f"REVOKE DELETE, TRUNCATE ON {table} FROM {owner}" for table in tables),
        *(f'GRANT SELECT ON {table} TO "{auditor}" WITH GRANT OPTION' for table in tables if table != "calls"),
        "GRANT SELECT ON edges TO PUBLIC",
    )
    before = rights(database)
    migrate(database.url, no_backup=True)
    after = rights(database)
    assert {name: after[name] for name in before} == before
    assert before["edges"] > before["runs"] > before["calls"]
    new = after.keys() - before.keys()
    assert new == metadata.tables.keys() - set(tables)
    assert {name for name in new if after[name] != before["runs"]} == set()


def test_a_migration_by_the_owner_needs_no_superuser(database: OldDatabase, roles: tuple[str, str]) -> None:
    owner, _ = roles
    name = make_url(database.url).database
    run(
        database,
        *(f"ALTER TABLE {table} OWNER TO {owner}" for table in rights(database)),
        f"GRANT CREATE ON DATABASE {name} TO {owner}",
        f"GRANT USAGE, CREATE ON SCHEMA public TO {owner}",
        f"ALTER ROLE {owner} LOGIN",
    )
    url = make_url(database.url).set(username=owner).render_as_string(hide_password=False)
    assert migrate(url, no_backup=True).migrated
    assert {right[0] for table in rights(database).values() for right in table} == {owner}
