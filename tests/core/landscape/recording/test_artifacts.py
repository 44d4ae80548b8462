from __future__ import annotations

import pytest

from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from tests.fixtures.records import HASH, record_graph


@pytest.fixture
def token_id(recorder: LandscapeRecorder) -> str:
    """A token in "state", at the sink."""
    record_graph(recorder)
    recorder.create_row("run", "source", 0, {}, row_id="row")
    made = recorder.create_token("row").token_id
    recorder.begin_node_state(made, "sink", 0, {}, state_id="state")
    return made


@pytest.mark.usefixtures("token_id")
def test_an_artifact_is_recorded(recorder: LandscapeRecorder) -> None:
    artifact = recorder.register_artifact(
        "run", "state", "sink", "csv", "out/é.csv", HASH, 2**40, artifact_id="mine", idempotency_key="once"
    )
    assert recorder.get_artifacts("run") == [artifact]
    assert (artifact.artifact_id, artifact.produced_by_state_id, artifact.sink_node_id) == ("mine", "state", "sink")
    assert (artifact.artifact_type, artifact.path_or_uri) == ("csv", "out/é.csv")
    assert (artifact.content_hash, artifact.size_bytes, artifact.idempotency_key) == (HASH, 2**40, "once")


@pytest.mark.usefixtures("token_id")
def test_artifacts_are_listed_in_the_order_of_recording(recorder: LandscapeRecorder) -> None:
    made = [
        recorder.register_artifact("run", "state", node_id, "csv", "a.csv", HASH, 0, artifact_id=artifact_id)
        for artifact_id, node_id in (("c", "sink"), ("b", "transform"), ("a", "sink"))
    ]
    assert recorder.get_artifacts("run") == made
    assert recorder.get_artifacts("run", sink_node_id="sink") == [made[0], made[2]]
    assert recorder.get_artifacts("run", sink_node_id="nowhere") == recorder.get_artifacts("nowhere") == []


def test_a_checkpoint_is_recorded(recorder: LandscapeRecorder, token_id: str) -> None:
    checkpoint = recorder.create_checkpoint(
        "run",
        token_id,
        "aggregation",
        7,
        upstream_topology_hash=HASH,
        checkpoint_node_config_hash=HASH[::-1],
        aggregation_state={"count": 2},
        checkpoint_id="mine",
    )
    assert recorder.get_checkpoints("run") == [checkpoint]
    assert (checkpoint.checkpoint_id, checkpoint.token_id, checkpoint.node_id) == ("mine", token_id, "aggregation")
    assert (checkpoint.sequence_number, checkpoint.aggregation_state_json) == (7, '{"count":2}')
    assert (checkpoint.upstream_topology_hash, checkpoint.checkpoint_node_config_hash) == (HASH, HASH[::-1])
    assert checkpoint.format_version == 5


def test_checkpoints_are_listed_in_order(recorder: LandscapeRecorder, token_id: str) -> None:
    for sequence in (3, 1, 2):
        recorder.create_checkpoint(
            "run", token_id, "sink", sequence, upstream_topology_hash=HASH, checkpoint_node_config_hash=HASH
        )
    assert [each.sequence_number for each in recorder.get_checkpoints("run")] == [1, 2, 3]
    assert recorder.get_checkpoints("nowhere") == []
