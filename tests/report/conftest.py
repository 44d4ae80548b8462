"""Keys and bags that tests of pages share."""

from tests.evidence.conftest import any_signer, signed  # noqa: F401  fixtures
