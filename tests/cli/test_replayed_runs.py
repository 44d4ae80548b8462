"""Runs that replay or verify a recorded run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.engine.orchestrator import Orchestrator
from tests.engine.pipelines import groups_of
from tests.fixtures.llm_server import Answer, answers, llm_server, says

pytestmark = pytest.mark.usefixtures("own_directory")

Captured = pytest.CaptureFixture[str]

SETTINGS = """
datasource: {plugin: csv, options: {path: in.csv}}
row_plugins:
  - plugin: llm
    options: {base_url: "%(url)s", model: stub, prompt: "{{ row.id }}", response_schema: ["n: int"]}
output_sink: out
sinks: {out: {plugin: jsonl, options: {path: out.jsonl}}}
concurrency: {max_workers: 1}
retry: {max_attempts: 1}
payload_store: {base_path: payloads}
landscape: {url: "%(database)s"}
"""


def answer(number: object) -> Answer:
    return says(json.dumps({"n": number}))


def run_command(capsys: Captured, *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def run(capsys: Captured, *arguments: str, **mode: str) -> dict[str, Any]:
    """Run the pipeline in a mode; return its summary."""
    overrides = [f"{name}: {value}\n" for name, value in mode.items()]
    Path("mode.yaml").write_text(Path("settings.yaml").read_text() + "".join(overrides))
    code, out, err = run_command(capsys, *(arguments or ("run",)), "-s", "mode.yaml", "-x", "--json")
    summary: dict[str, Any] = json.loads(out) if out else {}
    return {**summary, "code": code, "err": err}


def write_settings(url: str, database: str, rows: int = 4) -> None:
    Path("in.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(rows)))
    Path("settings.yaml").write_text(SETTINGS % {"url": url, "database": database})


def replayed_run_id(database: str, run_id: str) -> object:
    """Return the id of the run that a run replayed."""
    with LandscapeDB.from_url(database, create_tables=False) as db:
        recorded = LandscapeRecorder(db).get_run(run_id)
        assert recorded is not None
        return json.loads(recorded.settings_json)["replay_source_run_id"]


def test_differing_answers_are_listed_by_row(database_url: str, capsys: Captured) -> None:
    live = [answer(0), answer(1), answer(2), answers(400), answer(4)]
    now = [answer(0), says("nothing"), answer(7), answer(3), answers(400)]
    with llm_server(*live, *now) as server:
        write_settings(server.url, database_url, rows=5)
        first = run(capsys)
        second = run(capsys, run_mode="verify", replay_source_run_id="latest")
    assert (first["code"], first["differences"], first["differing_rows"]) == (0, None, [])
    assert (second["code"], second["differences"], second["differing_rows"]) == (1, 4, [1, 2, 3, 4])
    assert second["err"] == "error: answers that are not those of the recorded run: 4\n"
    code, out, err = run_command(capsys, "differences", "-d", database_url, "--json")
    assert (code, err) == (0, "")
    listed = json.loads(out)
    assert (listed["run_id"], listed["verified_run_id"]) == (second["run_id"], first["run_id"])
    told = [(each["row_index"], each["recorded_hash"] is None, each["failed"]) for each in listed["differences"]]
    assert told == [(1, False, True), (2, False, False), (3, True, False), (4, False, True)]
    run_command(capsys, "export", "latest", "-d", database_url, "-o", "trail.jsonl")
    assert run_command(capsys, "differences", "--from", "trail.jsonl", "--json") == (0, out, "")
    code, out, _ = run_command(capsys, "diff", first["run_id"], "trail.jsonl", "-d", database_url, "--json")
    found = {row["row"]: row["differs"] for row in json.loads(out)["rows"]}
    failing = ["outcomes", "failed_at", "answers"]
    assert (code, found) == (1, {1: failing, 2: ["answers"], 3: failing, 4: failing})
    code, out, err = run_command(capsys, "differences", second["run_id"][:-1], "-d", database_url)
    heading, *lines = out.splitlines()
    assert heading.split("  ")[0] == "row"
    assert [line.split()[0] for line in lines] == ["1", "2", "3", "4"]
    assert [line.split()[2] for line in lines] == [each["node_id"] for each in listed["differences"]]
    assert (code, err) == (
        0,
        f"run {second['run_id']}: 4 answers differ from those of run {first['run_id']}\n",
    )
    code, out, err = run_command(capsys, "differences", first["run_id"], "-d", database_url)
    message = f"error: run {first['run_id']} compared no answers: its run_mode was not verify\n"
    assert (code, out, err) == (1, "", message)


HTTP = """
datasource: {plugin: csv, options: {path: in.csv}}
row_plugins:
  - plugin: http
    options: {url: "%(url)s/{id}", allowed_networks: [127.0.0.1], fields: {n: body.n}}
output_sink: out
sinks: {out: {plugin: jsonl, options: {path: out.jsonl}}}
concurrency: {max_workers: 1}
retry: {max_attempts: 2, initial_delay_seconds: 0.01}
payload_store: {base_path: payloads}
landscape: {url: "%(database)s"}
"""


def test_answers_of_a_server_are_replayed_and_verified(database_url: str, capsys: Captured) -> None:
    numbers = [answers(200, json.dumps({"n": number}).encode()) for number in range(3)]
    with llm_server(answers(503), *numbers[:2], numbers[0], numbers[2]) as server:
        write_settings(server.url, database_url, rows=2)
        Path("settings.yaml").write_text(HTTP % {"url": server.url, "database": database_url})
        assert run(capsys)["code"] == 0
        written = Path("out.jsonl").read_bytes()
        Path("out.jsonl").unlink()
        assert run(capsys, run_mode="replay", replay_source_run_id="latest")["code"] == 0
        assert (Path("out.jsonl").read_bytes(), len(server.received)) == (written, 3)
        verified = run(capsys, run_mode="verify", replay_source_run_id="latest")
    assert (verified["code"], verified["differing_rows"]) == (1, [1])
    assert written == b'{"id": "0", "n": 0}\n{"id": "1", "n": 1}\n'


def test_the_summary_names_the_first_differing_rows(capsys: Captured) -> None:
    database = "sqlite:///audit.db"
    with llm_server(
        *(answer(0) for _ in range(12)),
        *(answer(1) for _ in range(12)),
        *(answer(0) for _ in range(12)),
    ) as server:
        write_settings(server.url, database, rows=12)
        first = run(capsys)
        verify = Path("settings.yaml").read_text() + f"run_mode: verify\nreplay_source_run_id: {first['run_id']}\n"
        Path("mode.yaml").write_text(verify)
        _, out, _ = run_command(capsys, "run", "-s", "mode.yaml", "-x")
        rows = "rows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...; elspeth differences lists them"
        assert f"answers that differ  12 ({rows})\n" in out
        code, out, _ = run_command(capsys, "run", "-s", "mode.yaml", "-x")
    assert code == 0
    assert "answers that differ  0\n" in out
    assert run_command(capsys, "differences", "-d", "audit.db")[1] == ""


def test_a_run_may_be_named_latest_or_by_the_beginning_of_its_id(database_url: str, capsys: Captured) -> None:
    with llm_server(*(answer(number) for number in range(4))) as server:
        write_settings(server.url, database_url)
        first = run(capsys)
    wrote = Path("out.jsonl").read_text()
    for name in ("latest", first["run_id"][:-1], first["run_id"]):
        Path("out.jsonl").unlink()
        again = run(capsys, run_mode="replay", replay_source_run_id=name)
        assert (again["code"], Path("out.jsonl").read_text()) == (0, wrote), again["err"]
        assert replayed_run_id(database_url, again["run_id"]) == first["run_id"]
    start = first["run_id"][0]  # it takes years until new ids begin with another letter
    code, out, err = run_command(capsys, "export", start, "-d", database_url, "-o", "trail.jsonl")
    assert (code, out) == (1, "")
    assert f"holds 4 runs '{start}'...: " in err
    assert f"{again['run_id']} (completed, began 2" in err


def test_a_missing_run_cannot_be_replayed(database_url: str, capsys: Captured) -> None:
    write_settings("http://127.0.0.1:1", database_url)
    for name, problem in (("latest", "holds no run"), ("abc", "holds no run 'abc'")):
        failed = run(capsys, run_mode="replay", replay_source_run_id=name)
        assert failed["code"] == 1
        assert failed["err"].endswith(f" {problem}\n")
    with LandscapeDB.from_url(database_url) as db:
        assert LandscapeRecorder(db).list_runs() == []


def test_a_resumed_run_replays_the_same_run(
    database_url: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups_of(monkeypatch, 2)
    with llm_server(*(answer(number) for number in range(4))) as server:
        write_settings(server.url, database_url)
        first = run(capsys)
    wrote = Path("out.jsonl").read_text()
    Path("out.jsonl").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(Orchestrator, "_prove_every_row_ended", _fail)
        stopped = run(capsys, run_mode="replay", replay_source_run_id="latest")
    assert stopped["code"] == 1
    resumed = run(capsys, "resume", "latest", run_mode="replay", replay_source_run_id="latest")
    assert (resumed["code"], Path("out.jsonl").read_text()) == (0, wrote), resumed["err"]
    assert replayed_run_id(database_url, resumed["run_id"]) == first["run_id"]


def _fail(*_: object) -> None:
    raise OSError("the cable was pulled")
