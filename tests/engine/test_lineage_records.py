"""What plugins say about their data is recorded with them."""

import json
from pathlib import Path

import pytest
from sqlalchemy.exc import NoResultFound

from elspeth.contracts.plugins import Dataset, FieldOrigins, PluginError, Transform
from elspeth.contracts.rows import RowData
from elspeth.plugins.transforms.field_mapper import PassthroughTransform
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


def test_every_file_of_a_source_is_recorded_in_the_order_of_reading(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("in.csv", "b.csv", "a.csv")]
    for path in paths:
        Path(path).write_text("id,kind\n")
    recorded = _recorded(tmp_path, datasource={"plugin": "csv", "options": {"path": paths}})
    assert recorded["source_csv"] == [{"namespace": "file", "name": path} for path in paths]


def test_names_are_withheld_with_the_account_unless_events_are_sent(tmp_path: Path) -> None:
    hidden = {"url": f"sqlite:///{tmp_path / 'audit.db'}", "identity": False}
    assert _recorded(tmp_path, landscape=hidden) == {}
    section = {"transport": {"type": "console"}}
    assert set(_recorded(tmp_path, landscape=hidden, openlineage=section)) == {"source_csv", "sink_rest", "sink_x"}


class _FailingSource(GivenSource):
    name = "failing"

    def datasets(self) -> list[Dataset]:
        raise RuntimeError("secret")


class _FailingTransform(PassthroughTransform):
    name = "failing"

    def field_origins(self) -> FieldOrigins:
        raise RuntimeError("secret")


class _Doubling(Transform):
    """A transform of another package."""

    name = "doubling"
    plugin_version = "1.0.0"

    def field_origins(self) -> FieldOrigins:
        return FieldOrigins(same={"api_key": "id"}, derived={"kind": ("kind",)}, removed=("id",))

    def process(self, row: RowData) -> RowData:
        return {"api_key": row["id"], "kind": f"{row['kind']}{row['kind']}"}


def test_transforms_are_recorded_with_the_origins_of_their_fields(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,kind\n1,x\n2,y\n")
    settings = {**csv_settings(tmp_path), "row_plugins": [{"plugin": "doubling"}, {"plugin": "flatten"}]}
    execute(build(tmp_path, settings, _Doubling))
    configs = [json.loads(node["config_json"]) for node in trail(tmp_path)["node"] if node["node_type"] == "transform"]
    assert [each.get("field_origins") for each in configs] == [
        {
            "same": [["api_key", "id"]],
            "derived": [["kind", ["kind"]]],
            "changed": [],
            "removed": ["id"],
            "keeps_others": True,
        },
        None,
    ], "names are not masked, whatever they look like; a transform that says nothing has none"


@pytest.mark.parametrize("kind", ["source", "transform"])
def test_a_plugin_that_cannot_describe_its_data_stops_the_run_before_it_is_recorded(kind: str, tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    if kind == "source":
        settings["datasource"] = {"plugin": "failing", "options": {"rows": []}}
    else:
        (tmp_path / "in.csv").write_text("id,kind\n1,x\n")
        settings["row_plugins"] = [{"plugin": "failing"}]
    with pytest.raises(PluginError, match=f"{kind} 'failing' failed: RuntimeError: ") as caught:
        execute(build(tmp_path, settings, _FailingSource, _FailingTransform))
    assert "secret" not in str(caught.value)
    with pytest.raises(NoResultFound):
        trail(tmp_path)
