"""Failures of tokens, as they are recorded."""

from elspeth.engine.errors import Failure


def test_details_of_a_plugin_do_not_replace_its_error() -> None:
    failure = Failure(message="refused", kind="RowError", details={"exception": "another", "type": "Another", "n": 1})
    assert failure.as_details() == {"exception": "refused", "type": "RowError", "n": 1}
