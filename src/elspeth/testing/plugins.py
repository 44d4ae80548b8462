"""The contract of every plugin."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import ValidationError

from elspeth.contracts.plugins import Dataset, Plugin, PluginOptions
from elspeth.core.canonical import stable_hash
from elspeth.core.secrets import mask_text, redact

__all__ = ["PluginContract", "files_below", "repeated_values", "require_datasets", "require_rows"]

_SHORTEST = 4
"""Characters of a text or number that a message could only repeat on purpose."""


class PluginContract:
    """Tests that every plugin passes.

    `plugin` is the class. Override `options` if the plugin needs any.
    """

    plugin: ClassVar[type[Plugin]]

    def options(self, directory: Path) -> Mapping[str, object]:  # noqa: ARG002  for subclasses
        """Return the options to make the plugin with.

        `directory` is empty, and new for each test: the place for inputs, which are written here, and for outputs.
        """
        return {}

    def make(self, options: Mapping[str, object]) -> Plugin:
        """Return a new plugin, as the engine makes it."""
        return self.plugin(self.plugin.options_model.model_validate(options))

    def test_it_has_a_name_a_version_and_a_description(self) -> None:
        """Settings, records and `elspeth plugins list` use them."""
        assert self.plugin.name, "the name must not be empty"
        assert self.plugin.plugin_version, "the version must not be empty"
        assert self.plugin.description(), "the class needs a docstring: its first line is the description"

    def test_its_options_refuse_unknown_ones(self, tmp_path: Path) -> None:
        """A misspelt option is a problem of the settings."""
        assert issubclass(self.plugin.options_model, PluginOptions)
        with pytest.raises(ValidationError) as caught:
            self.make({**self.options(tmp_path), "no_such_option": 1})
        assert [each["loc"] for each in caught.value.errors()] == [("no_such_option",)]

    def test_making_it_writes_nothing(self, tmp_path: Path) -> None:
        """`elspeth validate` makes plugins, too."""
        options = self.options(tmp_path)
        before = files_below(tmp_path)
        self.make(options)
        assert files_below(tmp_path) == before


def files_below(directory: Path) -> dict[str, bytes | None]:
    """Return the content of each file, and None for directories."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
    }


def require_rows(rows: Sequence[object]) -> None:
    """Require what can be recorded as rows.

    Raises AssertionError for anything else than a dict, CanonicalError for values that rows cannot hold.
    """
    for row in rows:
        assert isinstance(row, dict), f"expected a row, got {type(row).__name__}"
        stable_hash(row)


def require_datasets(datasets: Sequence[Dataset]) -> None:
    """Require names that can be recorded and sent.

    Raises AssertionError for a name that is empty, is not printable, has a password or is there twice.
    """
    for each in datasets:
        for text in (each.namespace, each.name):
            assert text, "a dataset needs a namespace and a name"
            assert text.isprintable(), f"expected printable text, got {text!r}"
            assert mask_text(text, redact) == text, "the name of a dataset holds a secret"
    assert len(set(datasets)) == len(datasets), "a dataset is named twice"


def repeated_values(rows: Sequence[object], message: str, details: Mapping[str, object]) -> list[str]:
    """Return the values of rows that an error repeats.

    Values of fewer than four characters are not looked for. Names of fields may be repeated.
    """
    text = f"{message} {json.dumps(details, default=str, ensure_ascii=False)}"
    found = {str(value) for row in rows for value in _values(row) if isinstance(value, str | int | float)}
    return sorted(value for value in found if len(value) >= _SHORTEST and value in text)


def _values(part: object) -> Iterator[object]:
    """Yield the values in a row that hold no others."""
    match part:
        case dict():
            for value in part.values():
                yield from _values(value)
        case list():
            for value in part:
                yield from _values(value)
        case None | bool():
            return
        case _:
            yield part
