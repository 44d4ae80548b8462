"""Unusable settings are explained at once, and nothing is written."""

from pathlib import Path

import pytest

from elspeth.cli import main

GOOD = """\
datasource: {plugin: csv, options: {path: in.csv}}
sinks:
  out: {plugin: csv, options: {path: out/out.csv}}
  odd: {plugin: csv, options: {path: out/odd.csv}}
output_sink: out
gates:
  - name: parity
    condition: row['n'] == '1'
    routes: {"true": odd, "false": continue}
landscape: {url: "sqlite:///runs/audit.db"}
"""

SECTIONS = (
    "sinks, datasource, output_sink, gates, aggregations, coalesce, landscape, concurrency, retry, "
    "checkpoint, fail_if, rate_limit, payload_store, run_mode, replay_source_run_id, openlineage, labels, "
    "limit, row_plugins"
)
RETRY = "max_attempts, initial_delay_seconds, max_delay_seconds, exponential_base"
GET = "expected row.get('field') or row.get('field', default)"
ALLOWED = "expected row['f'], row.get('f', d), comparisons, and/or/not, + - * / %, in, literals, x if c else y, "
ALLOWED += "functions such as len(row['f'])"

TABLE: dict[str, tuple[bytes | None, list[str]]] = {
    "missing file": (None, ["cannot be read: No such file or directory"]),
    "empty file": (b"", ["is empty: expected at least sources and sinks, or datasource, sinks and output_sink"]),
    "binary file": (bytes(range(256)), ["is not UTF-8 text: byte 0x80 in line 2"]),
    "not a mapping": (b"- datasource\n", ["expected a mapping of settings, got a list"]),
    "YAML syntax": (
        b"datasource: {plugin: csv\nsinks: {}\n",
        ["is not valid YAML at line 2, column 6: expected ',' or '}', but got ':'"],
    ),
    "missing sections": (
        b"gates: []\n",
        [
            "sinks: is required but missing",
            "datasource: is required but missing",
            "output_sink: is required but missing",
        ],
    ),
    "unknown plugin": (
        GOOD.replace("{plugin: csv, options: {path: in.csv}}", "{plugin: cvs}").encode(),
        [
            (
                "datasource.plugin: unknown source plugin 'cvs': "
                "expected one of csv, http, json, jsonl, null, parquet, sql; did you mean 'csv'?"
            )
        ],
    ),
    "unknown sink in a route": (
        GOOD.replace('"true": odd', '"true": od').encode(),
        [
            "gates[0].routes.true: unknown sink 'od': expected one of continue, fork, out, odd; did you mean 'odd'?",
        ],
    ),
    "boolean gate with wrong labels": (
        GOOD.replace('"true"', '"yes"').replace('"false"', '"no"').encode(),
        ["gates[0].routes: the condition is true or false: expected the labels 'true' and 'false', got 'yes', 'no'"],
    ),
    "unknown key": (
        GOOD.replace("output_sink: out", "output_sink: out\nretry: {max_atempts: 5}").encode(),
        [
            f"retry.max_atempts: unknown key: expected one of {RETRY}; did you mean 'max_attempts'?",
        ],
    ),
    "unparsable condition": (
        GOOD.replace("row['n'] == '1'", "row['n'] = = '1'").encode(),
        ["gates[0].condition: the condition is not a valid expression at column 10: invalid syntax"],
    ),
    "condition with a call": (
        GOOD.replace("row['n'] == '1'", "row['n'].title() == 1").encode(),
        [
            f"gates[0].condition: the condition has a call at column 1: {GET}",
        ],
    ),
    "condition with an attribute": (
        GOOD.replace("row['n'] == '1'", "row.n == '1'").encode(),
        [
            f"gates[0].condition: the condition has an attribute at column 1, which is not allowed: {ALLOWED}",
        ],
    ),
    "several at once": (
        GOOD.replace("output_sink: out", "output_sink: uot\nretries: 3").replace("row['n'] ==", "row.n ==").encode(),
        [
            f"retries: unknown key: expected one of {SECTIONS}; did you mean 'retry'?",
            "output_sink: unknown sink 'uot': expected one of out, odd; did you mean 'out'?",
            f"gates[0].condition: the condition has an attribute at column 1, which is not allowed: {ALLOWED}",
        ],
    ),
}


@pytest.mark.parametrize("command", [["validate"], ["run"], ["run", "--execute"]], ids=" ".join)
@pytest.mark.parametrize("case", TABLE)
def test_bad_settings_are_explained_and_change_nothing(
    case: str, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    content, problems = TABLE[case]
    if content is not None:
        Path("settings.yaml").write_bytes(content)
    before = sorted(tmp_path.rglob("*"))
    assert main([*command, "-s", "settings.yaml"]) == 2
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    expected = "\n  ".join([f"error: settings.yaml: {count}", *problems])
    assert capsys.readouterr() == ("", f"{expected}\n")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_directory_is_not_a_settings_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "-x", "-s", str(tmp_path)]) == 2
    assert capsys.readouterr() == ("", f"error: {tmp_path}: 1 problem\n  cannot be read: Is a directory\n")
    assert list(tmp_path.iterdir()) == []


def test_the_base_settings_are_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("settings.yaml").write_text(GOOD)
    Path("in.csv").write_text("id\n")
    assert main(["validate", "-s", "settings.yaml"]) == 0
    assert capsys.readouterr().err == "settings.yaml: valid\n"
