"""Facets of the specification and of our own."""

from __future__ import annotations

import pytest

from elspeth.openlineage import facets


def test_the_job_of_a_parent_may_have_slashes() -> None:
    run_id = "0193c8f2-0f1e-7e6a-9a53-1d7f0d1b2c3d"
    found = facets.parent(f"airflow/orders/daily/{run_id}")
    assert (found["job"], found["run"]) == ({"namespace": "airflow", "name": "orders/daily"}, {"runId": run_id})


@pytest.mark.parametrize(("namespace", "uri"), [("file", "file:///"), ("s3://bucket", "s3://bucket")])
def test_the_location_of_a_dataset_is_a_uri(namespace: str, uri: str) -> None:
    found = facets.data_source(namespace)
    assert (found["name"], found["uri"]) == (namespace, uri)
