"""Fixtures and settings of the whole test suite."""

from hypothesis import settings

pytest_plugins = (
    "tests.fixtures.databases",
    "tests.fixtures.keys",
    "tests.fixtures.landscapes",
    "tests.fixtures.legacy",
    "tests.fixtures.predecessor",
    "tests.fixtures.postgres",
    "tests.fixtures.synthetic_epochs",
)

# A slow machine is not a counterexample. Other settings are Hypothesis's own, which differ in CI.
settings.register_profile("elspeth", settings(), deadline=None)
settings.load_profile("elspeth")
