"""Failures of tokens, as they are recorded."""

import pytest

from elspeth.contracts.plugins import PluginError
from elspeth.engine.errors import Failure, ResumeError, blame, changed_source_error


def test_details_of_a_plugin_do_not_replace_its_error() -> None:
    failure = Failure(message="refused", kind="RowError", details={"exception": "another", "type": "Another", "n": 1})
    assert failure.as_details() == {"exception": "refused", "type": "RowError", "n": 1}


def test_a_message_that_is_no_unicode_has_a_hash_too() -> None:
    hashes = {Failure(message=f"not {text}", kind="ValueError").hash() for text in ("\ud800", "\udfff")}
    assert [len(each) for each in hashes] == [64, 64]


@pytest.mark.parametrize("kind", ["source", "sink"])
def test_the_error_of_a_plugin_names_the_plugin_and_keeps_its_cause(kind: str) -> None:
    error = ZeroDivisionError("12 / 0")
    blamed = blame(kind, "orders", error)
    assert str(blamed) == f"{kind} 'orders' failed: ZeroDivisionError: raised at an unknown place"
    assert blamed.__cause__ is error
    known = PluginError("the server is gone")
    assert blame(kind, "orders", known) is known


def test_the_error_for_a_changed_source_says_how_it_changed_and_what_to_do() -> None:
    error = changed_source_error("the source", "r1", "row 4 has another hash")
    assert isinstance(error, ResumeError)
    assert str(error) == (
        "the source is not what run r1 read: row 4 has another hash; restore it to resume the run, "
        "or abandon the run with --abandon"
    )
