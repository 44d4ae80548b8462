"""Conditions in the schema, and as databases return them."""

from __future__ import annotations

import pytest

from elspeth.core.landscape.database.shapes import normalize_condition

SAME = [
    (
        "status IN ('running', 'completed')",
        "((status)::text = ANY ((ARRAY['running'::character varying, 'completed'::character varying])::text[]))",
        "status in 'running' 'completed'",
    ),
    (
        "status IN ('running', 'completed', 'failed')",
        "status = 'running' OR status = 'completed' OR status = 'failed'",
        "status in 'running' 'completed' 'failed'",
    ),
    (
        "status = 'running' OR status = 'it''s done'",
        "(((status)::text = 'running'::text) OR ((status)::text = 'it''s done'::text))",
        "status in 'running' 'it''s done'",
    ),
    ("is_terminal IN (0, 1)", "(is_terminal = ANY (ARRAY[(0)::bigint, (1)::bigint]))", "is_terminal in 0 1"),
    ("kind IN ('only')", "((kind)::text = 'only'::text)", "kind = 'only'"),
    ("latency_ms >= 0", "(latency_ms >= (0)::double precision)", "latency_ms >= 0"),
    (
        "status <> 'open' OR a IS NULL",
        "(((status)::text <> 'open'::text) OR (a IS NULL))",
        "status <> 'open' or a is null",
    ),
    ("name != 'It''s :: IN (1)'", "((name)::text <> 'It''s :: IN (1)'::text)", "name <> 'It''s :: IN (1)'"),
]


@pytest.mark.parametrize(("written", "given_back", "words"), SAME)
def test_equivalent_definitions_have_the_same_text(written: str, given_back: str, words: str) -> None:
    assert (normalize_condition(written), normalize_condition(given_back)) == (words, words)


@pytest.mark.parametrize(
    "other",
    [
        "status IN ('running', 'done')",
        "status IN ('running')",
        "state IN ('running', 'completed')",
        "status = 1",
        "status = 'running' OR state = 'completed'",
        "status = 'running' OR status <> 'completed'",
    ],
)
def test_different_definitions_have_different_texts(other: str) -> None:
    assert normalize_condition(other) != normalize_condition("status IN ('running', 'completed')")
