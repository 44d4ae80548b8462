"""Passwords in database URLs are neither printed nor written.

This holds for every spelling and position, whether the URL is usable or not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import MetaData, create_engine, make_url, select

from elspeth.cli import main
from tests.fixtures.databases import create_database, drop_database

pytestmark = pytest.mark.usefixtures("own_directory")

Captured = pytest.CaptureFixture[str]

MARK = "HUNTER2"

SPELLINGS = [
    # the audit database, the source and the sink
    ("my {0}@", "@&password=a+{0}%26", ":{0}:@"),
    ("a\t{0}\xa0b@", "@&sslpassword={0}", "@&passfile=/nowhere/{0}"),
    ("%40{0}%2F%3A@", "a/{0}?b=c@", "@&sslkey={0}"),
    ("@&password={0}", "hmac-sha256:{0}@", "{0}%%@"),
]
"""Where the URL of a test database has its '@', and behind its end: the user's password, and parameters."""

UNUSABLE = [
    "postgresql+psycopg://u:p@{0}@127.0.0.1:1/db",
    "postgresql+psycopg://u:{0}",
    "postgresql+psycopg://u:{0}@127.0.0.1:1,127.0.0.1:1/db",
    "postgresql+psycopg:/u:{0}@127.0.0.1:1/db",
    "postgresql+psycopg:///u:{0}@127.0.0.1:1/db",
    "postgresql+psycopg://u:{0}@127.0.0.1:1/db",
    "postgresql+psycopg://127.0.0.1:1/db?{0}",
    "postgresql+psycopg://127.0.0.1:1/db?x={0}",
    "postgresql+psycopg://127.0.0.1:1/db?options={0}",
    "postgresql+psycopg2://u:{0}@127.0.0.1:1/db",
    "nosuch://u:{0}@127.0.0.1:1/db",
    "sqlite://u:{0}@127.0.0.1/audit.db",
    "sqlite:///audit.db?password={0}",
    "sqlite+pysqlcipher://:{0}@/audit.db",
]

SETTINGS = """
datasource: {plugin: sql, options: {url: %(source)s, query: SELECT 1 AS id, on_validation_failure: out}}
output_sink: out
sinks: {out: {plugin: database, options: {url: %(target)s, table: people}}}
landscape: {url: %(landscape)s}
payload_store: {base_path: payloads}
"""
COMMANDS = [
    ["validate", "-s", "settings.yaml"],
    ["validate", "-s", "settings.yaml", "--graph", "mermaid"],
    ["run", "-s", "settings.yaml"],
    ["run", "-s", "settings.yaml", "-x"],
    ["run", "-s", "settings.yaml", "-x", "--json"],
    ["purge", "-s", "settings.yaml"],
    ["resume", "latest", "-s", "settings.yaml"],
]
WITH_DATABASE = [
    ["landscape", "status"],
    ["landscape", "status", "--json"],
    ["landscape", "check"],
    ["landscape", "runs"],
    ["landscape", "migrate"],
    ["landscape", "migrate", "--dry-run"],
    ["landscape", "migrate", "--sql"],
    ["export", "latest", "-o", "trail.jsonl", "--include-payloads"],
    ["export", "latest", "-o", "trail.csv", "--format", "csv"],
    ["export", "latest", "-o", "bag", "--format", "bag"],
    ["explain", "--row", "0"],
    ["explain", "--row", "0", "--json"],
    ["import", "trail.jsonl"],
]


def settings_of(landscape: str, source: str, target: str) -> str:
    return SETTINGS % {
        "landscape": json.dumps(landscape),
        "source": json.dumps(source),
        "target": json.dumps(target),
    }


def run_commands(capsys: Captured, *commands: list[str]) -> tuple[list[int], str]:
    """Run commands; return their exit codes and everything printed."""
    codes = [main(command) for command in commands]
    captured = capsys.readouterr()
    return codes, captured.out + captured.err


def read_files(directory: Path) -> str:
    """Return the content of all files except the settings."""
    files = [path for path in directory.rglob("*") if path.is_file() and path.name != "settings.yaml"]
    return "\n".join([str(path) + path.read_bytes().decode(errors="replace") for path in files])


def read_database(url: str) -> str:
    """Return the content of a database as text."""
    metadata, engine = MetaData(), create_engine(url)
    with engine.connect() as connection:
        metadata.reflect(connection)
        rows = {table.name: connection.execute(select(table)).all() for table in metadata.sorted_tables}
    engine.dispose()
    assert rows != {}
    return str(rows)


@pytest.fixture
def target_url(postgresql_url: str) -> Iterator[str]:
    """Create a second database on the server."""
    server = make_url(postgresql_url)
    url = create_database(server)
    yield url.render_as_string(hide_password=False)
    drop_database(server, url)


def spelled(url: str, spelling: str) -> str:
    password, _, parameter = spelling.format(MARK).partition("@")
    return url.replace("@", f":{password}@" if password else "@") + parameter


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("mask", "spellings"),
    [("ELSPETH_FINGERPRINT_KEY", SPELLINGS[:2]), ("ELSPETH_ALLOW_RAW_SECRETS", SPELLINGS[2:])],
)
def test_a_password_is_neither_printed_nor_written(
    *,
    postgresql_url: str,
    target_url: str,
    spellings: list[tuple[str, str, str]],
    mask: str,
    own_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    monkeypatch.setenv(mask, "true" if "ALLOW" in mask else "a key that is long enough")
    said = ""
    for index, (landscape, source, target) in enumerate(spellings):
        urls = (spelled(postgresql_url, landscape), spelled(postgresql_url, source), spelled(target_url, target))
        Path("settings.yaml").write_text(settings_of(*urls))
        commands = COMMANDS[:5] if index else [*COMMANDS, *([*command, "-d", urls[0]] for command in WITH_DATABASE)]
        codes, text = run_commands(capsys, *commands)
        assert codes[3:5] == [0, 0], text
        assert set(codes[len(COMMANDS) : -1]) <= {0}, text
        said += text
    assert MARK not in said
    assert MARK not in read_files(own_directory)
    assert MARK not in read_database(postgresql_url) + read_database(target_url)


@pytest.mark.parametrize("url", UNUSABLE)
def test_a_url_that_cannot_be_used_is_shown_without_its_password(
    url: str, own_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("ELSPETH_ALLOW_RAW_SECRETS", "true")
    bad, good = url.format(MARK), "sqlite:///good.db"
    said = ""
    for urls in ((bad, good, good), (good, bad, good), (good, good, bad)):
        Path("settings.yaml").write_text(settings_of(*urls))
        codes, text = run_commands(capsys, COMMANDS[0], COMMANDS[3])
        assert codes[1] in {1, 2}, text
        said += text
        assert MARK not in run_commands(capsys, [*COMMANDS[3], "--traceback"])[1]
    commands = [command for command in WITH_DATABASE if "--json" not in command and command[-1] != "bag"]
    codes, text = run_commands(capsys, *([*command, "-d", bad] for command in commands))
    assert 0 not in codes
    said += text
    assert MARK not in said
    assert "Traceback" not in said
    assert MARK not in read_files(own_directory)


def test_without_a_mask_a_url_with_a_password_is_refused(capsys: Captured) -> None:
    url = f"postgresql+psycopg://u:my {MARK}@h/db?sslpassword={MARK}"
    Path("settings.yaml").write_text(settings_of(url, url, url.replace("h/db", "h/target")))
    codes, said = run_commands(capsys, ["run", "-s", "settings.yaml", "-x"])
    assert codes == [2]
    assert said.count("is a secret, which is never stored") == 3
    assert MARK not in said
