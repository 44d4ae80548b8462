"""The plan of a pipeline with every kind of node."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from elspeth.cli import main

SETTINGS = """
datasource: {plugin: jsonl, options: {path: in.jsonl, on_validation_failure: bad}}
row_plugins:
  - {plugin: passthrough, options: {on_error: bad}}
  - {plugin: passthrough, branch: a}
aggregations:
  - {name: sums, plugin: batch_stats, trigger: {count: 3, timeout_seconds: 1.5}, options: {value_field: v}}
gates:
  - name: "split <\\"it\\">"
    condition: "True"
    routes: {"true": fork, "false": continue}
    fork_to: [a, b, copy]
coalesce:
  - name: meet
    branches: [a, b]
    policy: quorum
    quorum_count: 1
    timeout_seconds: 60
    merge: select
    select_branch: a
output_sink: out
sinks:
  out: {plugin: jsonl, options: {path: out.jsonl}}
  copy: {plugin: database, options: {url: "postgresql+psycopg://u:hunter2@h/d", table: t}}
  bad: {plugin: "null"}
"""

PLAN = """\
source       jsonl in.jsonl
             invalid rows: to sink bad
transform    passthrough
             rows that fail: to sink bad
aggregation  sums: batch_stats
             batches: of 3 rows, after 1.5 seconds, at the end of the source; output single
             rows that fail: recorded and discarded
gate         split <"it">: True
             true: fork to a, b, copy
             false: continue
             branch a: to transform passthrough_1
             branch b: to coalesce meet
             branch copy: to sink copy
transform    passthrough (on branch a)
             rows that fail: recorded and discarded
coalesce     meet: a, b
             quorum of 1 within 60 seconds; merge select a
             merged: to sink out
output       to sink out
sink         out: jsonl out.jsonl
sink         copy: database
sink         bad: null
audit        sqlite:///./runs/audit.db
"""

MERMAID = """\
flowchart TD
    n0(["source jsonl"])
    n1["transform passthrough_0"]
    n2["aggregation sums"]
    n3{"gate split &lt;&quot;it&quot;&gt;"}
    n4["transform passthrough_1"]
    n5["coalesce meet"]
    n6[("sink out")]
    n7[("sink copy")]
    n8[("sink bad")]
    n0 --> n1
    n0 -.->|"invalid"| n8
    n1 --> n2
    n1 -.->|"error"| n8
    n4 --> n5
    n2 --> n3
    n3 -->|"false"| n6
    n3 -->|"a"| n4
    n3 -->|"b"| n5
    n3 -->|"copy"| n7
    n5 --> n6
"""


@pytest.fixture(autouse=True)
def _in_a_directory_with_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("settings.yaml").write_text(SETTINGS)
    Path("in.jsonl").touch()


def test_the_plan_names_every_node_and_every_route(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "-s", "settings.yaml"]) == 0
    assert capsys.readouterr() == (PLAN, "settings.yaml: valid\n")


def test_the_plan_for_programs_has_every_node_and_every_edge(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "-s", "settings.yaml", "--json"]) == 0
    output, errors = capsys.readouterr()
    told = json.loads(output)
    assert (told["settings"], told["valid"], told["warnings"]) == ("settings.yaml", True, [])
    assert errors == "settings.yaml: valid\n"
    nodes, edges = told["plan"]["nodes"], told["plan"]["edges"]
    assert [(node["type"], node["name"], node["plugin"]) for node in nodes] == [
        ("source", "jsonl", "jsonl"),
        ("transform", "passthrough_0", "passthrough"),
        ("aggregation", "sums", "batch_stats"),
        ("gate", 'split <"it">', "config_gate"),
        ("transform", "passthrough_1", "passthrough"),
        ("coalesce", "meet", "coalesce"),
        ("sink", "out", "jsonl"),
        ("sink", "copy", "database"),
        ("sink", "bad", "null"),
    ]
    names = {node["node_id"]: node["name"] for node in nodes}
    assert len(names) == len(nodes)
    assert sorted((names[each["from"]], names[each["to"]], each["label"], each["mode"]) for each in edges) == [
        ("jsonl", "bad", "__quarantine__", "divert"),
        ("jsonl", "passthrough_0", "continue", "move"),
        ("meet", "out", "continue", "move"),
        ("passthrough_0", "bad", "__error__", "divert"),
        ("passthrough_0", "sums", "continue", "move"),
        ("passthrough_1", "meet", "continue", "move"),
        ('split <"it">', "copy", "copy", "copy"),
        ('split <"it">', "meet", "b", "copy"),
        ('split <"it">', "out", "false", "move"),
        ('split <"it">', "passthrough_1", "a", "copy"),
        ("sums", 'split <"it">', "continue", "move"),
    ]


def test_the_graph_is_drawn_for_mermaid(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "-s", "settings.yaml", "--graph", "mermaid"]) == 0
    assert capsys.readouterr() == (MERMAID, "settings.yaml: valid\n")


def test_the_graph_contains_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    Path("settings.yaml").write_text(SETTINGS.replace("name: meet", 'name: "m\\e[31m\\u202e\\u0085t"'))
    assert main(["validate", "-s", "settings.yaml", "--graph", "mermaid"]) == 0
    assert capsys.readouterr().out == MERMAID.replace("coalesce meet", r"coalesce m\x1b[31m\u202e\x85t")


@pytest.mark.parametrize("options", [(), ("--graph", "mermaid"), ("--graph", "svg")])
def test_no_form_of_the_plan_shows_a_password(options: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    Path("settings.yaml").write_text(SETTINGS.replace("name: meet", 'name: "https://me:hunter2@h/"'))
    assert main(["validate", "-s", "settings.yaml", *options]) == 0
    shown = capsys.readouterr().out
    assert ("https://me:[redacted]@h/" in shown, "hunter2" in shown) == (True, False)


def test_an_unknown_graph_format_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "-s", "settings.yaml", "--graph", "dot"]) == 2
    assert "'dot' is not" in capsys.readouterr().err


def test_the_graph_is_drawn_as_a_picture_with_the_names_of_steps(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "-s", "settings.yaml", "--graph", "svg"]) == 0
    output = capsys.readouterr()
    assert output.err == "settings.yaml: valid\n"
    drawn = ET.fromstring(output.out)  # noqa: S314  our own output
    texts = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert sorted(filter(None, texts[:6])) == ["a", "b", "copy", "error", "false", "invalid"]
    assert texts[6:] == [
        "jsonl",
        "source · jsonl",
        "passthrough_0",
        "transform · passthrough",
        "sums",
        "aggregation · batch_stats",
        'split <"it">',
        "gate",
        "passthrough_1",
        "transform · passthrough",
        "meet",
        "coalesce",
        "out",
        "sink · jsonl",
        "copy",
        "sink · database",
        "bad",
        "sink · null",
    ]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "{count: 3, timeout_seconds: 1.5}",
            "{condition: \"row['batch_count'] > 2\"}",
            "             batches: when row['batch_count'] > 2, at the end of the source; output single\n",
        ),
        (
            "policy: quorum\n    quorum_count: 1\n    timeout_seconds: 60\n    merge: select\n    select_branch: a\n",
            "policy: require_all\n",
            "             require_all; merge union\n             merged: to sink out\n",
        ),
        (
            "policy: quorum\n    quorum_count: 1\n",
            "policy: best_effort\n",
            "             best_effort within 60 seconds; merge select a\n",
        ),
        ("path: in.jsonl", "path: [in.jsonl, more.jsonl]", "source       jsonl in.jsonl, more.jsonl\n"),
        (
            "output_sink: out\n",
            "output_sink: out\nlandscape: {export: {enabled: true, path: trail.jsonl.gz}}\n",
            "export       jsonl, gzip trail.jsonl.gz, not signed\n",
        ),
    ],
)
def test_the_plan_agrees_with_the_settings(old: str, new: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert old in SETTINGS
    Path("settings.yaml").write_text(SETTINGS.replace(old, new))
    assert main(["validate", "-s", "settings.yaml"]) == 0
    assert line in capsys.readouterr().out
