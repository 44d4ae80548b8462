"""Shapes of records: which values their fields may hold.

`problem` checks a parsed value and explains the result. `pattern` is a regular expression that recognises most valid
values in canonical JSON, many times faster; values that it does not match are parsed. Each rule has both forms side by
side, and a pattern never matches a value that `problem` would object to.

A pattern can match in only one way: groups are atomic and quantifiers possessive, so that nothing is backtracked. The
time for a line is therefore linear in its length, whatever the schema of a bag says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from elspeth.evidence.format.canonical import Json, canonical
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.limits import MAX_PATTERNS
from elspeth.evidence.verifier._line_patterns import LinePattern

__all__ = ["TYPES", "PatternBudget", "Shape", "ValueRule"]

TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}

_PLAIN = r"[^\"\\\x00-\x1f]"
"""A character that stands for itself in a JSON text. The lines were decoded from UTF-8 and hold no lone surrogates."""

_ANY_TEXT = rf"(?>{_PLAIN}++|\\(?>[\"\\bfnrt]|u00(?>0[0-7bef]|1[0-9a-f])))*+"
"""A text of any length, with the only escapes of canonical JSON (RFC 8785, section 3.2.2.2)."""

_DIGITS = "[1-9][0-9]{0,14}+"
"""Whole numbers that stay below 2^53. Lines with larger ones are parsed."""
_NATURAL = f"(?>0|{_DIGITS})"
_WHOLE = f"(?>0|-?+{_DIGITS})"
_LARGEST = 10**15 - 1

_NEVER = "((?!))"
"""A group that never takes part in a match."""

_MAX_REPEAT = 2**16
"""The largest repetition in a pattern."""


class PatternBudget:
    """Limits the characters of all patterns of a schema.

    Otherwise a small schema could demand huge patterns, by referring to one long list of values from many fields.
    """

    def __init__(self, place: str, limit: int = MAX_PATTERNS) -> None:
        self._place = place
        self._limit = self._left = limit

    def take(self, characters: int) -> None:
        """Count the characters of a pattern.

        Raises EvidenceError when the limit is exceeded.
        """
        self._left -= characters
        if self._left < 0:
            problem = f"expected shapes with patterns of at most {self._limit:,} characters, got more"
            raise EvidenceError(self._place, problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRule:
    """The rule for the values of a field.

    `type` is None if only `choices` matter. `regex` must match the whole text, which then has `regex_length`
    characters.
    """

    type: str | None = None
    choices: tuple[Json, ...] | None = None
    regex: re.Pattern[str] | None = None
    regex_length: int = 0
    max_length: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    nullable: bool = False

    def problem(self, value: Json) -> str | None:
        """Return the problem of a value, or None."""
        if value is None and self.nullable:
            return None
        if self.choices is not None and not any(value is each or _same(value, each) for each in self.choices):
            return f"expected {' or '.join(map(shown, self.choices))}, got {shown(value)}"
        if self.type is not None and not _has_type(value, self.type):
            expected = f"{self.type} or null" if self.nullable else self.type
            return f"expected {expected}, got {shown(value)}"
        if isinstance(value, str):
            return self._text_problem(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._number_problem(value)
        return None

    def pattern(self, *, captured: bool) -> str | None:
        """Return a pattern of valid values, if possible.

        `captured` puts a group around the value without its quotes. Numbers that may have a fraction are always
        captured, because their digits must be checked.
        """
        if self.type == "null":
            return f"(?>null|{_NEVER})" if captured else "null"
        if self.type == "number" and not captured:
            value = self._fraction_pattern()
            return value if value is None or not self.nullable else f"(?>null|{value})"
        is_text, content = self._pattern_without_quotes()
        if content is None:
            return None
        content = f"({content})" if captured else content
        content = f'"{content}"' if is_text else content
        return f"(?>null|{content})" if self.nullable else content

    def _pattern_without_quotes(self) -> tuple[bool, str | None]:
        if self.choices is not None:
            return True, self._choice_pattern(self.choices)
        match self.type:
            case "boolean":
                return False, "(?>true|false)"
            case "integer":
                return False, self._whole_pattern()
            case "string":
                return True, self._text_pattern()
        return False, None

    def _choice_pattern(self, choices: Sequence[Json]) -> str | None:
        texts = [each for each in choices if isinstance(each, str) and self.problem(each) is None]
        if len(texts) != len(choices) or any(canonical(text) != f'"{text}"'.encode() for text in texts):
            return None
        # The longest first, so that a choice that begins a longer one does not match in its place.
        return f"(?>{'|'.join(map(re.escape, sorted(texts, key=len, reverse=True)))})"

    def _text_problem(self, value: str) -> str | None:
        if self.max_length is not None and len(value) > self.max_length:
            return f"expected at most {self.max_length} characters, got {len(value)}"
        if self.regex is not None and not self.regex.fullmatch(value):
            return f"expected text that matches {self.regex.pattern!r}, got {shown(value)}"
        return None

    def _text_pattern(self) -> str | None:
        if self.regex is not None:
            # The pattern matches only characters that need no escape.
            fits = self.max_length is None or self.regex_length <= self.max_length
            return self.regex.pattern if fits else None
        if self.max_length is None:
            return _ANY_TEXT
        # Texts with escapes are parsed, because an escape counts as one character.
        return f"{_PLAIN}{{0,{self.max_length}}}+" if self.max_length <= _MAX_REPEAT else None

    @property
    def may_have_escapes(self) -> bool:
        """Whether `pattern` matches texts with escapes."""
        return self.type == "string" and self.choices is None and self.regex is None and self.max_length is None

    def _number_problem(self, value: float) -> str | None:
        if self.minimum is not None and value < self.minimum:
            return f"expected at least {self.minimum}, got {value}"
        if self.maximum is not None and value > self.maximum:
            return f"expected at most {self.maximum}, got {value}"
        return None

    def _whole_pattern(self) -> str | None:
        if self.maximum is None or self.maximum >= _LARGEST:
            if self.minimum == 0:
                return _NATURAL
            if self.minimum is None or self.minimum <= -_LARGEST:
                return _WHOLE
        return None

    def _fraction_pattern(self) -> str | None:
        whole = self._whole_pattern()
        if whole is None or self.choices is not None:
            return None
        sign = "" if whole == _NATURAL else "-?+"
        # 14 digits and a fraction stay below the largest number of `_whole_pattern`.
        return rf"({sign}(?>0|[1-9][0-9]{{0,13}}+)(?:\.[0-9]++)?+)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One form of the records of a type.

    `rules` maps its fields to their rules, `required` names the fields that must be present, and `exactly_one` holds
    groups of fields of which exactly one is not null.
    """

    rules: Mapping[str, ValueRule]
    required: frozenset[str]
    exactly_one: tuple[tuple[str, ...], ...]

    def problem(self, record: Mapping[str, Json]) -> tuple[str, str] | None:
        """Return the first wrong field and its problem."""
        for name in sorted(self.required - record.keys()):
            return name, "expected this field, got none"
        for name, value in record.items():
            rule = self.rules.get(name)
            found = "expected no field of this name, got one" if rule is None else rule.problem(value)
            if found:
                return name, found
        for names in self.exactly_one:
            present = [name for name in names if record[name] is not None]
            if len(present) != 1:
                return ", ".join(names), f"expected exactly one that is not null, got {len(present)}"
        return None

    @property
    def constants(self) -> Mapping[str, Json]:
        """The fields with a single possible value, which distinguish shapes."""
        rules = self.rules.items()
        return {name: rule.choices[0] for name, rule in rules if rule.choices is not None and len(rule.choices) == 1}

    def fits_constants(self, record: Mapping[str, Json]) -> bool:
        """Return whether a record has the constants of this shape."""
        return all(name in record and _same(record[name], value) for name, value in self.constants.items())

    def line_patterns(self, columns: Sequence[str], budget: PatternBudget) -> list[LinePattern]:
        """Return patterns that recognise canonical lines of this shape.

        There is one for each choice of the fields that are not null, and none if a rule has no pattern.
        """
        variants: list[Mapping[str, ValueRule]] = [self.rules]
        for names in self.exactly_one:
            variants = [
                {**rules, **{name: _narrowed(rules[name], null=name != chosen) for name in names}}
                for rules in variants
                for chosen in names
            ]
        found = [self._line_pattern(rules, columns, budget) for rules in variants]
        return [each for each in found if each is not None]

    def _line_pattern(
        self, rules: Mapping[str, ValueRule], columns: Sequence[str], budget: PatternBudget
    ) -> LinePattern | None:
        fields: list[str] = []
        groups: list[str] = []
        # Names are in the order of their UTF-16 code units (RFC 8785, section 3.2.3).
        names = sorted(rules, key=lambda name: name.encode("utf-16-be"))
        first = next((number for number, name in enumerate(names) if name in self.required), None)
        if first is None:
            return None
        for position, name in enumerate(names):
            rule, captured = rules[name], name in columns
            value = rule.pattern(captured=captured)
            if value is None:
                return None
            if captured or rule.type == "number":
                groups.append(name)
            budget.take(len(name) + len(value))
            # The comma belongs to the optional field: it follows the field if no required field precedes it.
            field = f"{re.escape(canonical(name).decode())}:{value}"
            field = f"{field}," if position < first else f",{field}" if position > first else field
            fields.append(field if name in self.required else f"(?:{field})?+")
        absent = [name for name in columns if name not in rules]
        fields += [f"(?>|{_NEVER})" for _ in absent]
        groups += absent
        fractions = [number for number, name in enumerate(groups, start=1) if name not in columns]
        escaped = [index for index, name in enumerate(columns) if name in rules and rules[name].may_have_escapes]
        pattern = "".join([r"\{", *fields, r"\}"])
        return LinePattern(pattern, [groups.index(name) + 1 for name in columns], fractions, escaped)


def _narrowed(rule: ValueRule, *, null: bool) -> ValueRule:
    return ValueRule(type="null") if null else replace(rule, nullable=False)


def _same(left: Json, right: Json) -> bool:
    return type(left) is type(right) and left == right


def _has_type(value: Json, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, TYPES[name])
