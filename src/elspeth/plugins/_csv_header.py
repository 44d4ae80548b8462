"""Reads and checks the header of a CSV file."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from elspeth.contracts.errors import short_repr
from elspeth.contracts.plugins import PluginError
from elspeth.contracts.rows import RowValidator
from elspeth.plugins._csv_dialect import CsvSourceOptions, HeaderNames
from elspeth.plugins._csv_lines import CsvLines

__all__ = ["check_names", "read_header", "suspect_delimiter"]

_DELIMITERS = ",;\t|"
_NOT_WORD = re.compile(r"\W+")


def read_header(
    lines: CsvLines, records: Iterator[list[str]], validator: RowValidator, added: Sequence[str]
) -> list[str]:
    """Return the names of the fields.

    `added` are the fields that the source adds. Raises PluginError with all problems of the names.
    """
    options, problems = lines.options, list[str]()
    if options.fields is not None:
        names = list(options.fields)
    else:
        names = [_clean(name, options.header_names) for name in _read_cells(lines, records)]
        if options.number_names:
            names = _number(names)
        if lines.flaw is not None:
            problems.append(lines.flaw + (", as in UTF-16" if "NUL" in lines.flaw else ""))
        if options.quote is None or options.quote not in lines.text():
            problems += [f"the only field is {short_repr(names[0])}{hint}" for hint in _delimiter_hints(names, options)]
    problems += _name_problems(names, added)
    missing = validator.missing([*names, *added])
    problems += [f"the schema requires a field {name!r}{_spelling_hint(name, names)}" for name in missing]
    problems += [f"the schema does not allow the field {name!r}" for name in validator.unexpected([*names, *added])]
    if problems:
        raise PluginError(f"{lines.file.name}, header: {'; '.join(problems)}")
    return names


def check_names(headers: Mapping[str, Sequence[str]]) -> None:
    """Raise PluginError unless all files have the same fields.

    `headers` are the names of the fields by file.
    """
    [(first_file, first), *others] = headers.items() or [("", ())]
    for file, names in others:
        lacking = [repr(name) for name in first if name not in names]
        surplus = [repr(name) for name in names if name not in first]
        problems = [f"lacks {', '.join(lacking)}"] if lacking else []
        problems += [f"has {', '.join(surplus)} besides"] if surplus else []
        if problems:
            raise PluginError(
                f"{file}, header: expected the fields of {first_file}, but it {' and '.join(problems)}; "
                "if that is right, declare the fields in the schema, those that may be missing with '?'"
            )


def suspect_delimiter(cells: Sequence[str], options: CsvSourceOptions) -> str:
    """Return a hint if the delimiter seems to be wrong."""
    return next(_delimiter_hints(cells, options), "")


def _delimiter_hints(cells: Sequence[str], options: CsvSourceOptions) -> Iterator[str]:
    if len(cells) == 1:
        for delimiter in _DELIMITERS.replace(options.delimiter, ""):
            if delimiter in cells[0]:
                yield f": is the delimiter {delimiter!r}? expected {options.delimiter!r}"


def _read_cells(lines: CsvLines, records: Iterator[list[str]]) -> list[str]:
    try:
        return next(records, [])
    except csv.Error as error:
        lines.refuse_open_quote()
        raise PluginError(f"{lines.file.name}, line {lines.first}: {error}") from error


def _clean(name: str, how: HeaderNames) -> str:
    match how:
        case "exact":
            return name
        case "strip":
            return name.strip()
        case "lower":
            return name.strip().lower()
        case "upper":
            return name.strip().upper()
        case "snake":
            return _NOT_WORD.sub("_", name).strip("_").lower()


def _number(names: list[str]) -> list[str]:
    """Name empty fields by their columns, and number repeated names."""
    numbered, seen = [], Counter[str]()
    for column, name in enumerate(names, start=1):
        seen[name] += 1
        numbered.append(f"field_{column}" if not name else name if seen[name] == 1 else f"{name}_{seen[name]}")
    return numbered


def _name_problems(names: list[str], added: Sequence[str]) -> Iterator[str]:
    if not names:
        yield "expected a header line with the names of the fields"
    if "" in names:
        yield f"field {names.index('') + 1} has no name"
    for name in sorted({name for name in names if name and names.count(name) > 1}):
        yield f"the name {name!r} occurs twice"
    for name in added:
        if name in names:
            yield f"the field {name!r} is also to be added: give file_field and line_field names of their own"


def _spelling_hint(name: str, names: list[str]) -> str:
    """Return a hint if the header spells a name differently."""
    found = next((each for each in names if each.strip() == name), None)
    if found is not None:
        return f", and {found!r} has spaces around it: see header_names"
    found = next((each for each in names if each.strip().casefold() == name.casefold()), None)
    return "" if found is None else f", and it has {found!r}: see header_names"
