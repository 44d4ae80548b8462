"""Checks of the settings for rows that fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from elspeth.contracts.error_fields import ERROR_FIELDS
from elspeth.contracts.schema import SchemaConfig
from elspeth.core.settings.model import Settings
from elspeth.core.settings.parts import Parts
from elspeth.core.settings.problems import Problem
from elspeth.core.settings.steps import SinkSettings
from elspeth.core.suggestions import did_you_mean

__all__ = ["failure_problems", "limit_problems"]


def failure_problems(parts: Parts) -> Iterator[Problem]:
    """Yield the problems with error fields of sinks."""
    for name, sink in parts.sinks.items():
        if sink is not None and sink.error_fields and (missing := _refused_fields(sink)):
            message = (
                f"the schema of the sink allows no field {', '.join(missing)}: name them in the schema, make it free,"
                " or leave error_fields out"
            )
            yield Problem(location=("sinks", name, "error_fields"), message=message)


def _refused_fields(sink: SinkSettings) -> list[str]:
    """Return the error fields that a sink's schema refuses."""
    schema = sink.options.get("schema")
    try:
        config = SchemaConfig.from_dict(schema) if isinstance(schema, Mapping) else None
    except ValueError:
        return []  # reported with the options
    if config is None or config.allows_extra_fields:
        return []
    named = {field.name for field in config.fields or ()}
    return [repr(name) for name in ERROR_FIELDS if name not in named]


def limit_problems(settings: Settings) -> Iterator[Problem]:
    """Yield a problem for each limit of an unknown step."""
    if settings.fail_if is None:
        return
    known = list(dict.fromkeys(settings.node_names.values()))
    for name in settings.fail_if.steps:
        if name not in known:
            message = f"unknown step {name!r}: expected one of {', '.join(known)}{did_you_mean(name, known)}"
            yield Problem(location=("fail_if", "steps", name), message=message)
