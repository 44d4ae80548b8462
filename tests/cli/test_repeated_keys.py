"""An api_key that an endpoint repeats is not kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from elspeth.cli import main
from tests.cli.test_database_passwords import read_database, read_files, run_commands
from tests.contracts.test_known_secret import SPELLINGS
from tests.fixtures.effort import some_of
from tests.fixtures.llm_server import Answer, answers, completion, llm_server, says

pytestmark = pytest.mark.usefixtures("own_directory")

KEY = "sk-Proj_1\"2\\3/+=%&<'>nTu0041-xYz"
PART = KEY[8:24]
TRIED = [
    "unchanged",
    "upper case",
    "JSON in JSON",
    "JSON with all escaped",
    "URL in capitals",
    "HTML",
    "base64",
    "hexadecimal",
]

SETTINGS = """
datasource: {plugin: csv, options: {path: in.csv}}
row_plugins:
  - plugin: llm
    options: {base_url: "%s", model: stub, prompt: "{{ row.id }}", api_key: "${KEY}", on_error: failed}
output_sink: out
sinks: {out: {plugin: jsonl, options: {path: out.jsonl}}, failed: {plugin: jsonl, options: {path: failed.jsonl}}}
concurrency: {max_workers: 1}
retry: {max_attempts: 2, initial_delay_seconds: 0.001}
payload_store: {base_path: payloads}
landscape: {url: "%s"}
"""


def answers_repeating(said: str) -> list[Answer]:
    """Return answers of each kind that repeat a text.

    The last one does not.
    """
    return [
        says(f"Your key: {said}"),
        answers(200, json.dumps({**completion("Hello."), "headers": {"Authorization": f"Bearer {said}"}}).encode()),
        answers(200, f"no JSON: {said}".encode()),
        answers(401, json.dumps({"error": f"Incorrect API key: {said}"}).encode()),
        answers(500, f"<p>{said}</p>".encode()),
        says("Hello."),
    ]


def test_a_repeated_key_is_neither_printed_nor_written(
    database_url: str, own_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEY", KEY)
    monkeypatch.setenv("ELSPETH_FINGERPRINT_KEY", "a key that is long enough")
    forms = [SPELLINGS[each](secret) for secret in (KEY, PART) for each in some_of(TRIED, 0)]
    script = [answer for form in forms for answer in answers_repeating(form)]
    rows = 5 * len(forms)  # a row is retried after a 500
    Path("in.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(rows)))
    with llm_server(*script) as server:
        Path("settings.yaml").write_text(SETTINGS % (server.url, database_url))
        codes, said = run_commands(capsys, ["run", "-s", "settings.yaml", "-x", "--json"])
        assert not server.script
    assert codes == [0]
    assert len(Path("out.jsonl").read_text().splitlines()) == len(forms)
    assert len(Path("failed.jsonl").read_text().splitlines()) == rows - len(forms)
    for name in ("trail.jsonl", "bag"):
        form = "bag" if name == "bag" else "jsonl"
        assert main(["export", "latest", "-d", database_url, "-o", name, "--format", form]) == 0
    everything = said + read_files(own_directory) + read_database(database_url)
    assert "hmac-sha256:" in everything
    assert [form for form in forms if form in everything or json.dumps(form)[1:-1] in everything] == []
    assert KEY[:8] not in everything


def test_a_rotated_key_does_not_affect_comparisons(
    own_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ELSPETH_ALLOW_RAW_SECRETS", "true")
    Path("in.csv").write_text("id\n0\n1\n")
    keys = ("sk-the-first-of-the-keys", "sk-another-key-of-ours")
    script = [answer for key in keys for answer in (says("Hello."), says(f"Your key: {key}"))]
    with llm_server(*script) as server:
        text = SETTINGS % (server.url, "sqlite:///audit.db")
        for key, mode in zip(keys, ("", "run_mode: verify\nreplay_source_run_id: latest\n"), strict=True):
            monkeypatch.setenv("KEY", key)
            Path("settings.yaml").write_text(text + mode)
            codes, said = run_commands(capsys, ["run", "-s", "settings.yaml", "-x"])
            assert codes == [0], said
        assert "answers that differ  0\n" in said
        Path("settings.yaml").write_text(text + "run_mode: replay\nreplay_source_run_id: latest\n")
        codes, said = run_commands(capsys, ["run", "-s", "settings.yaml", "-x", "--json"])
    assert codes == [0], said
    assert json.loads(said)["rows_by_sink"] == {"out": 1, "failed": 1}
    assert not any(key in read_files(own_directory) for key in keys)
