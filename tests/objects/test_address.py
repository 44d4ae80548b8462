"""Addresses of objects, and texts that are not addresses."""

from __future__ import annotations

import pytest

from elspeth.objects.address import ObjectPath, address_problem, is_address, place_of


@pytest.mark.parametrize(
    "text",
    [
        "s3://b/k",
        "s3://b/a/b c.csv",
        "s3://b/{date}/*.csv",
        "s3://Bucket/Key",
        "gs://b-1.x_y/k",
        "az://$web/k",
        "s3://b/é",
        "s3://b/a\\b",
        f"s3://b/{'é' * 512}",
    ],
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
            "an address s3:// has a user, an account or a port: give these in the environment",
        ),
        ("s3://secret@b/k", "an address s3:// has a user, an account or a port: give these in the environment"),
        ("abfs://c@account/k", "an address abfs:// has a user, an account or a port: give these in the environment"),
        ("s3://b:9000/k", "an address s3:// has a user, an account or a port: give these in the environment"),
        ("s3://", "'s3://' names no object: expected s3://bucket/key"),
        ("s3://b/", "'s3://b/' names no object: expected s3://bucket/key"),
        ("gcs://b/k", "unknown scheme 'gcs': expected one of s3://, gs://, az://, abfs://, or a local path"),
        ("s3://../k", "'s3://../k' has no valid name of a bucket: expected letters and digits, with '.', '_' or '-' "),
        ("s3://b*/k", "'s3://b*/k' has no valid name of a bucket: expected letters and digits, with '.', '_' or '-' "),
        (
            "gs://a b/k",
            "'gs://a b/k' has no valid name of a bucket: expected letters and digits, with '.', '_' or '-' ",
        ),
        (
            "s3://b?x=y/k",
            "'s3://b?x=y/k' has no valid name of a bucket: expected letters and digits, with '.', '_' or ",
        ),
        ("s3://b%2f/k", "'s3://b%2f/k' has no valid name of a bucket: expected letters and digits, with '.', '_' or "),
        ("s3://b/a\nb", r"'s3://b/a\nb' has a key with a character that Amazon S3 does not keep: choose another key"),
        ("gs://b/\x7f", r"'gs://b/\x7f' has a key with a character that Google Cloud Storage does not keep: choose "),
        ("s3://b/\ud800", r"'s3://b/\ud800' has a key with a character that Amazon S3 does not keep: choose another"),
        ("az://b/a\\b", r"'az://b/a\\b' has a key with a character that Azure Blob Storage does not keep: choose "),
        (f"s3://b/{'é' * 513}", "the key of 's3://b/éé"),
    ],
)
def test_text_that_cannot_name_an_object_is_refused(text: str, problem: str) -> None:
    found = address_problem(text)
    assert found is not None
    assert found.startswith(problem)
    assert "secret" not in found


def test_an_object_of_azure_has_one_address() -> None:
    assert place_of("abfs://container/name") == place_of("az://container/name")
    assert str(place_of("abfs://container/name")) == "az://container/name"
