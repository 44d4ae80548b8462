"""Cases of codegen; `pytest tests/codegen --update` rewrites their expected outcome."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option `--update`.

    Pytest knows it only if this directory is named on the command line.
    """
    parser.addoption("--update", action="store_true", help="record what codegen does now as what it has to do")


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    """Return whether to record outcomes instead of comparing them."""
    return bool(request.config.getoption("--update", default=False))
