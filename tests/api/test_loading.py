"""Settings are given and told again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from elspeth.api.loading import GivenSettings, load_pipeline, load_with_keys
from elspeth.core.settings import Settings, SettingsError
from elspeth.engine.keys import RunKeys, load_run_keys
from tests.engine.pipelines import csv_settings


def test_given_settings_are_told_as_options() -> None:
    given = GivenSettings(path=Path("a b.yaml"), overrides=["x=1"], limit=0, workers=2, cluster="tcp://h:1")
    assert str(given) == "-s 'a b.yaml' --set x=1 --limit 0 --workers 2 --cluster tcp://h:1"
    assert given.all_overrides() == ["x=1", "limit=0", "concurrency.workers=2"]
    assert (str(GivenSettings()), GivenSettings().source, GivenSettings().all_overrides()) == ("-s SETTINGS", {}, [])


@pytest.mark.parametrize(
    ("no_dotenv", "exported", "directory"), [(False, None, "file"), (False, "shell", "shell"), (True, "shell", "shell")]
)
def test_the_environment_takes_precedence_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_dotenv: bool, exported: str | None, directory: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("id\n1\n")
    (tmp_path / ".env").write_text("DIRECTORY=file\nMORE=1\n")
    if exported is not None:
        monkeypatch.setenv("DIRECTORY", exported)
    loaded = load_pipeline(GivenSettings(tree=csv_settings(tmp_path), no_dotenv=no_dotenv))
    assert loaded.environ["DIRECTORY"] == directory
    assert ("MORE" in loaded.environ) is not no_dotenv


def test_without_a_database_no_foreign_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id\n1\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x.csv").write_text("mine")
    given = GivenSettings(tree={**csv_settings(tmp_path), "landscape": {"enabled": False}}, no_dotenv=True)
    with pytest.raises(SettingsError, match=r"sinks\.x\.options\.path"):
        load_pipeline(given, check_outputs=True)
    assert (
        load_pipeline(given).pipeline.settings == load_pipeline(given, check_outputs=True, force=True).pipeline.settings
    )


@pytest.mark.parametrize("enabled", [False, True])
def test_nothing_replaces_a_database_or_a_key_whatever_is_forced(tmp_path: Path, *, enabled: bool) -> None:
    (tmp_path / "in.csv").write_text("id\n1\n")
    (tmp_path / "out").mkdir()
    landscape = {"enabled": enabled, **({"url": f"sqlite:///{tmp_path}/audit.db"} if enabled else {})}
    given = GivenSettings(tree={**csv_settings(tmp_path), "landscape": landscape}, no_dotenv=True)
    for content in (b"SQLite format 3\0" + bytes(84), b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"):
        (tmp_path / "out" / "x.csv").write_bytes(content)
        for force in (False, True):
            with pytest.raises(SettingsError, match=r"sinks\.x\.options\.path"):
                load_pipeline(given, check_outputs=True, force=force)
    (tmp_path / "out" / "x.csv").write_text("mine")
    with pytest.raises(SettingsError, match=r"sinks\.x\.options\.path"):
        load_pipeline(given, check_outputs=True)
    load_pipeline(given, check_outputs=True, force=True)


@pytest.mark.parametrize("is_file", [False, True])
def test_keys_are_loaded_for_the_settings_and_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_file: bool
) -> None:
    (tmp_path / "in.csv").write_text("id\n1\n")
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(csv_settings(tmp_path)))
    given = GivenSettings(path=path) if is_file else GivenSettings(tree=csv_settings(tmp_path))
    asked: list[object] = []

    def load(
        settings: Settings, environ: Mapping[str, str], *, source: str, ask: Callable[[str], str | None]
    ) -> RunKeys:
        asked.extend([settings.landscape.enabled, source, ask])
        return load_run_keys(settings, environ, source=source, ask=ask)

    monkeypatch.setattr("elspeth.engine.keys.load_run_keys", load)
    load_with_keys(given, ask=str.upper)
    assert asked == [True, str(path) if is_file else "settings", str.upper]
