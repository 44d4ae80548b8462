"""The plugins that come with elspeth keep the contracts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from codegen.reference.pages import EXAMPLES
from elspeth.contracts.plugins import JsonObject
from elspeth.contracts.rows import RowData
from elspeth.plugins.aggregations import BatchReplicateAggregation, BatchStatsAggregation
from elspeth.plugins.csv import CsvSink, CsvSource
from elspeth.plugins.database_sink import DatabaseSink
from elspeth.plugins.databases import SqlSource
from elspeth.plugins.http.source import HttpSource
from elspeth.plugins.http.transform import HttpTransform
from elspeth.plugins.json import JsonlSink, JsonlSource, JsonSink, JsonSource
from elspeth.plugins.llm.transform import LlmTransform
from elspeth.plugins.manager import BUILTIN, PluginManager
from elspeth.plugins.null import NullSink, NullSource
from elspeth.plugins.parquet import ParquetSink
from elspeth.plugins.parquet_source import ParquetSource
from elspeth.plugins.python_functions import PythonAggregation, PythonTransform
from elspeth.plugins.transforms.cast import CastTransform
from elspeth.plugins.transforms.choice import DropTransform, RenameTransform, SelectTransform
from elspeth.plugins.transforms.dedupe import DedupeTransform
from elspeth.plugins.transforms.expressions import FilterTransform, ValueTransform
from elspeth.plugins.transforms.field_mapper import FieldMapperTransform, PassthroughTransform
from elspeth.plugins.transforms.json_explode import JsonExplodeTransform
from elspeth.plugins.transforms.keyword_filter import KeywordFilterTransform
from elspeth.plugins.transforms.lookup import LookupTransform
from elspeth.plugins.transforms.shape import FlattenTransform, TruncateTransform
from elspeth.testing import (
    AggregationContract,
    CallingTransformContract,
    DistinctTransformContract,
    PluginContract,
    SinkContract,
    SourceContract,
    TransformContract,
)
from tests.fixtures.llm_server import answers, llm_server

ROWS: tuple[RowData, ...] = ({"id": 1, "name": "Zoë Miller"}, {"id": 2, "name": "Ada King"})
SCHEMA = {"mode": "strict", "fields": ["id: int", "name: str"]}
MISFIT: RowData = {"id": "7777 x", "name": "Eve Stone"}


# -- sources ---------------------------------------------------------------------------------------------------------


class FileSourceContract(SourceContract):
    """A source that reads one file."""

    rows = ROWS
    invalid_rows = 1
    content = b""

    def options(self, directory: Path) -> Mapping[str, object]:
        (directory / "in").write_bytes(self.content)
        return {"path": str(directory / "in"), "schema": SCHEMA}

    def missing(self, directory: Path) -> Mapping[str, object]:
        return {"path": str(directory / "missing")}


class TestCsvSource(FileSourceContract):
    plugin = CsvSource
    content = "id,name\n1,Zoë Miller\n2,Ada King\n7777 x,Eve Stone\n".encode()


class TestJsonSource(FileSourceContract):
    plugin = JsonSource
    content = b'[{"id": 1, "name": "Zo\\u00eb Miller"}, {"id": 2, "name": "Ada King"}, {"id": "7777 x"}]'


class TestJsonlSource(FileSourceContract):
    plugin = JsonlSource
    content = b'{"id": 1, "name": "Zo\\u00eb Miller"}\n{"id": 2, "name": "Ada King"}\n{"id": 7777'


class TestParquetSource(FileSourceContract):
    plugin = ParquetSource

    def options(self, directory: Path) -> Mapping[str, object]:
        ids, names = [1, 2, None], ["Zoë Miller", "Ada King", "Eve Stone"]
        parquet.write_table(pa.table({"id": ids, "name": names}), directory / "in")
        return {"path": str(directory / "in"), "schema": SCHEMA}


class TestSqlSource(SourceContract):
    plugin = SqlSource
    rows = ROWS
    invalid_rows = 1

    def options(self, directory: Path) -> Mapping[str, object]:
        with closing(sqlite3.connect(directory / "in.db")) as connection, connection:
            connection.execute("create table if not exists t as select 1 id, 'Zoë Miller' name")
            connection.execute("delete from t where id > 1")
            connection.execute("insert into t values (2, 'Ada King'), ('7777 x', 'Eve Stone')")
        url = f"sqlite:///{directory / 'in.db'}"
        return {"url": url, "query": "select id, name from t order by rowid", "schema": SCHEMA}

    def missing(self, directory: Path) -> Mapping[str, object]:
        return {"url": f"sqlite:///{directory / 'missing.db'}", "query": "select 1"}


class TestHttpSource(SourceContract):
    plugin = HttpSource
    rows = ROWS
    invalid_rows = 1

    @pytest.fixture(autouse=True)
    def _server(self) -> Iterator[None]:
        with llm_server(*[answers(200, TestJsonSource.content)] * 3) as server:
            self.url = server.url
            yield

    def options(self, directory: Path) -> Mapping[str, object]:  # noqa: ARG002
        return {"url": self.url, "allowed_networks": ["127.0.0.0/8"], "schema": SCHEMA}


class TestNullSource(SourceContract):
    plugin = NullSource
    rows = ()


# -- transforms ------------------------------------------------------------------------------------------------------


class TestFieldMapper(TransformContract):
    plugin = FieldMapperTransform
    rows = ROWS
    refused = (
        {"name": "Eve Stone"},
        {"id": "7777 x", "name": "Eve Stone"},
        {"id": 7777, "name": "Eve", "label": "Row"},
    )

    def options(self, directory: Path) -> Mapping[str, object]:  # noqa: ARG002
        return {"mappings": {"name": "label"}, "computed": {"next": "row['id'] + 1"}}


FUNCTIONS = {"directory": str(EXAMPLES / "functions"), "deterministic": True}


class TestPython(TransformContract):
    plugin = PythonTransform
    rows = ({"name": "zoë miller"}, {"name": "test"})

    def options(self, directory: Path) -> Mapping[str, object]:  # noqa: ARG002
        return {"function": "orders:clean", **FUNCTIONS}


class TestPythonOfFields(TransformContract):
    plugin = PythonTransform
    rows = ({"amount": Decimal("100.00")}, {"amount": Decimal("1.00"), "rate": Decimal("0.07")})
    refused = ({"amount": "7777 x"}, {"rate": Decimal("0.0707")})

    def options(self, directory: Path) -> Mapping[str, object]:  # noqa: ARG002
        return {"function": "orders:with_tax", "result": "total", **FUNCTIONS}


class TestPythonAggregation(AggregationContract):
    plugin = PythonAggregation
    batches = (ROWS, ROWS[:1])

    def options(self, directory: Path) -> Mapping[str, object]:  # noqa: ARG002
        return {"function": "orders:summary", **FUNCTIONS}


class TestJsonExplode(TransformContract):
    plugin = JsonExplodeTransform
    rows = ({"id": 1, "items": [{"a": 1}, "b", None]}, {"id": 2, "items": "[1, 2]"})
    refused = ({"id": 1}, {"items": "{broken"}, {"items": 7777}, {"items": []}, {"items": [1], "item": "taken"})

    def options(self, directory: Path) -> Mapping[str, object]:  # noqa: ARG002
        return {"array_field": "items"}


class TestKeywordFilter(TransformContract):
    plugin = KeywordFilterTransform
    rows = ({"text": "harmless"}, {"text": None}, {"other": "secret"})
    refused = ({"text": "it is a secret number 7777"},)

    def options(self, directory: Path) -> Mapping[str, object]:  # noqa: ARG002
        return {"fields": ["text"], "blocked_patterns": ["secret"]}


class StepContract(TransformContract):
    """A transform whose options do not depend on the directory."""

    given: Mapping[str, object]
    rows = ROWS

    def options(self, directory: Path) -> Mapping[str, object]:  # noqa: ARG002
        return self.given


class TestCast(StepContract):
    plugin = CastTransform
    given = {"fields": {"id": "decimal(1)", "name": "str"}}  # noqa: RUF012
    refused = (MISFIT, {"id": 7777.77, "name": None}, {"name": "Eve Stone"})


class TestSelect(StepContract):
    plugin = SelectTransform
    given = {"fields": ["name"]}  # noqa: RUF012
    refused = ({"id": 7777},)


class TestDrop(StepContract):
    plugin = DropTransform
    given = {"fields": ["name"]}  # noqa: RUF012
    refused = ({"id": 7777},)


class TestRename(StepContract):
    plugin = RenameTransform
    given = {"fields": {"name": "label"}}  # noqa: RUF012
    refused = ({"id": 7777}, {"name": "Eve Stone", "label": "7777"})


class TestFilter(StepContract):
    plugin = FilterTransform
    given = {"condition": "row['id'] > 1"}  # noqa: RUF012
    refused = (MISFIT, {"name": "Eve Stone"})


class TestValueTransform(StepContract):
    plugin = ValueTransform
    given = {"fields": {"next": "row['id'] + 1", "shown": "upper(row['name'])"}}  # noqa: RUF012
    refused = (MISFIT, {"id": 7777, "name": ["Eve Stone"]})


class TestDedupe(DistinctTransformContract):
    plugin = DedupeTransform
    rows = ROWS
    repeated = ({"id": 7777, "name": "Zoë Miller"},)
    refused = ({"id": 7777},)

    def options(self, directory: Path) -> Mapping[str, object]:  # noqa: ARG002
        return {"key": ["name"]}


class TestDedupeByAllFields(DistinctTransformContract):
    plugin = DedupeTransform
    rows = (*ROWS, {"id": 7777, "name": "Zoë Miller"})
    repeated = ({"name": "Zoë Miller", "id": 1},)


class TestFlatten(StepContract):
    plugin = FlattenTransform
    given: Mapping[str, object] = {}
    refused = ({"a": {"b": "Eve Stone"}, "a.b": 7777},)


class TestTruncate(StepContract):
    plugin = TruncateTransform
    given = {"fields": {"name": 5}}  # noqa: RUF012
    refused = ({"name": 7777}, {"id": 7777})


class TestLookup(StepContract):
    plugin = LookupTransform
    refused = (MISFIT, {"id": 1, "label": "Eve Stone"}, {"name": "Eve Stone"})

    def options(self, directory: Path) -> Mapping[str, object]:
        (directory / "table.csv").write_text("id,label\n1,one\n2,two\n")
        schema = {"mode": "strict", "fields": ["id: int", "label: str"]}
        table = {"plugin": "csv", "options": {"path": str(directory / "table.csv"), "schema": schema}}
        return {"table": table, "match": {"id": "id"}, "add": {"label": "label"}}


class TestPassthrough(TransformContract):
    plugin = PassthroughTransform
    rows = ROWS


class TestHttp(CallingTransformContract):
    plugin = HttpTransform
    rows = ROWS
    refused = ({"id": 1}, {"name": ["Eve Stone"], "score": 7777})

    def options(self, directory: Path) -> Mapping[str, object]:  # noqa: ARG002
        return {"url": "https://api.example.com/{name}", "fields": {"total": "body.total"}}

    def answer(self, request: JsonObject) -> JsonObject:  # noqa: ARG002
        return {"status": 200, "headers": {}, "body": {"total": 7}}


class TestLlm(CallingTransformContract):
    plugin = LlmTransform
    rows = ROWS
    refused = ({"id": 1}, {"name": "Eve Stone", "score": 7777})

    def options(self, directory: Path) -> Mapping[str, object]:  # noqa: ARG002
        fields = ["score: int"]
        return {"base_url": "http://127.0.0.1:1", "model": "m", "prompt": "{{ row.name }}", "response_schema": fields}

    def answer(self, request: JsonObject) -> JsonObject:  # noqa: ARG002
        return {"status": 200, "headers": {}, "body": {"choices": [{"message": {"content": '{"score": 3}'}}]}}


# -- aggregations ----------------------------------------------------------------------------------------------------


class TestBatchStats(AggregationContract):
    plugin = BatchStatsAggregation
    batches = ([{"id": 1}], [{"id": 1, "of": "a"}, {"id": 2.5, "of": "b"}, {"id": 3, "of": "a"}])
    refused = ([{"id": 1}, {"id": "7777 x"}], [{}])

    def options(self, directory: Path) -> Mapping[str, object]:  # noqa: ARG002
        return {"value_field": "id", "group_by": "of"}


class TestBatchReplicate(AggregationContract):
    plugin = BatchReplicateAggregation
    batches = ([{"id": 1}], [{"id": 1, "copies": 0}, {"id": 2, "copies": 3}])
    refused = ([{"copies": "many more"}], [{"copies": 77777}])


# -- sinks -----------------------------------------------------------------------------------------------------------


class FileSinkContract(SinkContract):
    """A sink that writes one file."""

    rows = ROWS
    rejected = (MISFIT, {"id": 1}, {**ROWS[0], "more": "than the schema"})

    def options(self, directory: Path) -> Mapping[str, object]:
        return {"path": str(directory / "out"), "schema": SCHEMA}


class TestCsvSink(FileSinkContract):
    plugin = CsvSink


class TestJsonSink(FileSinkContract):
    plugin = JsonSink


class TestJsonlSink(FileSinkContract):
    plugin = JsonlSink


class TestParquetSink(FileSinkContract):
    plugin = ParquetSink


class TestDatabaseSink(SinkContract):
    plugin = DatabaseSink
    rows = ROWS
    rejected = (MISFIT, {"id": 1})

    def options(self, directory: Path) -> Mapping[str, object]:
        (directory / "out.db").touch()
        url = f"sqlite:///{directory / 'out.db'}"
        return {"url": url, "table": "t", "schema": SCHEMA, "staging_directory": str(directory / "staging")}

    def published(self, directory: Path) -> object:
        with closing(sqlite3.connect(directory / "out.db")) as connection:
            if not connection.execute("select 1 from sqlite_master where name = 't'").fetchall():
                return None
            return connection.execute("select * from t order by id").fetchall() or None


class TestNullSink(SinkContract):
    plugin = NullSink
    rows = ROWS

    def published(self, directory: Path) -> object:  # noqa: ARG002
        return None


def test_every_builtin_plugin_has_a_contract_test() -> None:
    contracts = [each for each in globals().values() if isinstance(each, type) and issubclass(each, PluginContract)]
    tried = {contract.plugin for contract in contracts if contract.__name__.startswith("Test")}
    assert set(PluginManager((), BUILTIN).all()) - tried == set()
