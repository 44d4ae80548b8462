"""Reads the inputs of steps besides rows, such as tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from elspeth.contracts.plugins import Aggregation, JsonObject, Transform
from elspeth.contracts.python_functions import RowFunction
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.settings.wiring import Place
from elspeth.engine.errors import PLUGIN_ERRORS, ResumeError, blame
from elspeth.engine.pipeline import Pipeline

__all__ = ["compare_inputs", "read_inputs", "recorded_inputs", "require_same_inputs"]

_INPUT = "input"
"""The key in a node's recorded configuration that describes its inputs."""


def read_inputs(pipeline: Pipeline) -> Mapping[Place, JsonObject]:
    """Let steps read their inputs, and return the descriptions.

    Raises PluginError if an input cannot be read.
    """
    inputs: dict[Place, JsonObject] = {}
    steps: dict[Place, Transform | Aggregation] = {**pipeline.transforms, **pipeline.aggregations}
    for place, step in steps.items():
        try:
            found = step.prepare()
        except PLUGIN_ERRORS as error:
            raise blame(step.kind, step.name, error) from error
        if found:
            inputs[place] = {_INPUT: found}
    for place, condition in pipeline.conditions.items():
        if isinstance(condition, RowFunction):
            inputs[place] = {_INPUT: condition.loaded.describe()}
    return inputs


def recorded_inputs(recorder: LandscapeRecorder, run_id: str) -> Mapping[str, object]:
    """Return the recorded descriptions of inputs, by node."""
    configs = {node.node_id: json.loads(node.config_json) for node in recorder.get_nodes(run_id)}
    return {node_id: config[_INPUT] for node_id, config in configs.items() if _INPUT in config}


def require_same_inputs(recorder: LandscapeRecorder, pipeline: Pipeline, run_id: str) -> None:
    """Let steps read their inputs again, for a resumed run.

    Raises ResumeError if the inputs differ from those with which the run began.
    """
    for problem in compare_inputs(pipeline, recorded_inputs(recorder, run_id)):
        raise ResumeError(
            f"run {run_id} began with another input of {problem}; restore it to resume the run, or abandon the run"
        )


def compare_inputs(pipeline: Pipeline, recorded: Mapping[str, object]) -> Iterator[str]:
    """Let transforms read their inputs, and yield differences.

    `recorded` holds the descriptions from the beginning of the run, by node.
    """
    for place, found in read_inputs(pipeline).items():
        node_id = pipeline.nodes[place].node_id
        if recorded.get(node_id) != found[_INPUT]:
            yield f"node {node_id}: recorded is {recorded.get(node_id)}, found {found[_INPUT]}"
