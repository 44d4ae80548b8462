"""Prompts, which are restricted Jinja2 templates over a row.

The restrictions limit the time and memory that a template takes. Only this module imports Jinja2 (extra `llm`).
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator
from itertools import chain

import jinja2
from jinja2 import meta, nodes
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from elspeth.contracts.errors import RecordableError, describe_kind, short_repr
from elspeth.contracts.rows import RowData
from elspeth.contracts.values import plain_row

__all__ = ["MAX_PROMPT", "Prompt", "PromptError", "TemplateError"]

MAX_PROMPT = 1_000_000  # characters; about the context of the largest models
_MAX_NUMBER, _MAX_TEXT = 1_000, 1_000  # in arguments of filters, some of which repeat text

_ALLOWED = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For),
    *(nodes.Name, nodes.Const, nodes.List, nodes.Tuple, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Neg),
    *(nodes.Filter, nodes.Keyword, nodes.Test, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.Concat),
    *(nodes.And, nodes.Or, nodes.Not),
)
_FILTERS = frozenset(
    {"capitalize", "count", "first", "float", "int", "last", "length", "lower", "string", "title", "tojson", "upper"}
)
_FILTERS_WITH_CONSTANTS = frozenset({"join", "round", "trim", "truncate"})
_FILTERS_WITH_EXPRESSIONS = frozenset({"d", "default"})


class TemplateError(ValueError):
    """A template that cannot be used."""


class PromptError(RecordableError, ValueError):
    """A template cannot make a prompt for a row."""


class Prompt:
    """A compiled template, in which `row` is the row.

    In addition to text, it may hold values, conditions, some filters, and loops that are not nested. Calls, arithmetic,
    macros and assignments are not allowed, so that the sizes of template and row limit the work. Raises TemplateError
    for a template that cannot be used.
    """

    def __init__(self, source: str) -> None:
        environment = _Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True)
        environment.globals.clear()
        environment.filters["tojson"] = _render_json
        try:
            tree = environment.parse(source)
            _check_template(tree)
            environment.constants = frozenset(_find_constants(tree))
            self._template = environment.from_string(tree)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(f"line {error.lineno} of the template: {error.message}") from error
        except (RecursionError, SyntaxError, MemoryError) as error:
            raise TemplateError("the template is nested too deeply") from error

    def render(self, row: RowData) -> str:
        """Return the prompt for a row.

        Raises PromptError if the row lacks a value that the template needs, or makes the prompt too long.
        """
        pieces, length = [], 0
        try:
            for piece in self._template.generate(row=plain_row(row)):
                length += len(piece)
                if length > MAX_PROMPT:
                    raise PromptError(f"the prompt is longer than {MAX_PROMPT} characters")
                pieces.append(piece)
        except jinja2.TemplateError as error:
            raise PromptError(f"the prompt cannot be made: {error.message}") from error
        return "".join(pieces)


class _Environment(ImmutableSandboxedEnvironment):
    """A sandbox without access to attributes of Python's types.

    Names and keys select only items of values, so that a field may be called `items`. `constants` are the names and
    keys in the template. Others come from the row, and messages do not repeat them.
    """

    constants: frozenset[object] = frozenset()

    def getattr(self, obj: object, attribute: str) -> object:
        """Return an item of a value, or a loop's attribute."""
        return super().getattr(obj, attribute) if isinstance(obj, LoopContext) else self.getitem(obj, attribute)

    def getitem(self, obj: object, argument: object) -> object:
        """Return the item at a key or index."""
        try:
            return operator.getitem(obj, argument)  # type: ignore[call-overload]  # TypeError for values without items
        except (TypeError, LookupError):
            known = isinstance(argument, str | int) and argument in self.constants
            item = short_repr(argument) if known else f"item for {describe_kind(argument)}"
            return self.undefined(f"there is no {item}")


def _find_constants(tree: nodes.Template) -> Iterator[object]:
    yield from (node.value for node in tree.find_all(nodes.Const))
    yield from (node.attr for node in tree.find_all(nodes.Getattr))


def _render_json(value: object) -> str:
    """Return a value as JSON, without Jinja2's escapes for HTML."""
    return json.dumps(value, ensure_ascii=False)


def _check_template(tree: nodes.Template) -> None:
    """Raise TemplateError for a construct that is not allowed."""
    for node in _walk(tree):
        if not isinstance(node, _ALLOWED):
            raise _error(node, f"{type(node).__name__.lower()} is not allowed in a prompt")
        if isinstance(node, nodes.For):
            inner = next(node.find_all(nodes.For), None)
            if inner is not None:
                raise _error(inner, "a loop in a loop is not allowed in a prompt")
        if isinstance(node, nodes.Filter):
            _check_filter(node)
    names = {name.name for name in tree.find_all(nodes.Name)}
    unknown = sorted(meta.find_undeclared_variables(tree) - {"row"} | names & {"self"})  # Jinja2 declares self
    if unknown:
        raise TemplateError(
            f"the template asks for {unknown[0]!r}: only row is known, as in {{{{ row.{unknown[0]} }}}}"
        )


def _walk(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    yield from chain.from_iterable(_walk(child) for child in node.iter_child_nodes())


def _check_filter(node: nodes.Filter) -> None:
    if node.name in _FILTERS_WITH_EXPRESSIONS:
        return
    arguments = [*node.args, *(keyword.value for keyword in node.kwargs), node.dyn_args, node.dyn_kwargs]
    given = [argument for argument in arguments if argument is not None]
    if node.name in _FILTERS_WITH_CONSTANTS:
        if not all(isinstance(argument, nodes.Const) and _is_small(argument.value) for argument in given):
            raise _error(node, f"the filter {node.name!r} takes small constants only in a prompt")
    elif node.name not in _FILTERS:
        known = sorted(_FILTERS | _FILTERS_WITH_CONSTANTS | _FILTERS_WITH_EXPRESSIONS)
        raise _error(node, f"the filter {node.name!r} is not allowed in a prompt: expected one of {', '.join(known)}")
    elif given:
        raise _error(node, f"the filter {node.name!r} takes no arguments in a prompt")


def _is_small(value: object) -> bool:
    match value:
        case str():
            return len(value) <= _MAX_TEXT
        case int():
            return abs(value) <= _MAX_NUMBER
        case _:
            return value is None


def _error(node: nodes.Node, problem: str) -> TemplateError:
    return TemplateError(f"line {node.lineno} of the template: {problem}")
