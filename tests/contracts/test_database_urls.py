"""The secrets of database URLs, compared with SQLAlchemy's reading."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from elspeth.contracts.database_urls import (
    HARMLESS_PARAMETERS,
    database_server,
    database_url,
    database_url_problem,
    find_url_secrets,
    hide_secrets_of,
    is_database_url,
    mask_database_url,
    mask_url,
    parse_database_url,
    sqlite_file,
    without_credentials,
)

URL = "postgresql+psycopg://"
ONE_AT = (
    "expected one '@', before the host, as in sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE: "
    "write %40 for others"
)
PORT = "expected a number as the port; several hosts are given as ?host=HOST:PORT&host=HOST:PORT"
EXPECTED_URL = "expected a SQLAlchemy URL such as sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sqlite:///./runs/audit.db", "sqlite:///./runs/audit.db"),
        ("sqlite:////home/a:b@c/audit.db?mode=ro", "sqlite:////home/a:b@c/audit.db?mode=ro"),
        (f"{URL}u:my secret@h/db", f"{URL}u:***@h/db"),
        (f"{URL}u:my\tse\xa0cret@h/db", f"{URL}u:***@h/db"),
        (f"{URL}u:p%40ss@h:5432/db", f"{URL}u:***@h:5432/db"),
        (f"{URL}u:p@ss@h/db", f"{URL}u:***@h/db"),
        (f"{URL}u:p/s?s@h/db", f"{URL}u:***@h/db"),
        (f"{URL}u:p@s/s@h/db?sslmode=require", f"{URL}u:***@h/db?sslmode=require"),
        (f"{URL}:secret@h/db", f"{URL}:***@h/db"),
        (f"{URL}u:@h/db", f"{URL}u:@h/db"),
        (f"{URL}u@h/db", f"{URL}u@h/db"),
        (f"{URL}u:secret@[::1]:5432/db", f"{URL}u:***@[::1]:5432/db"),
        (f"{URL}u:secret@h1:5432,h2:5433/db", f"{URL}u:***@***/db"),
        (f"{URL}[::1]secret/db", f"{URL}***/db"),
        (f"{URL}u@/db?host=h1:5432&host=h2&password=secret", f"{URL}u@/db?host=h1:5432&host=h2&password=***"),
        (f"{URL}h/db?sslmode=require&sslpassword=secret&", f"{URL}h/db?sslmode=require&sslpassword=***&"),
        (f"{URL}h/db?password=", f"{URL}h/db?password="),
        (f"{URL}h/db?ssl%6Dode=require&p%6Frt=1&PORT=2", f"{URL}h/db?ssl%6Dode=require&p%6Frt=1&PORT=2"),
        ("mssql+pyodbc://u@h/db?Encrypt=yes&PWD=secret", "mssql+pyodbc://u@h/db?Encrypt=yes&PWD=***"),
        (f"{URL}u:p@s?e=cret@h/db", f"{URL}u:***@h/db"),
        (f"{URL}u:secret", f"{URL}u:***"),
        ("postgresql:/u:secret@h/db", "postgresql:***"),
        ("postgresql:///u:secret@h/db", "postgresql:///u:***@h/db"),
        ("sqlite://u:secret@h/x.db", "sqlite://u:***@h/x.db"),
        ("sqlite+pysqlcipher://:secret@//a/b.db", "sqlite+pysqlcipher://:***@//a/b.db"),
        ("landscape.db", "landscape.db"),
    ],
)
def test_only_possible_secrets_are_masked(text: str, shown: str) -> None:
    assert mask_database_url(text) == shown


def test_a_url_of_sqlalchemy_is_masked_alike() -> None:
    url = make_url(f"{URL}u:secret@h/db?sslpassword=other&sslmode=require")
    assert mask_url(url) == f"{URL}u:***@h/db?sslmode=require&sslpassword=***"


def test_a_mask_gets_the_secrets_without_percent_encoding() -> None:
    assert find_url_secrets(f"{URL}u:p%40+ss@h/db?sslpassword=a+b%26c&host=h") == ["p@+ss", "a b&c"]
    assert find_url_secrets(f"{URL}u:100%2541@h/db?sslpassword=a%252Bb") == ["100%41", "a%2Bb"], "decoded once"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("sqlite://", None),
        ("sqlite:///a@b:c@d.db", None),
        (f"{URL}u:p%40ss@h:5432/db?sslmode=require", None),
        (f"{URL}u:my secret@[::1]/db", None),
        (f"{URL}/db?host=h1:5432&host=h2:5433", None),
        (f"{URL}u@h/db?sslmode=require&", None),
        (f"{URL}u@h/db?", None),
        (f"{URL}u@h/db?sslmode&", "expected NAME=VALUE after '?', joined by '&'"),
        ("", EXPECTED_URL),
        ("hunter2", EXPECTED_URL),
        ("postgresql:/u:hunter2@h/db", EXPECTED_URL),
        (f"{URL}u:hun@ter2@h/db", ONE_AT),
        (f"{URL}u@x:hunter2@h/db", ONE_AT),
        ("postgresql:///u:hunter2@h/db", ONE_AT),
        (f"{URL}u:hunter2", PORT),
        (f"{URL}u:hunter2@h1:5432,h2:5433/db", PORT),
        (f"{URL}h:700000/db", PORT),
        (f"{URL}h/db?hunter2", "expected NAME=VALUE after '?', joined by '&'"),
        (f"{URL}h/db?sslmode=require&hunter2", "expected NAME=VALUE after '?', joined by '&'"),
        ("sqlite://h/x.db", "expected sqlite:///PATH: SQLite knows no users, passwords and hosts"),
        (
            f"{URL}u:hunt\0er2@h",
            "expected no line breaks and NUL characters: write %0A for a line feed in a password",
        ),
        ("sqlite://u:hunter2@h/x.db", "expected sqlite:///PATH: SQLite knows no users, passwords and hosts"),
        (
            f"{URL}u:hunt\ner2@h",
            "expected no line breaks and NUL characters: write %0A for a line feed in a password",
        ),
    ],
)
def test_an_ambiguous_or_invalid_url_is_refused_without_showing_secrets(text: str, problem: str | None) -> None:
    assert database_url_problem(text) == problem


def test_the_message_of_a_driver_does_not_reveal_secrets() -> None:
    url = f"{URL}u:p%40ss word@h/db?options=-csecret&passfile=abc"
    message = "invalid: p@ss word, -csecret, abc"
    assert hide_secrets_of(url, message) == "invalid: ***, ***, abc"
    assert hide_secrets_of(f"{URL}u:abcd@h/db?sslpassword=abcdef", "abcdef or abcd") == "*** or ***"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (f"{URL}/db", "postgresql://LOCALHOST:5432/db"),
        (f"{URL}me@h", f"{URL}h/me"),
        (f"{URL}h/db?options=b&options=a", f"{URL}u:x@h/db?options=a&sslmode=require&options=b"),
    ],
)
def test_a_server_database_is_identified_by_host_port_and_name(text: str, same: str) -> None:
    assert database_server(text) == database_server(same) != database_server(f"{URL}h/other")


@pytest.mark.parametrize("text", ["sqlite:///db", "sqlite+pysqlite:///db", "db"])
def test_a_file_is_not_a_server_database(text: str) -> None:
    assert database_server(text) is None


@pytest.mark.parametrize(
    "other",
    [
        f"{URL}h:5432/db?sslmode=require",
        f"{URL}somebody@h:5432/db?sslmode=require",
        f"{URL}u:hmac-sha256:1234@h:5432/db?sslmode=require&sslpassword=[redacted]",
        f"{URL}h:5432/db?password=x&user=u&sslmode=require",
        f"{URL}h:5432/db?sslmode=require&user=u&password=x",
    ],
)
def test_credentials_do_not_tell_databases_apart(other: str) -> None:
    assert without_credentials(other) == without_credentials(f"{URL}u:secret@h:5432/db?sslmode=require")


@pytest.mark.parametrize("other", [f"{URL}u:secret@g/db", f"{URL}u:secret@h/dc", f"{URL}u:secret@h/db?sslmode=require"])
def test_everything_else_tells_databases_apart(other: str) -> None:
    assert without_credentials(other) != without_credentials(f"{URL}u:secret@h/db")


def test_the_order_of_parameters_does_not_tell_databases_apart() -> None:
    assert without_credentials(f"{URL}h/db?sslmode=require&host=g") == f"{URL}h/db?host=g&sslmode=require"


def test_a_text_that_only_resembles_a_url_keeps_its_secrets() -> None:
    assert without_credentials("postgresql:/u:secret@h/db") == "postgresql:***"


@pytest.mark.parametrize(
    ("database", "url"),
    [
        ("runs/audit.db", "sqlite:///runs/audit.db"),
        ("/data/50% done?.db", "sqlite:////data/50%25 done%3F.db"),
        ("sqlite:///audit.db", "sqlite:///audit.db"),
        ("postgresql:/u:secret@h", "postgresql:/u:secret@h"),
        ("postgres:u", "postgres:u"),
    ],
)
def test_a_path_becomes_the_url_of_its_file(database: str, url: str) -> None:
    assert database_url(database) == url
    assert is_database_url(database) is (database == url)


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///runs/audit.db", "runs/audit.db"),
        ("sqlite+pysqlite:////data/50%25.db?mode=ro", "/data/50%25.db"),
        ("sqlite:///file:/data/50%25.db?uri=true", "/data/50%.db"),
        ("sqlite://", None),
        ("sqlite:///", None),
        ("sqlite:///:memory:", None),
        (f"{URL}h/db", None),
        ("audit.db", None),
    ],
)
def test_the_file_of_a_database_is_known(url: str, file: str | None) -> None:
    assert sqlite_file(url) == (None if file is None else Path(file))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("sqlite:///x.db?timeout=hunter2&password=hunter2", "could not convert string to float: '***'"),
        ("sqlite:///x.db?check_same_thread=maybe", "String is not true/false: 'maybe'"),
        (
            "sqlite://?x=1",
            (
                "Query string argument(s) 'x' are not accepted by the pysqlite driver and are being ignored; "
                "SQLite URI arguments require that 'uri=true' also be present in the URL."
            ),
        ),
        (
            f"{URL}h/db?host=a&host=b&port=1&port=2&port=3",
            (
                "Can't mix 'multihost' formats together; use \"host=h1,h2,h3&port=p1,p2,p3\" or "
                '"host=h1:p1&host=h2:p2&host=h3:p3" separately'
            ),
        ),
        ("hunter2", EXPECTED_URL),
    ],
    ids=["secret", "boolean", "ignored", "hosts", "no URL"],
)
def test_parameters_that_a_driver_would_refuse_are_named_without_secrets(url: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the whole message is compared
        parse_database_url(url)
    assert str(caught.value) == problem


def test_a_url_of_an_unknown_driver_is_left_to_the_connection() -> None:
    assert parse_database_url("nosuch://h/db").drivername == "nosuch"


MARK = "MARK"
NOISE = st.text(st.sampled_from("ab:/?#[]@&=% +%41\t\xa0é"), max_size=5)
SECRET = st.builds(lambda before, after: f"{before}{MARK}{after}", NOISE, NOISE)
SCHEMES = st.sampled_from(["postgresql+psycopg", "postgresql", "sqlite", "mysql+pymysql", "x"])
HOSTS = st.sampled_from(["", "h", "h:5432", "h.example.org", "[::1]", "[::1]:5432", "h1:1,h2:2"])
NAMES = st.sampled_from(["password", "sslpassword", "passfile", "options", "sslkey", "Password", "pass%77ord", "x"])


@given(
    scheme=SCHEMES,
    user=st.sampled_from(["", "u", "u%40x"]),
    secret=SECRET,
    host=HOSTS,
    slashes=st.sampled_from(["://", ":/", ":", ":///"]),
    query=st.sampled_from(["", "?sslmode=require", "?user=a&port=1"]),
)
def test_a_password_before_the_host_is_never_shown(
    *, scheme: str, user: str, secret: str, host: str, slashes: str, query: str
) -> None:
    assume(not (scheme == "sqlite" and slashes == ":///"))  # a path may hold anything
    shown = mask_database_url(f"{scheme}{slashes}{user}:{secret}@{host}/db{query}")
    assert MARK not in shown


@given(scheme=SCHEMES, host=HOSTS, name=NAMES, secret=SECRET)
def test_a_parameter_that_is_not_known_to_be_harmless_is_never_shown(
    scheme: str, host: str, name: str, secret: str
) -> None:
    secret = secret.replace("&", "").replace("@", "%40")
    assert MARK not in mask_database_url(f"{scheme}://u@{host}/db?sslmode=require&{name}={secret}")


TEXTS = st.text(st.sampled_from("uph:/?#[]@&=%41+ 5_\t\n"), max_size=30)


@given(scheme=SCHEMES, rest=TEXTS | st.builds(lambda a, b, c: f"{a}:{b}@h/{c}", TEXTS, TEXTS, TEXTS))
def test_sqlalchemy_finds_no_other_secrets(scheme: str, rest: str) -> None:
    """Everything the driver gets as password or parameter is masked.

    This holds for all URLs that are not refused.
    """
    text = f"{scheme}://{rest}"
    assume(database_url_problem(text) is None)
    url = make_url(text)
    pairs = [
        (name, each)
        for name, value in url.query.items()
        for each in ([value] if isinstance(value, str) else value)
        if name.lower() not in HARMLESS_PARAMETERS
    ]
    assert sorted(find_url_secrets(text)) == sorted(
        secret for secret in [url.password or "", *(value for _, value in pairs)] if secret
    )


@given(TEXTS)
def test_a_url_that_sqlalchemy_refuses_is_refused(text: str) -> None:
    try:
        make_url(text)
    except (ArgumentError, ValueError):
        assert database_url_problem(text) is not None
