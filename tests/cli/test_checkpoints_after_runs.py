"""Runs that leave checkpoints of the log of runs."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.sealing.seal import read_seals
from elspeth.engine.log_checkpoints import LogCheckpoints
from elspeth.evidence.format.notes import NoteKeyType, NoteSigner
from elspeth.evidence.format.signatures import PRIVATE_KEY, PUBLIC_KEY, KeyType, generate_keys, load_signer
from tests.evidence.format.test_notes import signer_of

Captured = pytest.CaptureFixture[str]
Settings = dict[str, object]

UNREACHABLE = "http://127.0.0.1:1"
SIGNER = signer_of(Ed25519PrivateKey.from_private_bytes(b"\4" * 32), "w.example")
WITNESS_KEY = str(SIGNER.verifier_key(NoteKeyType.COSIGNATURE))
LOG_KEY = str(SIGNER.verifier_key(NoteKeyType.ED25519))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a key of each type."""
    directory = tmp_path_factory.mktemp("keys")
    generate_keys(directory / "log", KeyType.ED25519)
    generate_keys(directory / "other", KeyType.ECDSA)
    return directory


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: Path) -> Settings:
    """Return settings whose runs leave checkpoints."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(keys, "keys")
    Path("in.csv").write_text("id,kind\n1,x\n2,y\n")
    return {
        "datasource": {"plugin": "csv", "options": {"path": "in.csv"}},
        "sinks": {"rest": {"plugin": "csv", "options": {"path": "out/rest.csv"}}},
        "output_sink": "rest",
        "landscape": {
            "url": "sqlite:///audit.db",
            "log": {"key": f"keys/log/{PRIVATE_KEY}", "after_run": [{"file": "kept/"}]},
        },
    }


def log_of(settings: Settings) -> dict[str, object]:
    return settings["landscape"]["log"]  # type: ignore[index,no-any-return]


def run(settings: Settings, *more: str) -> int:
    Path("settings.yaml").write_text(yaml.safe_dump(settings))
    return main(["run", "-s", "settings.yaml", "--execute", *more])


def status(capsys: Captured) -> list[object]:
    capsys.readouterr()
    assert main(["landscape", "status", "-d", "audit.db", "--json"]) == 0
    found: list[object] = json.loads(capsys.readouterr().out)["overdue_checkpoints"]
    return found


def test_every_run_leaves_a_checkpoint_that_is_checked_later(settings: Settings, capsys: Captured) -> None:
    assert [run(settings), run(settings)] == [0, 0]
    assert len(list(Path("kept").iterdir())) == 2
    assert status(capsys) == []
    public = f"keys/log/{PUBLIC_KEY}"
    assert main(["landscape", "log", "check", "-d", "audit.db", "--against", "kept", "--key", public]) == 0
    assert capsys.readouterr().err.startswith("2 of 2 kept checkpoints hold\n")


def interrupt(*_: object, **__: object) -> list[str]:
    raise KeyboardInterrupt


def test_every_place_is_overdue_if_the_process_ends_before_the_checkpoint(
    settings: Settings, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_of(settings)["after_run"] = [{"file": "kept/"}, {"file": "also/log.checkpoint"}]
    monkeypatch.setattr(LogCheckpoints, "leave", interrupt)
    run(settings)
    assert [each["place"] for each in status(capsys)] == ["also/log.checkpoint", "kept/"]  # type: ignore[index]


def test_an_abandoned_run_names_its_places_first(
    settings: Settings, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("elspeth.engine.publishing.SinkSet.publish", interrupt)
        run(settings)
    log_of(settings)["after_run"] = [{"file": "also/"}]
    Path("settings.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.setattr(LogCheckpoints, "leave", interrupt)
    main(["resume", "latest", "-s", "settings.yaml", "--abandon"])
    assert "also/" in [each["place"] for each in status(capsys)]  # type: ignore[index]


def test_the_phases_of_a_run_are_logged_in_their_order(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings["landscape"]["export"] = {"enabled": True, "path": "trail.jsonl"}  # type: ignore[index]
    with caplog.at_level(logging.INFO, "elspeth.events"):
        assert run(settings) == 0
    phases = ("rows", "proof", "publish", "seal", "checkpoint", "export")
    assert [text for text in caplog.messages if text.endswith(" began") and " " not in text[:-6]] == [
        f"{phase} began" for phase in phases
    ]


def test_a_run_that_fails_leaves_a_checkpoint_too(settings: Settings, capsys: Captured) -> None:
    settings["checkpoint"] = {"enabled": False}
    Path("in.csv").write_text("id,kind\n1,x\n2\n3,y\n")
    settings["fail_if"] = {"quarantined": 0}
    assert run(settings) == 1
    assert len(list(Path("kept").iterdir())) == 1
    assert status(capsys) == []


def test_an_unreachable_witness_fails_no_run_and_is_shown_as_overdue(
    settings: Settings, capsys: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    log_of(settings)["after_run"] = [{"witness": UNREACHABLE, "key": WITNESS_KEY}, {"file": "{run_id}.checkpoint"}]
    assert run(settings, "--json") == 0
    output, errors = capsys.readouterr()
    problem = f"witness {UNREACHABLE}: does not answer: [Errno 111] Connection refused"
    warning = f"the checkpoint for {UNREACHABLE} is overdue: {problem}"
    assert json.loads(output)["overdue_checkpoints"] == [warning]
    assert ("elspeth.events", logging.ERROR, warning) in caplog.record_tuples
    assert Path(f"{json.loads(output)['run_id']}.checkpoint").exists()
    assert f"warning: {warning}\n" in errors
    (found,) = status(capsys)
    assert found == {**found, "place": UNREACHABLE, "problem": problem, "entries": None}  # type: ignore[dict-item]
    assert main(["landscape", "status", "-d", "audit.db"]) == 0
    assert f"overdue checkpoints  {UNREACHABLE}: no checkpoint was left there: {problem}" in capsys.readouterr().out


def test_overdue_checkpoints_are_left_later(settings: Settings, capsys: Captured) -> None:
    log_of(settings)["after_run"] = [{"file": "gone/log.checkpoint"}]
    Path("gone").write_text("a file")
    code = run(settings)
    errors = capsys.readouterr().err
    assert code == 0, errors
    assert "the checkpoint for gone/log.checkpoint is overdue: " in errors
    assert len(status(capsys)) == 1
    assert main(["landscape", "log", "leave", "-s", "settings.yaml", "--json"]) == 1
    output, errors = capsys.readouterr()
    assert "the checkpoint for gone/log.checkpoint is overdue: " in errors
    assert json.loads(output) == {"places": 1, "problems": errors.splitlines(), "forgotten": []}
    log_of(settings)["after_run"] = [{"file": "kept/{date}/"}]
    Path("settings.yaml").write_text(yaml.safe_dump(settings))
    assert main(["landscape", "log", "leave", "-s", "settings.yaml", "--json"]) == 0
    output, errors = capsys.readouterr()
    assert errors == (
        "gone/log.checkpoint: forgotten, as the settings do not name it\na checkpoint was left at 1 place\n"
    )
    assert json.loads(output) == {"places": 1, "problems": [], "forgotten": ["gone/log.checkpoint"]}
    assert len(list(Path("kept").glob("*/*.checkpoint"))) == 1
    assert status(capsys) == []


def test_a_checkpoint_is_left_after_the_last_run_was_pruned(settings: Settings, capsys: Captured) -> None:
    log_of(settings)["after_run"] = [{"file": "log.checkpoint"}]
    assert run(settings, "--json") == 0
    run_id = json.loads(capsys.readouterr().out)["run_id"]
    before = Path("log.checkpoint").read_bytes()
    prune = ["landscape", "prune", "-d", "audit.db", "--before", "2100-01-01", "--archive", "archive", "--execute"]
    assert main(prune) == 0
    log_of(settings)["after_run"] = [{"file": "log.checkpoint"}, {"file": "kept/{run_id}.checkpoint"}]
    Path("settings.yaml").write_text(yaml.safe_dump(settings))
    capsys.readouterr()
    assert main(["landscape", "log", "leave", "-s", "settings.yaml"]) == 0
    assert capsys.readouterr().err == "a checkpoint was left at 2 places\n"
    assert Path("log.checkpoint").read_bytes() == Path(f"kept/{run_id}.checkpoint").read_bytes() != before
    assert status(capsys) == []


def test_settings_without_places_leave_no_checkpoint(settings: Settings, capsys: Captured) -> None:
    del settings["landscape"]["log"]  # type: ignore[attr-defined]
    Path("settings.yaml").write_text(yaml.safe_dump(settings))
    assert main(["landscape", "log", "leave", "-s", "settings.yaml"]) == 2
    expected = "settings.yaml leaves no checkpoints: name places in landscape.log.after_run"
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"key": None}, "landscape.log.key: is required where checkpoints are left: the Ed25519 key that signs them"),
        ({"key": "gone.pem"}, "landscape.log.key: gone.pem: cannot be read: No such file or directory"),
        (
            {"key": f"keys/other/{PRIVATE_KEY}"},
            f"landscape.log.key: keys/other/{PRIVATE_KEY}: expected an Ed25519 key, as signed notes have, got ecdsa: ",
        ),
        ({"after_run": [{}]}, "landscape.log.after_run[0]: expected either a file or a witness"),
        ({"after_run": [{"witness": "https://w.example"}]}, "landscape.log.after_run[0].key: is required: the key"),
        ({"after_run": [{"file": "a", "key": "b"}]}, "landscape.log.after_run[0].key: is for a witness: leave it out"),
        ({"after_run": [{"file": "{run}"}]}, "landscape.log.after_run[0].file: unknown placeholder {run}: expected"),
        ({"after_run": [{"file": "out/rest.csv"}]}, "landscape.log.after_run[0].file: the file 'out/rest.csv' is also"),
        ({"after_run": [{"file": "audit.db"}]}, "landscape.log.after_run[0].file: audit.db: is the audit database"),
        (
            {"after_run": [{"witness": "https://u:p@w.example", "key": WITNESS_KEY}]},
            "landscape.log.after_run[0].witness: expected a URL without user and password, as it is recorded",
        ),
        (
            {"after_run": [{"witness": "https://w.example", "key": "w.example"}]},
            "landscape.log.after_run[0].key: expected a verifier key, NAME+ID+BASE64, got 'w.example'",
        ),
        (
            {"after_run": [{"witness": "https://w.example", "key": LOG_KEY}]},
            "landscape.log.after_run[0].key: expected the key of a witness, got that of a log",
        ),
        (
            {"after_run": [{"witness": f"https://{name}.example", "key": name} for name in "vw"]},
            "landscape.log.after_run[1].key: expected a verifier key, NAME+ID+BASE64, got 'w'",
        ),
        (
            {"after_run": [{"witness": "https://w.example", "key": WITNESS_KEY}], "timestamp": "https://tsa.example"},
            "landscape.log.timestamp: is for the files of after_run, and there is none",
        ),
    ],
)
def test_bad_places_are_reported_before_a_run(
    settings: Settings, capsys: Captured, changes: Settings, problem: str
) -> None:
    log_of(settings).update(changes)
    assert run(settings) == 2
    assert problem in capsys.readouterr().err
    assert not Path("audit.db").exists()


def test_an_abandoned_run_leaves_a_checkpoint(
    settings: Settings, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from elspeth.engine.publishing import SinkSet  # noqa: PLC0415  patched here only

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    settings["landscape"]["seal"] = {"key": f"keys/other/{PRIVATE_KEY}"}  # type: ignore[index]
    with monkeypatch.context() as patched:
        patched.setattr(SinkSet, "publish", stop)
        run(settings)
    assert not Path("kept").exists()
    capsys.readouterr()
    assert main(["resume", "latest", "-s", "settings.yaml", "--abandon"]) == 0
    assert len(list(Path("kept").iterdir())) == 1
    assert status(capsys) == []
    with LandscapeDB.from_url("sqlite:///audit.db") as db, db.connection() as connection:
        assert [seal.envelope_json is not None for seal in read_seals(connection)] == [True]


def verify(capsys: Captured, *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["verify", *arguments])
    return (code, *capsys.readouterr())


def test_bags_of_two_runs_show_one_history(settings: Settings, capsys: Captured) -> None:
    key = {"key": f"keys/other/{PRIVATE_KEY}", "sign": True}
    settings["landscape"]["export"] = {"enabled": True, "format": "bag", "path": "bags/{run_id}.zip", **key}  # type: ignore[index]
    assert [run(settings), run(settings)] == [0, 0]
    bags = sorted(map(str, Path("bags").iterdir()))
    public = ("--key", f"keys/other/{PUBLIC_KEY}")
    code, _, errors = verify(capsys, *bags, *public)
    lines = errors.splitlines()
    assert code == 0, errors
    assert [lines[0], lines[12], lines[-1]] == [f"{bags[0]}:", f"{bags[1]}:", "2 bags are points of one history"]
    origin = lines[10].partition(" in ")[2].partition(";")[0]
    signer = NoteSigner(name=origin, signer=load_signer(f"keys/log/{PRIVATE_KEY}"))
    Path("policy").write_text(f"log {signer.verifier_key(NoteKeyType.ED25519)}\nquorum none\n")
    code, output, _ = verify(capsys, *bags, *public, "--policy", "policy", "--json")
    found = json.loads(output)
    assert (code, found["history"]) == (0, [])
    details = [each["steps"][9]["detail"] for each in found["bags"]]
    assert [each.partition("; ")[2] for each in details] == [
        "in a signed checkpoint of 3 entries",
        "in a signed checkpoint of 5 entries",
    ]
    Path("audit.db").unlink()
    for path in Path("kept").iterdir():
        path.unlink()  # of the database that is gone
    assert run(settings, "--force") == 0
    bags = sorted(map(str, Path("bags").iterdir()))
    code, output, errors = verify(capsys, *bags, *public, "--json")
    assert code == 1
    assert "one of them is of another database, or the log was removed and begun anew" in errors
    assert len(json.loads(output)["history"]) >= 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("a.zip", "b.json"), "several paths are compared as bags of one database: name directories or .zip files"),
        (("a.zip", "b.zip", "--policy", "gone"), "gone: cannot be read: No such file or directory"),
    ],
)
def test_bags_that_cannot_be_compared_are_refused(capsys: Captured, arguments: tuple[str, ...], problem: str) -> None:
    code, _, errors = verify(capsys, *arguments)
    assert code in {1, 2}
    assert problem in errors
