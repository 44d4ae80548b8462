"""Names of datasets, by the examples of OpenLineage's naming rules."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from elspeth.contracts.plugins import Dataset, file_dataset, table_dataset


@pytest.mark.parametrize(
    ("path", "namespace", "name"),
    [
        ("/data/orders.csv", "file", "/data/orders.csv"),
        ("/data/../data/./orders.csv", "file", "/data/orders.csv"),
        ("file:///data/orders.csv", "file", "/data/orders.csv"),
        ("s3://bucket/in/orders.csv", "s3://bucket", "in/orders.csv"),
        ("s3a://bucket/in/orders.csv?versionId=7", "s3://bucket", "in/orders.csv"),
        ("gcs://bucket/orders.csv", "gs://bucket", "orders.csv"),
        ("gs://bucket", "gs://bucket", "/"),
        (
            "abfss://container@account.dfs.core.windows.net/in/orders.csv",
            "abfss://container@account.dfs.core.windows.net",
            "in/orders.csv",
        ),
        ("abfss://container:key@account.dfs.core.windows.net/x", "abfss://account.dfs.core.windows.net", "x"),
        ("https://user:password@example.org/orders.csv?sig=abc", "https://example.org", "orders.csv"),
    ],
)
def test_a_file_or_object_is_named_by_the_rules_of_openlineage(path: str, namespace: str, name: str) -> None:
    assert file_dataset(path) == Dataset(namespace=namespace, name=name)


def test_a_relative_path_is_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert file_dataset(Path("in") / "orders.csv") == Dataset(namespace="file", name=f"{tmp_path}/in/orders.csv")


@pytest.mark.parametrize(
    ("url", "table", "namespace", "name"),
    [
        (
            "postgresql+psycopg://me:secret@db.example/shop",
            "orders",
            "postgres://db.example:5432",
            "shop.public.orders",
        ),
        ("postgresql://db.example:6543/shop", "sales.orders", "postgres://db.example:6543", "shop.sales.orders"),
        ("postgresql:///shop?host=/run/postgresql", "orders", "postgres://localhost:5432", "shop.public.orders"),
        ("postgresql://me@db.example", "orders", "postgres://db.example:5432", "me.public.orders"),
        ("postgresql://[::1]/shop", "orders", "postgres://[::1]:5432", "shop.public.orders"),
        ("mysql+pymysql://db.example/shop", "orders", "mysql://db.example:3306", "shop.orders"),
        ("mssql://db.example/shop", "orders", "mssql://db.example:1433", "shop.dbo.orders"),
        ("crate://db.example:4200/doc", "orders", "crate://db.example:4200", "doc.orders"),
        ("sqlite:////data/shop.db", "orders", "file", "/data/shop.db#orders"),
        ("sqlite:///file:/data/shop.db?uri=true", "orders", "file", "/data/shop.db#orders"),
    ],
)
def test_a_table_is_named_by_the_rules_of_openlineage(url: str, table: str, namespace: str, name: str) -> None:
    assert table_dataset(make_url(url), table) == Dataset(namespace=namespace, name=name)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
def test_a_table_in_memory_has_no_name(url: str) -> None:
    assert table_dataset(make_url(url), "orders") is None
