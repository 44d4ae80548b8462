"""The schema's annotations, and their table in the guide."""

import re
from pathlib import Path

import pytest

from codegen.vocabulary import TERMS, Target, check_annotations

SCHEMA_GUIDE = Path(__file__).parents[2] / "docs" / "schema.md"

MISPLACED = [(name, target) for name in TERMS for target in Target if target not in TERMS[name].targets]


def test_the_guide_lists_every_term() -> None:
    row = re.compile(r"^\| `(\w+)` \| ([\w, ]+) \| (.+) \|$", re.MULTILINE)
    documented = row.findall(SCHEMA_GUIDE.read_text())
    assert documented == [(name, ", ".join(sorted(term.targets)), term.meaning) for name, term in TERMS.items()]


@pytest.mark.parametrize(("name", "target"), MISPLACED)
def test_a_term_is_refused_where_it_has_no_meaning(name: str, target: Target) -> None:
    places = " and ".join(sorted(TERMS[name].targets))
    assert check_annotations({name: "x"}, target) == [f"annotation {name!r} is for {places}, not for {target}"]


def test_every_problem_of_an_element_is_reported() -> None:
    annotations = {"since": 0, "final": True, "stoarge": "text", "max_length": None, "storage": {"value": ["text"]}}
    assert check_annotations(annotations, Target.TYPE) == [
        "annotation 'since' is for classes and slots, not for types",
        "annotation 'final' is for enum values, not for types",
        "unknown annotation 'stoarge'; did you mean 'storage'?",
        "annotation 'max_length': expected a whole number above 0, got None",
        "annotation 'storage': value: expected text or json or integer or real or boolean or timestamp, got ['text']",
    ]


def test_a_value_may_stand_alone_or_below_value() -> None:
    assert check_annotations({"since": 2}, Target.SLOT) == []
    assert check_annotations({"since": {"value": 2}}, Target.SLOT) == []


def test_annotations_are_a_mapping() -> None:
    assert check_annotations(["since"], Target.SLOT) == ["annotations: expected a mapping by name, got ['since']"]
