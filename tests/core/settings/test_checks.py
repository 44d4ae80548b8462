"""Checks of what the sections say about each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.settings.test_path_checks import Tree, problems, settings

WITNESS = {"witness": "https://w.example", "key": "w.example+1+Bk"}


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("id\n1\n")


@pytest.mark.parametrize(
    ("log", "problem"),
    [
        ({"key": "log.pem", "after_run": [{"file": "a"}, WITNESS]}, None),
        ({"key": "log.pem", "after_run": [{"file": "a/"}], "timestamp": "http://tsa.example"}, None),
        (
            {"after_run": [{"file": "a"}]},
            "key: is required where checkpoints are left: the Ed25519 key that signs them",
        ),
        ({"key": "log.pem", "after_run": [{}]}, "after_run[0]: expected either a file or a witness"),
        (
            {"key": "log.pem", "after_run": [{"file": "a"}, {"file": "b", **WITNESS}]},
            "after_run[1]: expected either a file or a witness",
        ),
        (
            {"key": "log.pem", "after_run": [{"witness": "https://w.example"}]},
            "after_run[0].key: is required: the key of the witness, which it prints when it starts",
        ),
        (
            {"key": "log.pem", "after_run": [{"file": "a", "key": ""}]},
            "after_run[0].key: is for a witness: leave it out for a file",
        ),
        (
            {"key": "log.pem", "after_run": [WITNESS], "timestamp": "http://tsa.example"},
            "timestamp: is for the files of after_run, and there is none: name a file, or leave this out",
        ),
        (
            {"key": "log.pem", "after_run": [WITNESS | {"witness": "ftp://w.example"}]},
            "after_run[0].witness: expected a URL that begins with https:// or http://",
        ),
        (
            {"key": "log.pem", "after_run": [WITNESS | {"witness": "https://"}]},
            "after_run[0].witness: expected a URL that begins with https:// or http://",
        ),
        *(
            (
                {"key": "log.pem", "after_run": [WITNESS | {"witness": f"https://{credentials}@w.example"}]},
                "after_run[0].witness: expected a URL without user and password, as it is recorded",
            )
            for credentials in ("me", ":secret", "me:secret")
        ),
    ],
)
def test_each_place_for_checkpoints_is_a_file_or_a_witness(log: Tree, problem: str | None) -> None:
    tree = settings()
    tree["landscape"]["log"] = log
    assert problems(tree) == ([] if problem is None else [f"landscape.log.{problem}"])


def test_a_time_stamp_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elspeth.contracts.environment.find_spec", lambda _: None)
    tree = settings()
    tree["landscape"]["log"] = {"key": "k", "after_run": [{"file": "a"}], "timestamp": "http://tsa.example"}
    needed = "needs rfc3161_client, which is not installed: in a checkout of elspeth, pip install '.[timestamp]'"
    assert problems(tree) == [f"landscape.log.timestamp: {needed}"]


@pytest.mark.parametrize("enabled", [True, False])
def test_a_database_server_needs_its_library_only_if_it_is_used(
    monkeypatch: pytest.MonkeyPatch, *, enabled: bool
) -> None:
    monkeypatch.setattr("elspeth.contracts.environment.find_spec", lambda _: None)
    tree = settings(landscape={"url": "postgresql://host/audit", "enabled": enabled})
    needed = "needs psycopg, which is not installed: in a checkout of elspeth, pip install '.[postgres]'"
    assert problems(tree) == ([f"landscape.url: {needed}"] if enabled else [])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"plugin": "json", "options": {"path": "trail.json"}}, None),
        ({"plugin": "null"}, "landscape.export.sink: sink 'trail' has no path to write the export to"),
    ],
)
def test_the_sink_of_an_export_has_a_path(options: Tree, problem: str | None) -> None:
    tree = settings()
    tree["sinks"]["trail"] = options
    tree["landscape"]["export"] = {"enabled": True, "sink": "trail", "format": "json"}
    assert problems(tree) == ([] if problem is None else [problem])
