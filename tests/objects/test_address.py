"""Addresses of objects, and what is no address."""

from __future__ import annotations

import pytest

from elspeth.objects.address import ObjectPath, address_problem, is_address, place_of


@pytest.mark.parametrize(
    "text",
    ["s3://b/k", "s3://b/a/b c.csv", "s3://b/{date}/*.csv", "gs://b/k", "az://c/k", "abfs://c@account/k", "s3://b/é"],
)
def test_an_address_names_an_object(text: str) -> None:
    assert address_problem(text) is None
    place = place_of(text)
    assert isinstance(place, ObjectPath)
    assert f"{place.scheme}://{place.bucket}/{place.key}" == str(place) == text


@pytest.mark.parametrize("text", ["k", "/k", "./s3://b/k", "a/b.csv", "s3:/b/k", "C:/x", "-", "s3"])
def test_any_other_text_is_a_local_path(text: str) -> None:
    assert not is_address(text)
    assert address_problem(text) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hdfs://b/k", "unknown scheme 'hdfs': expected one of s3://, gs://, az://, abfs://, or a local path"),
        ("S3://b/k", "unknown scheme 'S3': expected one of s3://, gs://, az://, abfs://, or a local path"),
        ("s3://b", "'s3://b' names no object: expected s3://bucket/key"),
        ("s3:///k", "'s3:///k' names no object: expected s3://bucket/key"),
        ("s3://b/d/", "'s3://b/d/' names a directory: expected the key of an object, without a slash at its end"),
        ("s3://b/a//k", "'s3://b/a//k' has a key with an empty part, '.' or '..': another program would take it for "),
        ("s3://b/../k", "'s3://b/../k' has a key with an empty part, '.' or '..': another program would take it for "),
        ("s3://b/k?versionId=1", "'s3://b/k?versionId=1' names a version: expected the address of the object, whose "),
        (
            "s3://id:secret@b/k",
            "an address s3:// has a user or a port: give credentials and servers in the environment",
        ),
        (f"s3://b/{'é' * 513}", "the key of 's3://b/éé"),
    ],
)
def test_what_cannot_name_an_object_is_said(text: str, problem: str) -> None:
    found = address_problem(text)
    assert found is not None
    assert found.startswith(problem)
    assert "secret" not in found
