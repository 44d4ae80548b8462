"""The files and objects that settings name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from elspeth.core.settings.landscape import ExportSettings
from elspeth.core.settings.parts import Parts
from elspeth.core.settings.paths import (
    NamedFile,
    NamedObject,
    checkpoint_file,
    export_compression,
    export_form,
    named_files,
    named_objects,
    named_places,
    protected_files,
)
from elspeth.core.settings.planned_outputs import PlannedOutput, planned_outputs
from elspeth.core.settings.problems import location_text

VALUES = {"run_id": "r1", "date": "2026-03-01"}

TREE: dict[str, Any] = yaml.safe_load("""
source: {plugin: csv, on_success: a, options: {path: [one.csv, "in/*.csv", "s3://in/*.csv"]}}
sources:
  standard: {plugin: csv, on_success: a, options: {path: "-"}}
  queried: {plugin: sql, on_success: a, options: {url: "sqlite:///in.db", query: "SELECT 1"}}
queues: {a: {}}
transforms:
  - {name: t, plugin: passthrough, input: a, on_success: b}
  - name: rates
    plugin: lookup
    input: b
    on_success: out
    options: {table: {plugin: csv, options: {path: rates.csv}}, match: {a: b}, add: {c: d}}
sinks:
  out: {plugin: csv, options: {path: "out/{date}-{run_id}.csv"}}
  table: {plugin: database, options: {url: "sqlite:///out.db", table: people}}
  server: {plugin: database, options: {url: "postgresql://host/db", table: people}}
  away: {plugin: csv, options: {path: "s3://out/{run_id}.csv"}}
  wrong: {plugin: csv, options: {path: "{nothing}.csv"}}
landscape:
  url: sqlite:///audit.db
  seal: {key: seal.pem, public: seal.pub}
  export: {path: trail.json, key: export.pem, public: export.pub, certificate: export.crt}
  report: {path: "{run_id}.html"}
  log: {key: log.pem, public: log.pub, after_run: [{file: kept/}, {witness: "https://w.example"}, {file: "s3://log/"}]}
rate_limit: {persistence_path: limits.db}
""")


def parts(**landscape: Any) -> Parts:  # noqa: ANN401  as in YAML
    return Parts.from_tree({**TREE, "landscape": {**TREE["landscape"], **landscape}})


def named(found: Parts) -> list[tuple[str, str, str, str]]:
    """Return owner, location, path and nature of each."""
    return [
        (each.owner, location_text(each.location), str(each.path), " ".join(natures(each)))
        for each in named_places(found, VALUES)
    ]


def natures(each: NamedFile | NamedObject) -> list[str]:
    flags = ("is_input", "is_pattern", "is_database")
    return [flag.removeprefix("is_") for flag in flags if getattr(each, flag, False)]


IN_SOURCES = [
    ("source", "source.options.path[0]", "one.csv", "input"),
    ("source", "source.options.path[1]", "in/*.csv", "input pattern"),
    ("source", "source.options.path[2]", "s3://in/*.csv", "input pattern"),
    ("sources.queried", "sources.queried.options.url", "in.db", "input database"),
    ("transforms[1]", "transforms[1].options.table.options.path", "rates.csv", "input"),
]
IN_SINKS = [
    ("sinks.out", "sinks.out.options.path", "out/2026-03-01-r1.csv", ""),
    ("sinks.table", "sinks.table.options.url", "out.db", "database"),
    ("sinks.away", "sinks.away.options.path", "s3://out/r1.csv", ""),
]
IN_LANDSCAPE = [
    ("landscape.export", "landscape.export.path", "trail.json", ""),
    ("landscape.log", "landscape.log.after_run[0].file", "kept/r1.checkpoint", ""),
    ("landscape.log", "landscape.log.after_run[2].file", "s3://log/r1.checkpoint", ""),
    ("landscape.report", "landscape.report.path", "r1.html", ""),
]
LIMITS = ("rate_limit", "rate_limit.persistence_path", "limits.db", "database")


def test_every_file_and_object_is_named_with_its_owner_and_place() -> None:
    assert named(parts()) == [*IN_SOURCES, *IN_SINKS, *IN_LANDSCAPE, LIMITS]
    files, objects = list(named_files(parts(), VALUES)), list(named_objects(parts(), VALUES))
    assert [str(each.path) for each in objects] == ["s3://in/*.csv", "s3://out/r1.csv", "s3://log/r1.checkpoint"]
    assert len(files) + len(objects) == len(named(parts()))


@pytest.mark.parametrize(
    "export", [{"path": "trail.json", "enabled": False}, {"sink": "out", "enabled": True}, {}], ids=str
)
def test_an_export_that_is_not_made_or_goes_to_a_sink_names_no_file(export: Mapping[str, object]) -> None:
    assert named(parts(export=export)) == [*IN_SOURCES, *IN_SINKS, *IN_LANDSCAPE[1:], LIMITS]


def test_checkpoints_and_reports_are_named_only_if_they_are_left() -> None:
    assert named(parts(log={}, report={})) == [*IN_SOURCES, *IN_SINKS, IN_LANDSCAPE[0], LIMITS]


KEYS = ["seal.pem", "seal.pub", "log.pem", "log.pub", "export.pem", "export.pub", "export.crt"]


def test_secrets_settings_keys_and_the_audit_database_are_protected() -> None:
    found = protected_files(parts(), Path("s.yaml"))
    assert [(str(each.path), each.what) for each in found] == [
        (".env", "the file .env of secrets"),
        ("s.yaml", "the settings file"),
        ("audit.db", "the audit database"),
        *((key, "a key") for key in KEYS),
    ]
    assert found[2].covers(Path("audit.db-wal").absolute())
    unused = [str(each.path) for each in protected_files(parts(enabled=False), None)]
    assert unused == [".env", *KEYS]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("kept/", "kept/{run_id}.checkpoint"),
        ("there", "there/{run_id}.checkpoint"),
        ("log.checkpoint", "log.checkpoint"),
        ("s3://b/kept/", "s3://b/kept/{run_id}.checkpoint"),
        ("s3://b/log.checkpoint", "s3://b/log.checkpoint"),
    ],
)
def test_in_a_directory_a_checkpoint_is_named_after_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    assert checkpoint_file(text) == path


@pytest.mark.parametrize(
    ("export", "path", "form", "compression"),
    [
        ({}, "trail", "csv", None),
        ({}, "trail.jsonl", "jsonl", None),
        ({"format": "json"}, "trail.jsonl", "json", None),
        ({"format": "csv"}, "trail.zip", "csv", None),
        ({}, "trail.json.gz", "json", "gzip"),
        ({"compress": "zstd"}, "trail.json", "json", "zstd"),
        ({"compress": "zstd"}, "trail.json.gz", "json", "zstd"),
    ],
    ids=str,
)
def test_what_the_settings_say_about_an_export_counts_before_its_name(
    export: dict[str, object], path: str, form: str, compression: str | None
) -> None:
    settings = ExportSettings.model_validate(export)
    assert (export_form(settings, path), export_compression(settings, path)) == (form, compression)


@pytest.mark.parametrize("force", [False, True])
def test_the_outputs_of_sinks_and_the_export_are_planned_with_what_they_may_replace(*, force: bool) -> None:
    found = parts()
    protected = protected_files(found, None)
    planned = list(
        planned_outputs(found, VALUES, protected=protected, objection=lambda _, path: f"mine: {path}", force=force)
    )
    assert [(each.owner, str(each.path), each.sink) for each in planned] == [
        ("sinks.out", "out/2026-03-01-r1.csv", "out"),
        ("sinks.away", "s3://out/r1.csv", "away"),
        ("landscape.export", "trail.json", None),
    ]
    files = [each for each in planned if isinstance(each, PlannedOutput)]
    assert [(each.policy.protected, each.policy.force) for each in files] == [(protected, force)] * 2


def test_a_sink_that_takes_the_export_has_no_rows() -> None:
    found = parts(export={"sink": "out", "enabled": True, "format": "csv"})
    planned = planned_outputs(found, VALUES, protected=(), objection=lambda _, __: None, force=False)
    assert [(each.owner, each.sink) for each in planned] == [("landscape.export", None), ("sinks.away", "away")]
