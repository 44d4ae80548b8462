"""Bags as Workflow Run RO-Crates.

`nox -s crate` validates some by the profiles.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from elspeth.core.landscape.exporting.bag_form import write_bag_of_run
from elspeth.evidence.format import bag
from elspeth.evidence.format.canonical import Json
from elspeth.evidence.format.crate import MOST_LISTED, CrateRecords, crate_metadata
from elspeth.evidence.verifier.procedure import Status, Step, Verdict
from elspeth.evidence.verifier.verify import verify_bag
from elspeth_schema.contracts import Artifact, RunStatus
from tests.fixtures.landscapes import NewLandscape, in_memory
from tests.fixtures.resealing import resealed
from tests.fixtures.rich_run import recorded, rich_run

Crate = dict[str, dict[str, Any]]

ACTION = "urn:elspeth:run:run-1/run/run-1"


def entities(document: bytes) -> Crate:
    """Return the entities of a crate by id."""
    return {entity["@id"]: entity for entity in json.loads(document)["@graph"]}


def write(directory: Path, new_landscape: NewLandscape = in_memory) -> Path:
    """Write an unsigned bag of a failed run."""
    with new_landscape() as db:
        write_bag_of_run(db, recorded(db, rich_run(status=RunStatus.FAILED)), directory / "bag", signer=None)
    return directory / "bag"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bag, which tests copy before they change it."""
    path = write(tmp_path_factory.mktemp("bags"))
    assert verify_bag(path).verdict is Verdict.UNSIGNED
    return path


def test_the_metadata_of_a_bag_agrees_with_its_records(new_landscape: NewLandscape, tmp_path: Path) -> None:
    path = write(tmp_path, new_landscape)
    found = entities((path / bag.CRATE).read_bytes())
    records = [json.loads(line) for line in (path / bag.RECORDS).read_text().splitlines()]
    (run,) = (each for each in records if each["record_type"] == "run")
    (artifact,) = (each for each in records if each["record_type"] == "artifact")
    assert found["./"]["mainEntity"] == {"@id": "settings.yaml"}
    assert (path / bag.SETTINGS).read_text() == run["settings_json"]
    assert found[ACTION]["startTime"] == f"{run['started_at'][:23]}+00:00"
    assert ("endTime" in found[ACTION]) == (run["completed_at"] is not None)
    assert found[ACTION]["actionStatus"] == "http://schema.org/FailedActionStatus"
    output = found[f"urn:elspeth:run:run-1/artifact/{artifact['artifact_id']}"]
    assert (output["value"], output["sha256"]) == (artifact["path_or_uri"], artifact["content_hash"])
    assert {"@id": output["@id"]} in found[ACTION]["result"]
    names = {each.relative_to(path / "data").as_posix() for each in (path / "data").iterdir()}
    assert {part["@id"] for part in found["./"]["hasPart"]} == names - {"ro-crate-metadata.json"}
    assert [link for each in found.values() for link in links(each) if link not in found] == []


def links(entity: dict[str, Any]) -> list[str]:
    """Return the ids that an entity refers to, without profiles."""
    values = [each for name, value in entity.items() if name != "conformsTo" for each in listed(value)]
    return [each["@id"] for each in values if isinstance(each, dict)]


def listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_a_bag_of_a_run_with_many_outputs_lists_the_first_and_is_sound(tmp_path: Path) -> None:
    run = rich_run(status=RunStatus.FAILED)
    (artifact,) = (each for each in run if isinstance(each, Artifact))
    run += [replace(artifact, artifact_id=f"artifact-2{number:03}") for number in range(MOST_LISTED)]
    with in_memory() as db:
        write_bag_of_run(db, recorded(db, run), tmp_path / "bag", signer=None)
    assert verify_bag(tmp_path / "bag").verdict is Verdict.UNSIGNED
    results = entities((tmp_path / "bag" / bag.CRATE).read_bytes())[ACTION]["result"]
    listed = [f"artifact-2{number:03}" for number in range(MOST_LISTED - 1)]
    assert [each["@id"].rpartition("/")[2] for each in results] == ["records.jsonl", "artifact-1", *listed]


def test_the_same_run_has_the_same_metadata(written: Path, tmp_path: Path) -> None:
    second = write(tmp_path)
    assert (written / bag.CRATE).read_bytes() == (second / bag.CRATE).read_bytes()


def test_the_context_beside_the_records_is_the_installed_one(written: Path) -> None:
    installed = files("elspeth_schema").joinpath("context.jsonld").read_text(encoding="utf-8")
    context = json.loads((written / bag.CONTEXT).read_bytes())
    assert context == {"@context": json.loads(installed)["@context"]}


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """Return a replacement of a part, which must occur."""

    def replace(document: bytes) -> bytes:
        assert old in document
        return document.replace(old, new, 1)

    return replace


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        (
            bag.CRATE,
            replaced(b'"startTime":"2026', b'"startTime":"2025'),
            f"{bag.CRATE}: entity '{ACTION}': startTime: expected '2026-",
        ),
        (bag.CRATE, replaced(b'"contentSize":"', b'"contentSize":"9'), "contentSize: expected '"),
        (bag.CRATE, replaced(b"FailedActionStatus", b"CompletedActionStatus"), "actionStatus: expected '"),
        (bag.CRATE, replaced(b'"version":"1"', b'"version":"2"'), "version: expected '1' as records and files say"),
        (bag.CRATE, replaced(b"{", b'{"@base":"x",'), "expected the entities as records and files say, each once"),
        (bag.CRATE, replaced(b"{", b"["), f"{bag.CRATE}: expected JSON"),
        (bag.SETTINGS, lambda settings: settings + b" ", f"{bag.SETTINGS}: expected the settings of the run"),
        (bag.SETTINGS, lambda _: None, f"{bag.SETTINGS}: expected"),
    ],
)
def test_a_bag_with_other_metadata_is_not_verified(
    written: Path, tmp_path: Path, name: str, change: Callable[[bytes], bytes | None], problem: str
) -> None:
    path = shutil.copytree(written, tmp_path / "bag")
    result = verify_bag(resealed(path, {name: change((path / name).read_bytes())}))
    assert result.verdict is Verdict.NOT_VERIFIED
    (failed,) = (each for each in result.steps if each.status is Status.FAILED)
    assert failed.step is Step.REFERENCES
    assert problem in failed.detail


def test_a_bag_without_metadata_is_verified_like_those_of_earlier_releases(written: Path, tmp_path: Path) -> None:
    path = resealed(
        shutil.copytree(written, tmp_path / "bag"), {bag.CRATE: None, bag.SETTINGS: None, bag.CONTEXT: None}
    )
    result = verify_bag(path)
    assert result.verdict is Verdict.UNSIGNED
    (references,) = (each for each in result.steps if each.step is Step.REFERENCES)
    assert references.detail == "all lead to records in the bag"


def outputs(number: int) -> list[dict[str, str]]:
    return [{"artifact_id": f"a{index}", "sink_node_id": "sink", "path_or_uri": "x"} for index in range(number)]


def test_only_the_first_of_many_outputs_are_listed() -> None:
    moment = "2026-01-31T23:59:59.999999Z"
    run = {"run_id": "r", "status": "completed", "started_at": moment, "completed_at": moment}
    records = CrateRecords(run=run, processes=[], inputs=[], outputs=outputs(MOST_LISTED + 1))
    found = entities(crate_metadata(records, [bag.RECORDS, bag.SETTINGS]))
    action = found["urn:elspeth:run:r/run/r"]
    assert len(action["result"]) == 1 + MOST_LISTED
    assert action["description"].endswith(f" Only the first {MOST_LISTED} outputs are listed.")
    assert (action["endTime"], found["./"]["datePublished"]) == ("2026-01-31T23:59:59.999+00:00",) * 2
    assert f"urn:elspeth:run:r/artifact/a{MOST_LISTED}" not in found


MOMENT = "2026-01-31T23:59:59.999999Z"
SOURCE: dict[str, Json] = {"node_id": "in", "path_or_uri": "in.csv", "content_hash": "0" * 64, "size_bytes": 0}
FULL = CrateRecords(
    run={"run_id": "r/1", "status": "interrupted", "started_at": MOMENT, "config_hash": "1" * 64},
    processes=[{"user_name": "ann", "elspeth_version": "1.2"}, {"user_name": "bob", "elspeth_version": "1.3"}],
    inputs=[{**SOURCE, "input_id": name} for name in "ab"] + [{"input_id": "c", "node_id": "other"}],
    outputs=[{**output, "content_hash": "2" * 64, "size_bytes": 7} for output in outputs(2)],
)
PARTS = [bag.RECORDS, bag.SETTINGS, bag.CRATE, "data/README.md", "data/x.tlog-proof", "data/y.unknown"]
PARTS += [bag.CONTENTS + "0" * 64, bag.CONTENTS + "1" * 64]


@pytest.mark.parametrize(
    ("records", "digest"),
    [
        (FULL, "4a3401f146dd7edc506e956a3a07a0f1a8550f6f804d5eb26edd62c40b661408"),
        (
            CrateRecords(run={"run_id": "r", "status": "completed"}, processes=[], inputs=[], outputs=[]),
            "e3197c697cc9201bbecb5831364160601a6752b6cbef999c124013bb2a7d8d4a",
        ),
    ],
)
def test_the_metadata_of_a_run_never_changes(records: CrateRecords, digest: str) -> None:
    """Compare with what earlier verifiers derive.

    Another form would need another version.
    """
    assert sha256(crate_metadata(records, PARTS)).hexdigest() == digest


def test_the_metadata_of_a_full_run_links_what_it_describes() -> None:
    found = entities(crate_metadata(FULL, PARTS))
    assert [each["@id"] for each in found["./"]["hasPart"]] == [
        *("README.md", "contents/", "records.jsonl", "settings.yaml", "x.tlog-proof", "y.unknown")
    ]
    base = "urn:elspeth:run:r%2F1/"
    assert found[f"{base}node/in"]["workExample"] == [{"@id": f"{base}source_input/{name}"} for name in "ab"]
    assert found[f"{base}node/other"]["workExample"] == {"@id": f"{base}source_input/c"}
    assert (found[f"{base}source_input/a"]["contentSize"], found["#account"]["name"]) == ("0", "ann")
    assert found["x.tlog-proof"]["encodingFormat"] == "text/plain"
    assert "endTime" not in found[f"{base}run/r%2F1"]
    assert [link for each in found.values() for link in links(each) if link not in found] == []


@pytest.mark.parametrize(
    ("processes", "agent"), [([{"user_name": "ann"}], "#account"), ([{}], "https://w3id.org/elspeth/")]
)
def test_the_agent_is_the_account_if_it_was_recorded(processes: list[dict[str, str]], agent: str) -> None:
    run = {"run_id": "r", "status": "completed"}
    records = CrateRecords(run=run, processes=processes, inputs=[], outputs=[])
    found = entities(crate_metadata(records, [bag.RECORDS, bag.SETTINGS]))
    assert found["urn:elspeth:run:r/run/r"]["agent"] == {"@id": agent}
    assert [each["name"] for each in found.values() if each["@type"] == "Person"] == [
        each["user_name"] for each in processes if each
    ]
