"""Secrets are found by name and never stored."""

import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts.secret_names import is_secret_key
from elspeth.core.secrets import (
    find_secrets,
    mask_secrets,
    mask_text,
    redact,
    secret_mask,
    secrets_in,
    without_secrets,
)

SETTINGS: dict[str, object] = {
    "landscape": {"url": "postgresql+psycopg://audit:hunter2@db/landscape"},
    "options": {"api_key": "k-123", "path": "in.csv", "retries": 3, "headers": [{"x_token": 42}, "plain"]},
    "credential": {"user": "u-1", "enabled": True},
    "callback": "https://example.org/hook?id=7&access_token=t-9#top",
    "password": "",
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("api_key", True),
        ("API_KEY", True),
        ("password", True),
        ("db_password", True),
        ("signing_key", True),
        ("client_secret", True),
        ("sslpassword", True),
        ("Authorization", True),
        ("ssh_passphrase", True),
        ("apiKey", True),
        ("clientSecret", True),
        ("X-Api-Key", True),
        ("sasl.password", True),
        ("tokenEndpoint", False),
        ("path", False),
        ("tokens", False),
        ("keyboard", False),
    ],
)
def test_keys_of_secrets_are_recognised_by_name(name: str, expected: bool) -> None:
    assert is_secret_key(name) is expected


def test_every_place_of_a_secret_is_found() -> None:
    assert list(find_secrets(SETTINGS)) == [
        ("landscape", "url"),
        ("options", "api_key"),
        ("options", "headers", 0, "x_token"),
        ("credential", "user"),
        ("callback",),
    ]


def test_every_number_under_the_name_of_a_secret_is_a_secret() -> None:
    tree: dict[str, object] = {"pin_token": 1.5, "x_secret": [7, True, None], "amount": 1.5}
    assert list(find_secrets(tree)) == [("pin_token",), ("x_secret", 0)]
    assert secrets_in(tree) == {"1.5", "7"}


def test_only_secrets_are_replaced() -> None:
    assert mask_secrets(SETTINGS, redact) == {
        "landscape": {"url": "postgresql+psycopg://audit:[redacted]@db/landscape"},
        "options": {
            "api_key": "[redacted]",
            "path": "in.csv",
            "retries": 3,
            "headers": [{"x_token": "[redacted]"}, "plain"],
        },
        "credential": {"user": "[redacted]", "enabled": True},
        "callback": "https://example.org/hook?id=7&access_token=[redacted]#top",
        "password": "",
    }


def test_a_fingerprint_is_an_hmac() -> None:
    mask = secret_mask({"ELSPETH_FINGERPRINT_KEY": "operator", "ELSPETH_ALLOW_RAW_SECRETS": "true"})
    assert mask is not None
    expected = hmac.new(b"operator", b"k-123", hashlib.sha256).hexdigest()
    assert mask_secrets({"api_key": "k-123"}, mask) == {"api_key": f"hmac-sha256:{expected}"}


def test_without_variables_there_is_no_mask() -> None:
    assert secret_mask({}) is None
    assert secret_mask({"ELSPETH_FINGERPRINT_KEY": "", "ELSPETH_ALLOW_RAW_SECRETS": "false"}) is None
    for yes in ("true", "YES", "1"):
        assert secret_mask({"ELSPETH_ALLOW_RAW_SECRETS": yes}) is redact


def test_a_mask_gets_the_secrets_of_web_addresses_without_percent_encoding() -> None:
    assert secrets_in({"url": "https://u:P%40ss@h/x?sig=a%2Bb", "api_key": "k%20"}) == {"P@ss", "a+b", "k%20"}


@given(
    secret=st.text(st.characters(exclude_categories=["Z", "C"], exclude_characters="@"), min_size=8),
    key=st.sampled_from(["api_key", "my_token"]),
)
def test_a_masked_secret_is_not_left_in_the_text(secret: str, key: str) -> None:
    tree: dict[str, object] = {key: [secret, {"deep": secret}], "url": f"http://user:{secret}@host/x"}
    masked = mask_secrets(tree, redact)
    assert secret not in json.dumps(masked, ensure_ascii=False)
    assert secret not in mask_text(f"see http://user:{secret}@host", redact)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://u:my secret@h/db?x=1", "postgresql://u:[redacted]@h/db?x=[redacted]"),
        ("see postgresql://u:my p@ss/w@h/db now", "see postgresql://u:[redacted]@h/db now"),
        (
            "see https://u:p@ss@h/x?sig=1&page=2 and mail me@h",
            "see https://u:[redacted]@h/x?sig=[redacted]&page=2 and mail me@h",
        ),
        ("https://u:my secret@h/x?api_key=my secret&page=2", "https://u:[redacted]@h/x?api_key=[redacted]&page=2"),
        ("https://h:8080/x?page=2", "https://h:8080/x?page=2"),
        ("https://u:a@b@c@d@h/x", "https://u:[redacted]@h/x"),
        ("https://h/x?SIG=1", "https://h/x?SIG=[redacted]"),
        ("row['n'] % 2 == 1", "row['n'] % 2 == 1"),
    ],
)
def test_secrets_in_texts_are_masked(text: str, masked: str) -> None:
    assert mask_text(text, redact) == masked


def test_the_identity_of_settings_does_not_depend_on_secrets() -> None:
    before: dict[str, object] = {
        "url": "postgresql://u:first@h/db?sslmode=require&sslpassword=x",
        "options": {"api_key": "first", "items": [{"x_token": 1}, "postgresql://u:first@h/db"]},
        "hook": "https://u:first@h/x?page=1",
    }
    after: dict[str, object] = {
        "url": "postgresql://v:second@h/db?sslmode=require",
        "options": {"api_key": "second", "items": [{"x_token": 2}, "postgresql://v@h/db"]},
        "hook": "https://u:second@h/x?page=1",
    }
    mask = secret_mask({"ELSPETH_FINGERPRINT_KEY": "operator"})
    assert mask is not None
    assert without_secrets(before) == without_secrets(after) == without_secrets(mask_secrets(before, mask))
    assert without_secrets(before) != without_secrets({**before, "hook": "https://u:first@h/x?page=2"})
    assert without_secrets(before) != without_secrets({**before, "url": "postgresql://u:first@h/other?sslmode=require"})
