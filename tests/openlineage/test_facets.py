"""Facets of the specification and of our own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from elspeth.openlineage import facets

Facet = dict[str, object]


def test_the_job_of_a_parent_may_have_slashes() -> None:
    run_id = "0193c8f2-0f1e-7e6a-9a53-1d7f0d1b2c3d"
    found = facets.parent(f"airflow/orders/daily/{run_id}")
    assert (found["job"], found["run"]) == ({"namespace": "airflow", "name": "orders/daily"}, {"runId": run_id})


@pytest.mark.parametrize(("namespace", "uri"), [("file", "file:///"), ("s3://bucket", "s3://bucket")])
def test_the_location_of_a_dataset_is_a_uri(namespace: str, uri: str) -> None:
    found = facets.data_source(namespace)
    assert (found["name"], found["uri"]) == (namespace, uri)


@pytest.mark.parametrize(
    ("make", "name", "members"),
    [
        (
            facets.job_type,
            "2-0-4/JobTypeJobFacet",
            {"processingType": "BATCH", "integration": "ELSPETH", "jobType": "PIPELINE"},
        ),
        (
            lambda: facets.source_code_location("abc"),
            "1-1-0/SourceCodeLocationJobFacet",
            {"type": "git", "url": "swh:1:rev:abc", "version": "abc"},
        ),
        (
            lambda: facets.processing_engine("1.2"),
            "1-1-1/ProcessingEngineRunFacet",
            {"name": "elspeth", "version": "1.2", "openlineageAdapterVersion": "1.2"},
        ),
        (
            lambda: facets.error_message("stopped"),
            "1-0-1/ErrorMessageRunFacet",
            {"message": "stopped", "programmingLanguage": "PYTHON"},
        ),
        (
            lambda: facets.tags({"team": "audit", "stage": ""}),
            "1-0-0/TagsRunFacet",
            {
                "tags": [
                    {"key": "team", "value": "audit", "source": "ELSPETH"},
                    {"key": "stage", "value": "", "source": "ELSPETH"},
                ]
            },
        ),
        (
            lambda: facets.schema([{"name": "id", "type": "int"}, {"name": "kind", "type": "str", "required": True}]),
            "1-2-0/SchemaDatasetFacet",
            {"fields": [{"name": "id", "type": "int"}, {"name": "kind", "type": "str"}]},
        ),
        (
            lambda: facets.storage("s3", "csv"),
            "1-0-1/StorageDatasetFacet",
            {"storageLayer": "s3", "fileFormat": "csv"},
        ),
        (
            lambda: facets.dataset_version("abc"),
            "1-0-1/DatasetVersionDatasetFacet",
            {"datasetVersion": "sha256:abc"},
        ),
        (
            lambda: facets.column_lineage({"a": [{"field": "x"}, {"field": "y"}], "b": []}),
            "1-2-0/ColumnLineageDatasetFacet",
            {"fields": {"a": {"inputFields": [{"field": "x"}, {"field": "y"}]}, "b": {"inputFields": []}}},
        ),
        (
            lambda: facets.input_statistics({"rowCount": 0, "size": 0}),
            "1-0-0/InputStatisticsInputDatasetFacet",
            {"rowCount": 0, "size": 0},
        ),
        (
            lambda: facets.output_statistics({"rowCount": 0, "fileCount": 1}),
            "1-0-2/OutputStatisticsOutputDatasetFacet",
            {"rowCount": 0, "fileCount": 1},
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_facet_says_what_it_is_given_and_which_specification_it_follows(
    make: Callable[[], Facet], name: str, members: Facet
) -> None:
    assert make() == {
        "_producer": "https://w3id.org/elspeth",
        "_schemaURL": f"https://openlineage.io/spec/facets/{name}.json#/$defs/{name.partition('/')[2]}",
        **members,
    }
