"""Datasets are recorded with sources and sinks."""

import json
from pathlib import Path

import pytest
from sqlalchemy.exc import NoResultFound

from elspeth.contracts.plugins import Dataset, PluginError
from tests.engine.pipelines import GivenSource, build, csv_settings, execute, run, trail


def _recorded(directory: Path, **sections: object) -> dict[str, object]:
    """Return the recorded datasets by the ends of node ids."""
    (directory / "in.csv").write_text("id,kind\n1,x\n2,y\n")
    _, records = run(directory, {**csv_settings(directory), **sections})
    configs = {node["node_id"].rpartition("_")[0]: json.loads(node["config_json"]) for node in records["node"]}
    return {name: config["datasets"] for name, config in configs.items() if "datasets" in config}


def test_sources_and_sinks_are_recorded_with_their_datasets(tmp_path: Path) -> None:
    assert _recorded(tmp_path) == {
        "source_csv": [{"namespace": "file", "name": f"{tmp_path}/in.csv"}],
        "sink_rest": [{"namespace": "file", "name": f"{tmp_path}/out/rest.csv"}],
        "sink_x": [{"namespace": "file", "name": f"{tmp_path}/out/x.csv"}],
    }


def test_names_are_as_secret_as_the_account_unless_they_are_sent(tmp_path: Path) -> None:
    hidden = {"url": f"sqlite:///{tmp_path / 'audit.db'}", "identity": False}
    assert _recorded(tmp_path, landscape=hidden) == {}
    section = {"transport": {"type": "console"}}
    assert set(_recorded(tmp_path, landscape=hidden, openlineage=section)) == {"source_csv", "sink_rest", "sink_x"}


def test_a_plugin_that_cannot_name_its_datasets_stops_the_run_before_it_is_recorded(tmp_path: Path) -> None:
    class Failing(GivenSource):
        name = "failing"

        def datasets(self) -> list[Dataset]:
            raise RuntimeError("secret")

    settings = {**csv_settings(tmp_path), "datasource": {"plugin": "failing", "options": {"rows": []}}}
    with pytest.raises(PluginError, match="source 'failing' failed: RuntimeError: ") as caught:
        execute(build(tmp_path, settings, Failing))
    assert "secret" not in str(caught.value)
    with pytest.raises(NoResultFound):
        trail(tmp_path)
