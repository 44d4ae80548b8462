"""Regular expressions that recognise a canonical line of a given shape, many times faster than parsing it would.

A pattern accepts only lines that are canonical JSON and keep every rule of their shape. It need not accept all of them:
what it does not match is parsed and checked field by field, which also tells what is wrong. Where a shape cannot be
expressed there is no pattern, and all its lines are parsed.

There is one way only in which a pattern can match: every choice is final, and nothing is ever tried again. So the time
that a line takes grows with its length and no faster, whatever the schema of a bag says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

import orjson

from elspeth.evidence.format.canonical import canonical
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.limits import MAX_PATTERNS
from elspeth.evidence.verifier.record_schema import Shape, ValueRule

__all__ = ["FastLines", "PatternBudget", "fast_lines"]

_compiled = re.compile

FastLines = Callable[[Sequence[str]], "list[Sequence[str | None] | None]"]
"""Lines to the values of the columns asked for, as text or None for null; None for a line to be looked at closely."""

_PLAIN = r"[^\"\\\x00-\x1f]"
"""A character that stands for itself in a JSON text. Lone surrogates cannot occur in a line that was UTF-8."""

_ANY_TEXT = rf"(?>{_PLAIN}++|\\(?>[\"\\bfnrt]|u00(?>0[0-7bef]|1[0-9a-f])))*+"
"""A text of any length. RFC 8785, section 3.2.2.2: these escapes and no others."""

_DIGITS = "[1-9][0-9]{0,14}+"
"""Whole numbers that stay below 2^53; larger ones are looked at closely."""

_NATURAL = f"(?>0|{_DIGITS})"
_WHOLE = f"(?>0|-?+{_DIGITS})"

_LARGEST = 10**15 - 1
_LONGEST = 2**16
"""The largest bound that a repetition in a pattern gets."""

_NEVER = "((?!))"
"""A group that takes part in no match."""


class PatternBudget:
    """How many characters all patterns may have: a schema that refers to one long list everywhere asks for more."""

    def __init__(self, place: str, limit: int = MAX_PATTERNS) -> None:
        self._place = place
        self._limit = self._left = limit

    def take(self, characters: int) -> None:
        """Take from it; EvidenceError if so much is not left."""
        self._left -= characters
        if self._left < 0:
            raise EvidenceError(
                self._place, f"expected shapes with patterns of at most {self._limit:,} characters, got more"
            )


def fast_lines(shape: Shape, columns: Sequence[str], budget: PatternBudget) -> list[FastLines]:
    """Return what recognises the lines of a shape, one function for each choice of which field is not null."""
    variants: list[Mapping[str, ValueRule]] = [shape.rules]
    for names in shape.exactly_one:
        variants = [
            {**rules, **{name: _narrowed(rules[name], null=name != chosen) for name in names}}
            for rules in variants
            for chosen in names
        ]
    found = [_fast_line(rules, shape.required, columns, budget) for rules in variants]
    return [each for each in found if each is not None]


def _fast_line(
    rules: Mapping[str, ValueRule], required: AbstractSet[str], columns: Sequence[str], budget: PatternBudget
) -> FastLines | None:
    fields: list[str] = []
    groups: list[str] = []
    # RFC 8785, section 3.2.3: names are in the order of their UTF-16 code units.
    names = sorted(rules, key=lambda name: name.encode("utf-16-be"))
    first = next((number for number, name in enumerate(names) if name in required), None)
    if first is None:
        return None
    for position, name in enumerate(names):
        rule = rules[name]
        if rule.type == "number" and name not in columns:
            value = _number(rule)
            groups.append(name)
        else:
            value = _value(rule, captured=name in columns)
            groups += [name] if name in columns else []
        if value is None:
            return None
        budget.take(len(name) + len(value))
        # The comma belongs to a field that may be absent: it stands before it, or after it where nothing else precedes.
        field = f"{re.escape(canonical(name).decode())}:{value}"
        field = f"{field}," if position < first else f",{field}" if position > first else field
        fields.append(field if name in required else f"(?:{field})?+")
    absent = [name for name in columns if name not in rules]
    fields += [f"(?>|{_NEVER})" for _ in absent]
    groups += absent
    numbers = [number for number, name in enumerate(groups, start=1) if name not in columns]
    escaped = [at for at, name in enumerate(columns) if name in rules and _may_be_escaped(rules[name])]
    pattern = "".join([r"\{", *fields, r"\}"])
    return _matcher(pattern, [groups.index(name) + 1 for name in columns], numbers, escaped)


def _matcher(pattern: str, picked: Sequence[int], numbers: Sequence[int], escaped: Sequence[int]) -> FastLines:
    match = _compiled(pattern).fullmatch

    def fast(lines: Sequence[str]) -> list[Sequence[str | None] | None]:
        found = list(map(match, lines))
        for number in numbers:
            found = [each if each is not None and _is_shortest(each[number]) else None for each in found]
        values: list[Sequence[str | None] | None]
        if len(picked) > 1:
            values = [each and each.group(*picked) for each in found]
        else:
            values = [each and tuple(each[group] for group in picked) for each in found]
        return [each and _plain(each, escaped) for each in values] if escaped else values

    return fast


def _plain(values: Sequence[str | None], escaped: Sequence[int]) -> Sequence[str | None]:
    """Return the values of a line, those at some places without their escapes."""
    if not any("\\" in (values[at] or "") for at in escaped):
        return values
    changed = list(values)
    for at in escaped:
        if values[at] is not None:
            changed[at] = orjson.loads(f'"{values[at]}"')
    return changed


def _may_be_escaped(rule: ValueRule) -> bool:
    return rule.type == "string" and rule.choices is None and rule.pattern is None and rule.max_length is None


def _is_shortest(text: str | None) -> bool:
    """Whether these are the digits that RFC 8785, section 3.2.2.3, writes for the number.

    Where Python and ECMAScript differ, Python writes an exponent or `.0`, and the text has neither.
    """
    if text is None or "." not in text:
        return text != "-0"
    return repr(float(text)) == text and not text.endswith(".0")


def _value(rule: ValueRule, *, captured: bool) -> str | None:
    """What matches the values that the rule allows, None if nothing does; one group, around a value without quotes."""
    if rule.type == "null":
        return f"(?>null|{_NEVER})" if captured else "null"
    value = _not_null(rule)
    if value is None:
        return None
    is_text, content = value
    content = f"({content})" if captured else content
    content = f'"{content}"' if is_text else content
    return f"(?>null|{content})" if rule.nullable else content


def _not_null(rule: ValueRule) -> tuple[bool, str] | None:
    """Whether the value is a text, and what matches it without its quotes."""
    if rule.choices is not None:
        texts = [each for each in rule.choices if isinstance(each, str) and rule.problem(each) is None]
        exact = len(texts) == len(rule.choices) and all(canonical(text) == f'"{text}"'.encode() for text in texts)
        return (True, f"(?>{_longest_first(texts)})") if exact else None
    if rule.type == "boolean":
        return False, "(?>true|false)"
    if rule.type == "integer":
        whole = _whole(rule)
        return None if whole is None else (False, whole)
    if rule.type == "string":
        return _text(rule)
    return None


def _text(rule: ValueRule) -> tuple[bool, str] | None:
    if rule.pattern is not None:
        # Its matches are plain characters.
        fits = rule.max_length is None or rule.pattern_length <= rule.max_length
        return (True, rule.pattern.pattern) if fits else None
    if rule.max_length is None:
        return True, _ANY_TEXT
    # Escapes are left out here: each stands for one character, however long it is.
    return (True, f"{_PLAIN}{{0,{rule.max_length}}}+") if rule.max_length <= _LONGEST else None


def _longest_first(texts: Sequence[str]) -> str:
    """Return the choices so that none is taken for a longer one that begins with it."""
    return "|".join(map(re.escape, sorted(texts, key=len, reverse=True)))


def _whole(rule: ValueRule) -> str | None:
    if rule.maximum is None or rule.maximum >= _LARGEST:
        if rule.minimum == 0:
            return _NATURAL
        if rule.minimum is None or rule.minimum <= -_LARGEST:
            return _WHOLE
    return None


def _number(rule: ValueRule) -> str | None:
    """What matches numbers, in a group, whatever their digits."""
    whole = _whole(rule)
    if whole is None or rule.choices is not None:
        return None
    sign = "" if whole == _NATURAL else "-?+"
    # Fifteen digits and a fraction stay below the largest that `_whole` stands for, but for the fraction itself.
    value = rf"({sign}(?>0|[1-9][0-9]{{0,13}}+)(?:\.[0-9]++)?+)"
    return f"(?>null|{value})" if rule.nullable else value


def _narrowed(rule: ValueRule, *, null: bool) -> ValueRule:
    return ValueRule(type="null") if null else replace(rule, nullable=False)
