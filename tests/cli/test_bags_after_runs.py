"""Runs that leave a bag and a signed seal."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import yaml

from elspeth.cli import main
from elspeth.engine import run_export
from elspeth.evidence.format.signatures import PRIVATE_KEY, PUBLIC_KEY, generate_keys

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Return settings whose every run leaves a signed bag."""
    monkeypatch.chdir(tmp_path)
    generate_keys(Path("keys"))
    Path("in.csv").write_text("id,kind\n1,x\n2,y\n")
    export = {"enabled": True, "sink": "trail", "format": "bag", "sign": True, "key": f"keys/{PRIVATE_KEY}"}
    return {
        "datasource": {"plugin": "csv", "options": {"path": "in.csv"}},
        "sinks": {
            "rest": {"plugin": "csv", "options": {"path": "out/rest.csv"}},
            "trail": {"plugin": "jsonl", "options": {"path": "bags/{run_id}"}},
        },
        "output_sink": "rest",
        "landscape": {"url": "sqlite:///audit.db", "export": export, "seal": {"key": f"keys/{PRIVATE_KEY}"}},
    }


def run(settings: dict[str, object], *more: str) -> int:
    Path("settings.yaml").write_text(yaml.safe_dump(settings))
    return main(["run", "-s", "settings.yaml", "--execute", *more])


def test_every_run_leaves_a_bag_of_its_own_that_is_verified(settings: dict[str, object], capsys: Captured) -> None:
    assert [run(settings), run(settings)] == [0, 0]
    bags = sorted(Path("bags").iterdir())
    capsys.readouterr()
    assert main(["landscape", "runs", "-d", "audit.db"]) == 0
    assert {path.name for path in bags} == {line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]}
    assert len(bags) == 2
    for bag in bags:
        assert main(["verify", str(bag), "--key", f"keys/{PUBLIC_KEY}"]) == 0
        assert capsys.readouterr().err.endswith("11 verdict                 VERIFIED\n")


def test_every_run_leaves_a_signed_seal(settings: dict[str, object], capsys: Captured) -> None:
    assert [run(settings), run(settings)] == [0, 0]
    capsys.readouterr()
    assert main(["landscape", "check", "-d", "audit.db", "--key", f"keys/{PUBLIC_KEY}"]) == 0
    assert "2 of 2 sealed runs unchanged\nevery finished run has a seal signed by" in capsys.readouterr().err


def test_a_path_that_ends_in_zip_gives_a_zip_archive(settings: dict[str, object], capsys: Captured) -> None:
    settings["sinks"] = {
        "rest": {"plugin": "csv", "options": {"path": "out/rest.csv"}},
        "trail": {"plugin": "jsonl", "options": {"path": "bags/{run_id}.zip"}},
    }
    assert run(settings) == 0
    (bag,) = Path("bags").iterdir()
    assert bag.is_file()
    assert main(["verify", str(bag), "--key", f"keys/{PUBLIC_KEY}"]) == 0
    assert capsys.readouterr().err.endswith("11 verdict                 VERIFIED\n")


@pytest.mark.parametrize("section", ["export", "seal"])
def test_an_unusable_key_stops_a_run_before_it_begins(
    settings: dict[str, object], capsys: Captured, section: str
) -> None:
    settings["landscape"][section]["key"] = "gone.pem"  # type: ignore[index]
    assert run(settings) == 2
    problem = "gone.pem: cannot be read: No such file or directory"
    assert f"landscape.{section}.key: {problem}" in capsys.readouterr().err
    assert not Path("audit.db").exists()


def test_a_key_in_a_service_needs_its_public_key_in_a_file(settings: dict[str, object], capsys: Captured) -> None:
    settings["landscape"]["seal"] = {"key": "awskms:alias/audit"}  # type: ignore[index]
    assert run(settings) == 2
    problem = "awskms:alias/audit: needs the public key that belongs to it, as a PEM file"
    assert f"landscape.seal.key: {problem}" in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_the_summary_is_printed_even_if_the_export_fails(
    settings: dict[str, object], capsys: Captured, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "bags/new")

    monkeypatch.setattr(run_export, "write_export", fail)
    assert run(settings, *more) == 1
    captured = capsys.readouterr()
    run_id = json.loads(captured.out)["run_id"] if more else captured.out.split()[1]
    assert ('"rows": 2' if more else "rows in         2\n") in captured.out
    reason = "[Errno 28] No space left on device: 'bags/new'"
    assert captured.err == f"error: run {run_id} is complete, but cannot be exported: {reason}\n"


def test_a_run_whose_export_is_interrupted_is_complete(
    settings: dict[str, object], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_export, "write_export", interrupt)
    assert run(settings) == 1
    captured = capsys.readouterr()
    assert "rows in         2\n" in captured.out
    assert captured.err.endswith(" is complete, but cannot be exported: interrupted\n")
