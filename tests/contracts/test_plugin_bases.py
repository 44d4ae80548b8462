"""What plugins say about themselves, and paths in options."""

from __future__ import annotations

import pytest

from elspeth.contracts.enums import error_edge_label
from elspeth.contracts.plugins import FieldOrigins, Sink, Source
from elspeth.contracts.plugins.options import check_address


class Shelf(Source):
    __doc__ = "\n    A source of books.\n\n    It has further lines.\n    "


class Pile(Sink):
    """A sink for books."""


class Bare(Sink):
    __doc__ = None


def test_a_plugin_is_described_by_the_first_line_of_its_docstring() -> None:
    assert [each.description() for each in (Shelf, Pile, Bare)] == ["A source of books.", "A sink for books.", ""]


def test_a_field_whose_name_another_field_takes_is_not_removed() -> None:
    found = FieldOrigins.renamed({"a": "b", "b": "c", "d": "e"})
    assert (found.same, list(found.removed)) == ({"b": "a", "c": "b", "e": "d"}, ["a", "d"])


def test_an_address_whose_library_is_missing_is_refused_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "elspeth.contracts.plugins.options.missing_package", lambda module, extra: f"needs {module} of {extra}"
    )
    with pytest.raises(ValueError, match=r"^Amazon S3 needs s3fs of s3$"):
        check_address("s3://bucket/key")
    assert check_address("out/a.csv") == "out/a.csv"


def test_the_error_edge_of_a_transform_has_the_label_of_the_predecessor() -> None:
    assert error_edge_label("t1") == "__error_t1__"
