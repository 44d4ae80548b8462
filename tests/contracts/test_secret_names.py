"""Secrets are recognised by the names of their keys."""

from __future__ import annotations

import pytest

from elspeth.contracts.secret_names import is_secret_key, is_secret_parameter


@pytest.mark.parametrize(
    "name",
    [
        *("password", "Password", "dbPassword", "db_password", "sasl.password", "user_passwd", "passphrase"),
        *("api_key", "apiKey", "X-Api-Key", "myapikey", "signing_key", "token", "access-token", "accessToken"),
        *("clientSecret", "client_secret", "secret", "credential", "aws.credential", "Authorization"),
    ],
)
def test_a_key_that_names_a_secret_is_recognised(name: str) -> None:
    assert is_secret_key(name)
    assert is_secret_parameter(name)


@pytest.mark.parametrize("name", ["auth", "Key", "pass", "PWD", "sig", "Signature"])
def test_some_names_are_those_of_secrets_only_in_addresses(name: str) -> None:
    assert is_secret_parameter(name)
    assert not is_secret_key(name)


@pytest.mark.parametrize("name", ["", "key_column", "keys", "monkey", "tokens", "max_tokens", "secretary", "path"])
def test_other_names_are_not_taken_for_those_of_secrets(name: str) -> None:
    assert not is_secret_key(name)
    assert not is_secret_parameter(name)
