"""Fields are added from a table, whose content is recorded."""

import hashlib
from pathlib import Path

import pytest

from elspeth.contracts.plugins import PluginError, RowDrop, RowError
from elspeth.plugins.manager import PluginManager
from elspeth.plugins.transforms.lookup import LookupTransform
from tests.plugins.transforms.processing import problem_of

PLUGINS = PluginManager.installed()


def lookup(path: Path, text: str, **options: object) -> LookupTransform:
    """Return a lookup in a CSV file with this text."""
    path.write_text(text)
    schema = {"mode": "strict", "fields": ["code: str", "since: date", "rate: decimal(2)"]}
    made = PLUGINS.transform(
        "lookup",
        {
            "table": {"plugin": "csv", "options": {"path": str(path), "schema": schema}},
            "match": {"line.currency": "code"},
            "add": {"rate": "rate"},
            **options,
        },
    )
    assert isinstance(made, LookupTransform)
    return made


TABLE = "code,since,rate\nCHF,2026-01-01,1\nEUR,2026-01-01,0.95\n"


def test_a_row_gets_the_fields_of_the_table_row_with_its_key(tmp_path: Path) -> None:
    transform = lookup(tmp_path / "rates.csv", TABLE, add={"factor": "rate", "from": "since"})
    row = transform.process({"line": {"currency": "EUR"}})
    assert repr(row) == ("{'line': {'currency': 'EUR'}, 'factor': Decimal('0.95'), 'from': datetime.date(2026, 1, 1)}")


@pytest.mark.parametrize(
    ("on_missing", "result"),
    [
        ("error", RowError(message="the table has no row for it", details={"fields": ["line.currency"]})),
        ("drop", RowDrop(reason="the table has no row for it", details={"fields": ["line.currency"]})),
        ("keep", {"line": {"currency": "USD"}, "rate": None}),
    ],
)
def test_a_row_without_a_match_is_treated_as_the_settings_say(tmp_path: Path, on_missing: str, result: object) -> None:
    transform = lookup(tmp_path / "rates.csv", TABLE, on_missing=on_missing)
    assert transform.process({"line": {"currency": "USD"}}) == result


def test_a_number_is_not_the_text_of_its_digits(tmp_path: Path) -> None:
    transform = lookup(tmp_path / "rates.csv", "code,since,rate\n7,2026-01-01,1\n", on_missing="keep")
    assert transform.process({"line": {"currency": 7}}) == {"line": {"currency": 7}, "rate": None}


def test_several_fields_of_the_key_match_their_own_columns(tmp_path: Path) -> None:
    match = {"b": "code", "a": "since"}
    transform = lookup(tmp_path / "rates.csv", TABLE, match=match, on_missing="keep")
    row = transform.process({"a": "2026-01-01", "b": "CHF"})
    assert isinstance(row, dict)
    assert str(row["rate"]) == "1.00"


def test_a_key_must_not_occur_twice_even_with_the_same_values(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"^the table of the lookup has a key twice: row 2, counted from 0$"):
        lookup(tmp_path / "rates.csv", TABLE + "EUR,2026-01-01,0.95\n").prepare()


def test_a_row_that_lacks_its_key_or_has_the_field_fails(tmp_path: Path) -> None:
    transform = lookup(tmp_path / "rates.csv", TABLE)
    missing = RowError(message="field 'line.currency' is missing", details={"field": "line.currency"})
    assert transform.process({"line": {}}) == missing
    taken = RowError(message="field 'rate' exists already", details={"field": "rate"})
    assert transform.process({"line": {"currency": "CHF"}, "rate": 1}) == taken


def test_the_content_of_the_table_is_described_by_the_hash_of_its_canonical_lines(tmp_path: Path) -> None:
    transform = lookup(tmp_path / "rates.csv", TABLE)
    lines = b'{"code":"CHF","rate":"1.00","since":"2026-01-01"}\n{"code":"EUR","rate":"0.95","since":"2026-01-01"}\n'
    assert transform.prepare() == {"rows": 2, "sha256": hashlib.sha256(lines).hexdigest()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TABLE + "EUR,2026-02-01,1\n", "the table of the lookup has a key twice: row 2, counted from 0"),
        (
            TABLE + "USD,never,1\n",
            (
                "the table of the lookup has an invalid row: line 4: field 'since': "
                "expected a date such as 2026-03-01, got text of 5 characters"
            ),
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PluginError) as caught:
        lookup(tmp_path / "rates.csv", text).prepare()
    assert str(caught.value) == message


def test_a_table_has_a_limited_number_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transform = lookup(tmp_path / "rates.csv", TABLE)
    monkeypatch.setattr("elspeth.plugins.transforms.lookup._MAX_ROWS", 2)
    assert transform.prepare()["rows"] == 2
    monkeypatch.setattr("elspeth.plugins.transforms.lookup._MAX_ROWS", 1)
    with pytest.raises(PluginError, match="the table of the lookup has more than 1 rows"):
        transform.prepare()


def test_a_table_without_a_column_or_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="the table of the lookup has no column 'gone'"):
        lookup(tmp_path / "rates.csv", TABLE, add={"x": "gone"}).prepare()
    transform = lookup(tmp_path / "rates.csv", TABLE)
    (tmp_path / "rates.csv").unlink()
    with pytest.raises(PluginError, match=r"rates\.csv cannot be read: No such file or directory"):
        transform.check()


def test_impossible_options_are_refused() -> None:
    given: dict[str, object] = {"match": {"a": "b"}, "add": {"c": "d"}}
    assert problem_of("lookup", table={"plugin": "cvs"}, **given) == (
        "unknown source plugin 'cvs': expected one of csv, http, json, jsonl, null, parquet, sql"
    )
    assert problem_of("lookup", table={"plugin": "csv", "options": {"path": "-"}}, **given) == (
        "a table is read again when a run is resumed: expected a file, got standard input"
    )
    assert problem_of("lookup", table={"plugin": "csv"}, **given).startswith("options of 'csv': path: Field required")
