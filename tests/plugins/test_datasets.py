"""The datasets that the built-in plugins name."""

from pathlib import Path

import pytest

from elspeth.contracts.plugins import Dataset, Sink, Source
from elspeth.plugins.csv import CsvSink, CsvSource
from elspeth.plugins.database_sink import DatabaseSink
from elspeth.plugins.databases import SqlSource
from elspeth.plugins.json import JsonlSink, JsonlSource, JsonSink, JsonSource
from elspeth.plugins.null import NullSink, NullSource
from elspeth.plugins.parquet import ParquetSink
from elspeth.plugins.parquet_source import ParquetSource

_POSTGRES = "postgresql+psycopg://me:secret@db.example/shop"


def _source(plugin: type[Source], **options: object) -> list[str]:
    source = plugin(plugin.options_model.model_validate(options))
    return [f"{each.namespace} {each.name}" for each in source.datasets()]


def _sink(plugin: type[Sink], **options: object) -> Dataset | None:
    return plugin(plugin.options_model.model_validate(options)).dataset()


@pytest.mark.parametrize("plugin", [CsvSource, JsonSource, JsonlSource, ParquetSource])
def test_sources_of_files_name_each_file_in_the_order_of_reading(plugin: type[Source], tmp_path: Path) -> None:
    for name in ("b.x", "a.x", "c.y"):
        (tmp_path / name).touch()
    paths = [str(tmp_path / "c.y"), str(tmp_path / "*.x")]
    assert _source(plugin, path=paths) == [f"file {tmp_path}/{name}" for name in ("c.y", "a.x", "b.x")]


@pytest.mark.parametrize("plugin", [CsvSource, JsonSource, JsonlSource])
def test_standard_input_has_no_name(plugin: type[Source]) -> None:
    assert _source(plugin, path="-") == []


@pytest.mark.parametrize("plugin", [CsvSink, JsonSink, JsonlSink, ParquetSink])
def test_sinks_of_files_name_the_file(plugin: type[Sink]) -> None:
    assert _sink(plugin, path="/data/orders.x") == Dataset(namespace="file", name="/data/orders.x")


def test_the_database_sink_names_the_table() -> None:
    expected = Dataset(namespace="postgres://db.example:5432", name="shop.public.orders")
    assert _sink(DatabaseSink, url=_POSTGRES, table="orders") == expected
    assert _sink(DatabaseSink, url="sqlite://", table="orders") is None


def test_the_null_plugins_name_no_datasets() -> None:
    assert _source(NullSource) == []
    assert _sink(NullSink) is None


@pytest.mark.parametrize(
    ("query", "tables"),
    [
        ("SELECT id, amount FROM orders ORDER BY id", ["orders"]),
        ("select *\nfrom sales.orders\nwhere kind = 'x'\norder by id;", ["sales.orders"]),
        ("SELECT count(*) FROM orders GROUP BY kind", ["orders"]),
        ("SELECT * FROM orders", ["orders"]),
        ("SELECT * FROM orders, items ORDER BY id", []),
        ("SELECT * FROM orders JOIN items ON true", []),
        ("SELECT * FROM orders o ORDER BY id", []),
        ("SELECT * FROM orders WHERE id IN (SELECT id FROM kept)", []),
        ("SELECT extract(year FROM day) FROM orders", []),
        ("SELECT 1 FROM orders UNION SELECT 2 FROM items", []),
        ("SELECT id -- FROM kept\nFROM orders ORDER BY id", []),
        ("WITH a AS (SELECT 1) SELECT * FROM a ORDER BY 1", []),
        ('SELECT * FROM "orders" ORDER BY id', []),
        ("SELECT 1 ORDER BY 1", []),
    ],
)
def test_a_plain_query_names_its_table(query: str, tables: list[str]) -> None:
    names = [each if "." in each else f"public.{each}" for each in tables]
    expected = [f"postgres://db.example:5432 shop.{name}" for name in names]
    assert _source(SqlSource, url=_POSTGRES, query=query) == expected


def test_options_name_the_tables_of_any_other_query() -> None:
    found = _source(SqlSource, url="sqlite:////data/shop.db", query="SELECT 1", tables=["orders", "items"])
    assert found == ["file /data/shop.db#orders", "file /data/shop.db#items"]


def test_the_tables_of_the_options_are_named_whatever_the_query_reads() -> None:
    found = _source(SqlSource, url="sqlite:////data/shop.db", query="SELECT * FROM a_view", tables=["orders"])
    assert found == ["file /data/shop.db#orders"]
