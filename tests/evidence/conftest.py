"""Signers and bags that many tests of evidence share."""

from __future__ import annotations

import pytest

from elspeth.evidence.format.signatures import PRIVATE_KEY, KeyType, Signer, generate_keys, load_signer
from tests.evidence.bags import make_bag, records, to_lines


@pytest.fixture(scope="session", params=list(KeyType))
def any_signer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """Return a signer of each algorithm in turn."""
    directory = tmp_path_factory.mktemp("keys")
    generate_keys(directory, request.param)
    return load_signer(str(directory / PRIVATE_KEY))


@pytest.fixture(scope="session")
def signed(signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files of a signed bag. Never change them."""
    return make_bag(tmp_path_factory.mktemp("bags"), to_lines(records()), signer)
