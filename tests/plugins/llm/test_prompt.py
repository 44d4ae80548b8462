"""Prompt templates: what they can express, and their limits."""

import pytest

from elspeth.contracts.rows import RowData
from elspeth.plugins.llm.prompt import MAX_PROMPT, Prompt, PromptError, TemplateError

ROW: RowData = {
    "name": "Ada <a@b>",
    "items": ["x", "y"],
    "score": 1.25,
    "none": None,
    "nested": {"keys": 3, "list": [1, {"k": "v"}]},
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Hello, {{ row.name }}!\n", "Hello, Ada <a@b>!\n"),
        ("{{ row['name'] }} {{ row.nested.list[1].k }} {{ row['items'][0] }}", "Ada <a@b> v x"),
        ("{{ row.items | join(', ') }} {{ row.nested.keys }} {{ row.items | length }}", "x, y 3 2"),
        ("{% for item in row.items %}{{ loop.index }}={{ item }};{% endfor %}", "1=x;2=y;"),
        ("{% for key in row %}{{ key }} {% endfor %}", "name items score none nested "),
        ("{% if row.score > 1 and 'x' in row.items %}yes{% else %}no{% endif %}", "yes"),
        ("{{ row.other | default(row.score) }} {{ row.other is defined }}", "1.25 False"),
        ("{{ 'none' if row.none is none else row.none }}", "none"),
        ("{{ row.nested | tojson }}", '{"keys": 3, "list": [1, {"k": "v"}]}'),
        ("{{ 'Zoë <a>' | tojson }}", '"Zoë <a>"'),
        ("{{ row.name | upper | truncate(6, true, '.', 0) }} {{ row.score | round(1) }}", "ADA <. 1.2"),
        ("{{ row.name | truncate(1000) }}", "Ada <a@b>"),
        ("{{ row.name[:3] ~ '-' ~ row.score }}{# aside #}{% raw %}{{ }}{% endraw %}", "Ada-1.25{{ }}"),
    ],
)
def test_a_template_makes_a_prompt_from_a_row(template: str, expected: str) -> None:
    assert Prompt(template).render(ROW) == expected


@pytest.mark.parametrize(
    ("template", "missing"),
    [
        ("{{ row.other }}", "'other'"),
        ("{{ row.name.upper }}", "'upper'"),
        ("{{ row.__class__ }}", "'__class__'"),
        ("{{ row.name['__class__'] }}", "'__class__'"),
        ("{{ row.nested.list[5] }}", "5"),
        ("{{ row.none.x }}", "'x'"),
        ("{{ row[row.name] }}", "item for text of 9 characters"),  # the content of the row is not repeated
        ("{{ row.other.x }}", "'other'"),
        ("{% for item in row.other %}{% endfor %}", "'other'"),
        ("{% if row.other %}{% endif %}", "'other'"),
    ],
)
def test_a_missing_item_is_an_error(template: str, missing: str) -> None:
    with pytest.raises(PromptError) as raised:
        Prompt(template).render(ROW)
    assert str(raised.value) == f"the prompt cannot be made: there is no {missing}"


FILTERS = (
    "is not allowed in a prompt: expected one of capitalize, count, d, default, first, float, int, join, last, length, "
    "lower, round, string, title, tojson, trim, truncate, upper"
)
LOOP = "{% for a in row.items %}"


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ row.name.upper() }}", "line 1 of the template: call is not allowed in a prompt"),
        ("\n{{ range(9) }}", "line 2 of the template: call is not allowed in a prompt"),
        ("{{ lipsum }}", "the template asks for 'lipsum': only row is known, as in {{ row.lipsum }}"),
        ("{{ self }}", "the template asks for 'self': only row is known, as in {{ row.self }}"),
        ("{{ loop.index }}", "the template asks for 'loop': only row is known, as in {{ row.loop }}"),
        ("{{ 'a' * 1000000000 }}", "line 1 of the template: mul is not allowed in a prompt"),
        ("{{ 10 ** 1000000000 }}", "line 1 of the template: pow is not allowed in a prompt"),
        ("{{ '%1000000000d' % 1 }}", "line 1 of the template: mod is not allowed in a prompt"),
        ("{{ row.items + row.items }}", "line 1 of the template: add is not allowed in a prompt"),
        ("{% set a = row.name %}{{ a }}", "line 1 of the template: assign is not allowed in a prompt"),
        (
            f"{LOOP}{LOOP}{{% endfor %}}{{% endfor %}}",
            "line 1 of the template: a loop in a loop is not allowed in a prompt",
        ),
        (
            f"{LOOP}{LOOP.replace('for', 'if 1 %}{% for')}{{% endfor %}}{{% endif %}}{{% endfor %}}",
            "line 1 of the template: a loop in a loop is not allowed in a prompt",
        ),
        (
            "{% for a in row.items recursive %}{{ loop(a) }}{% endfor %}",
            "line 1 of the template: call is not allowed in a prompt",
        ),
        ("{% macro a() %}{% endmacro %}", "line 1 of the template: macro is not allowed in a prompt"),
        ("{% include 'a' %}", "line 1 of the template: include is not allowed in a prompt"),
        ("{% import 'a' as b %}", "line 1 of the template: import is not allowed in a prompt"),
        ("{% extends 'a' %}", "line 1 of the template: extends is not allowed in a prompt"),
        ("{% block a %}{% endblock %}", "line 1 of the template: block is not allowed in a prompt"),
        ("{% filter upper %}a{% endfilter %}", "line 1 of the template: filterblock is not allowed in a prompt"),
        ("{{ row.name | center(1000000000) }}", f"line 1 of the template: the filter 'center' {FILTERS}"),
        (
            "{{ row.items | join(row.name) }}",
            "line 1 of the template: the filter 'join' takes small constants only in a prompt",
        ),
        (
            "{{ row.score | round(1000000000, 'ceil') }}",
            "line 1 of the template: the filter 'round' takes small constants only in a prompt",
        ),
        (
            "{{ row.score | round(-1001) }}",
            "line 1 of the template: the filter 'round' takes small constants only in a prompt",
        ),
        (
            "{{ row.name | truncate(length=1001) }}",
            "line 1 of the template: the filter 'truncate' takes small constants only in a prompt",
        ),
        (
            "{{ row.items | join(d=row.name) }}",
            "line 1 of the template: the filter 'join' takes small constants only in a prompt",
        ),
        (
            "{{ row.items | join(*row.items) }}",
            "line 1 of the template: the filter 'join' takes small constants only in a prompt",
        ),
        (
            "{{ row.items | join(**row.nested) }}",
            "line 1 of the template: the filter 'join' takes small constants only in a prompt",
        ),
        ("{{ row | tojson(1000) }}", "line 1 of the template: the filter 'tojson' takes no arguments in a prompt"),
        ("{{ row | nofilter }}", f"line 1 of the template: the filter 'nofilter' {FILTERS}"),
        ("{{ row is notest }}", "line 1 of the template: No test named 'notest'."),
        ("{% if %}", "line 1 of the template: Expected an expression, got 'end of statement block'"),
        ("{{ " + "(" * 5000 + ")" * 5000 + " }}", "the template is nested too deeply"),
        ("{% if row %}" * 200 + "{% endif %}" * 200, "the template is nested too deeply"),
    ],
)
def test_a_template_that_could_do_harm_is_refused(template: str, problem: str) -> None:
    with pytest.raises(TemplateError) as raised:
        Prompt(template)
    assert str(raised.value) == problem


def test_a_prompt_has_a_bounded_length() -> None:
    prompt = Prompt("{% for item in row.items %}{{ row.text }}{% endfor %}")
    text, count = "x" * 1000, MAX_PROMPT // 1000
    assert len(prompt.render({"text": text, "items": [0] * count})) == MAX_PROMPT
    with pytest.raises(PromptError) as raised:
        prompt.render({"text": text, "items": [0] * 10**6})
    assert str(raised.value) == "the prompt is longer than 1000000 characters"
