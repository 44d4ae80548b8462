"""Problems of a settings file, reported all at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from elspeth.contracts.errors import format_count, short_repr
from elspeth.contracts.secret_names import is_secret_key
from elspeth.core.secrets import mask_text, redact
from elspeth.core.suggestions import did_you_mean

__all__ = [
    "Location",
    "Problem",
    "SettingsError",
    "keys_of",
    "location_text",
    "structural_problems",
]

Location = tuple[str | int, ...]
_PYDANTIC_PHRASES = re.compile(r"^Input should be |^\w+ should have |,? (unable to|after validation, not) .*")


_JOURNAL = (
    "there is no journal beside the audit database: export: {enabled: true, path: trail.jsonl} writes its records"
)
_INSTEAD: Mapping[str, str] = {
    "collision_policy": "a sink replaces only earlier outputs of its pipeline, and {run_id} in its path gives each run"
    " a file of its own",
    "depends_on": "pipelines do not run each other: run those before this one, as in a script that stops at a failure",
    "dump_to_jsonl": _JOURNAL,
    "dump_to_jsonl_path": _JOURNAL,
    "signing_mode": "sign: true signs each record with the key in ELSPETH_SIGNING_KEY, a bag with `key`",
    "telemetry": "--log-format json writes what happens as events to standard error",
}
"""The replacements for keys of the predecessor's later releases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem of the settings.

    `location` is empty if the problem concerns the whole file.
    """

    location: Location
    message: str

    @property
    def path(self) -> str:
        """Return the location as users write it."""
        return location_text(self.location)

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.location else self.message


def location_text(location: Location) -> str:
    """Return a location as users write it: ``gates[0].routes.true``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


class SettingsError(Exception):
    """A settings file cannot be used, because of `problems`."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        lines = [f"{source}: {format_count(len(problems), 'problem')}", *(f"  {problem}" for problem in problems)]
        # A line break in a name must not look like the beginning of another problem.
        super().__init__("\n".join(line.replace("\n", "\\n") for line in lines))
        self.source = source
        self.problems = tuple(problems)


def structural_problems(error: ValidationError, model: type[BaseModel], *, prefix: Location = ()) -> Iterable[Problem]:
    """Yield pydantic's errors about a model as problems with paths."""
    for details in error.errors(include_url=False):
        # Names that end in brackets are those of alternatives within a model, not keys.
        location = tuple(part for part in details["loc"] if not str(part).endswith("[]"))
        yield Problem(location=prefix + location, message=_message(details, model))


def _message(details: ErrorDetails, model: type[BaseModel]) -> str:
    location = details["loc"]
    match details["type"]:
        case "missing":
            return "is required but missing"
        case "extra_forbidden":
            if (advice := _INSTEAD.get(str(location[-1]))) is not None:
                return f"is a key of other versions, unknown here: {advice}"
            known = _keys_at(model, location[:-1])
            return f"unknown key: expected one of {', '.join(known)}{did_you_mean(str(location[-1]), known)}"
        case "value_error":
            return str(details["ctx"]["error"])
        case _:
            expected = _PYDANTIC_PHRASES.sub("", details["msg"])
            return f"expected {expected}, got {_value(location, details['input'])}"


def _value(location: Location, value: object) -> str:
    if any(isinstance(part, str) and is_secret_key(part) for part in location):
        return "a value that is not shown because it may be secret"
    match value:
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str():
            return short_repr(mask_text(value, redact))
        case _:
            return short_repr(value)


def _keys_at(model: type[BaseModel], location: Location) -> list[str]:
    """Return the keys allowed at a location below a model."""
    annotation: object = model
    for part in location:
        annotation = _element(annotation, part)
    found = _model_in(annotation)
    return [] if found is None else [found.model_fields[name].alias or name for name in keys_of(found)]


def keys_of(model: type[BaseModel]) -> list[str]:
    """Return a section's keys, required ones first."""
    return sorted(model.model_fields, key=lambda name: not model.model_fields[name].is_required())


def _element(annotation: object, part: str | int) -> object:
    """Return the annotation of an element or field."""
    found = _model_in(annotation)
    if found is not None:
        fields = {field.alias or name: field.annotation for name, field in found.model_fields.items()}
        return fields.get(str(part))
    if get_origin(annotation) in (list, dict, tuple, Mapping, Sequence):
        return get_args(annotation)[-1]
    return None


def _model_in(annotation: object) -> type[BaseModel] | None:
    """Return the model in an optional or annotated type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return next(filter(None, map(_model_in, get_args(annotation))), None)
    return None
