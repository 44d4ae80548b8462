"""Settings in the positional form, rewritten in the wired one."""

from __future__ import annotations

from pathlib import Path

import pytest

from elspeth.core.settings import load_settings
from elspeth.core.settings._yaml_file import read_settings_file
from elspeth.core.settings.conversion import Conversion, convert_settings
from elspeth.core.settings.model import PositionalSettings
from elspeth.plugins.manager import PluginManager

PLUGINS = PluginManager.installed()

HEAD = """\
# Reads orders.

datasource:  # every day
  plugin: jsonl
  # put there by the shop
  options: {path: "${ORDERS:-in.jsonl}"}
gates:
  - name: split
    condition: "True"
    routes: {"true": fork, "false": continue}
    fork_to: [a, b, copy]
row_plugins:
  - {plugin: passthrough, branch: a, name: out}
  - {plugin: passthrough}
  - {plugin: passthrough}
coalesce:
  - {name: split, branches: [a, b], policy: first}
aggregations:
  - {name: sums, plugin: batch_stats, options: {value_field: v}}
# Where results go:
"""
TAIL = """\
sinks:
  # the last one
  out: {plugin: "null"}  # nothing
  copy: {plugin: "null"}
"""
WIRED = """\
# Reads orders.

sources:
  jsonl:
    plugin: jsonl
    on_success: passthrough_1
    options: {path: '${ORDERS:-in.jsonl}'}

transforms:
- {name: out, plugin: passthrough, input: a, on_success: a_done}
- {name: passthrough_1, plugin: passthrough, input: passthrough_1, on_success: passthrough_2}
- {name: passthrough_2, plugin: passthrough, input: passthrough_2, on_success: sums}

gates:
- name: split
  input: split
  condition: 'True'
  routes: {'true': fork, 'false': out}
  fork_to: [a, b, copy]

aggregations:
- name: sums
  plugin: batch_stats
  input: sums
  on_success: split
  options: {value_field: v}
  output_mode: single

coalesce:
- name: split_2
  branches: {a: a_done, b: b}
  policy: first
  on_success: out

"""


def converted(directory: Path, text: str) -> Conversion:
    path = directory / "settings.yaml"
    path.write_text(text)
    settings = load_settings(path, environ={}, plugins=PLUGINS)
    assert isinstance(settings, PositionalSettings)
    result = convert_settings(text, read_settings_file(path), settings)
    path.write_text(result.text)
    load_settings(path, environ={}, plugins=PLUGINS)
    return result


def test_sections_that_stay_the_same_keep_their_text(tmp_path: Path) -> None:
    result = converted(tmp_path, f"{HEAD}{TAIL}output_sink: out\n")
    assert result == Conversion(text=f"{WIRED}# Where results go:\n{TAIL}", lost_comments=2)


def test_anchors_and_flow_style_are_written_out(tmp_path: Path) -> None:
    for text in (
        '# gone\ndatasource: &a {plugin: "null"}\nsinks: {out: *a}\noutput_sink: out\n',
        '{"datasource": {"plugin": "null"}, "sinks": {"out": {"plugin": "null"}}, "output_sink": "out"}',
    ):
        result = converted(tmp_path, text)
        expected = "sources: 'null': {plugin: 'null', on_success: out} sinks: out: {plugin: 'null'}"
        assert " ".join(result.text.split()) == expected
        assert result.lost_comments == text.count("#")


def test_every_comment_above_a_key_stays_with_it(tmp_path: Path) -> None:
    head = '# file\n\ndatasource: {plugin: "null"}\n'
    tail = "# one\n  # two\n# tr\u00e8s bien\nsinks: {out: {plugin: 'null'}}\n# gone\noutput_sink: out\n"
    result = converted(tmp_path, f"{head}labels: {{caf\u00e9: oui}}\n{tail}")
    kept = tail.replace("# gone\noutput_sink: out\n", "")
    assert result.text.endswith(f"labels: {{caf\u00e9: oui}}\n\n{kept}")
    assert result.lost_comments == 1
    shared = converted(
        tmp_path, f"{head}labels: &a {{caf\u00e9: oui}}\nsinks: {{out: {{plugin: 'null'}}}}\noutput_sink: out\n"
    )
    assert "caf\u00e9" in shared.text


@pytest.mark.parametrize(
    ("datasource", "comments"),
    [
        ('{plugin: "null"}  # gone', 1),
        ('  # gone\n  plugin: "null"  # gone\n  # gone', 3),
        ('{plugin: csv, options: {path: "a # b"}}', 0),
        ("\n  plugin: csv\n  options:\n    path: |\n      a\n      # b\n    # gone", 1),
    ],
)
def test_comments_are_lost_wherever_they_stand_in_a_section(tmp_path: Path, datasource: str, comments: int) -> None:
    text = f"# kept\ndatasource: {datasource}\noutput_sink: out\nsinks: {{out: {{plugin: 'null'}}}}  # kept\n"
    result = converted(tmp_path, text)
    assert result.lost_comments == comments
    assert result.text.count("# kept") == 2
    assert "gone" not in result.text


def test_comments_in_settings_of_one_line_style_are_lost(tmp_path: Path) -> None:
    text = '{"datasource": {"plugin": "null"},  # gone\n"sinks": {"out": {"plugin": "null"}}, "output_sink": "out"}\n'
    assert converted(tmp_path, text).lost_comments == 1


def test_a_step_may_have_the_name_of_a_branch(tmp_path: Path) -> None:
    gate = '{name: g, condition: "True", routes: {"true": fork, "false": continue}, fork_to: [copy, a, b]}'
    steps = "row_plugins: [{plugin: passthrough, name: a}, {plugin: passthrough, branch: a, name: b}]\n"
    joins = "coalesce: [{name: j, branches: [a, b]}]\n"
    text = f'datasource: {{plugin: "null"}}\ngates: [{gate}]\n{steps}{joins}output_sink: out\n{TAIL}'
    result = converted(tmp_path, text)
    assert "on_success: to_a" in result.text
    assert "{name: a, plugin: passthrough, input: to_a, on_success: g}" in result.text


def test_a_connection_that_several_steps_write_becomes_a_queue(tmp_path: Path) -> None:
    """The rows that are joined go where the others went."""
    gate = '{name: g, condition: "True", routes: {"true": fork, "false": continue}, fork_to: [a, b]}'
    last = '{name: last, condition: "True", routes: {"true": continue, "false": continue}}'
    text = (
        f'datasource: {{plugin: "null"}}\ngates: [{gate}, {last}]\ncoalesce: [{{name: j, branches: [a, b]}}]\n'
        f'sinks: {{out: {{plugin: "null"}}}}\noutput_sink: out\n'
    )
    result = converted(tmp_path, text)
    assert "queues:\n  last: {}\n" in result.text


def test_a_branch_with_steps_before_its_sink_gets_another_name(tmp_path: Path) -> None:
    gate = '{name: g, condition: "True", routes: {"true": fork, "false": continue}, fork_to: [copy]}'
    steps = "row_plugins: [{plugin: passthrough, branch: copy}]\n"
    text = f'datasource: {{plugin: "null"}}\ngates: [{gate}]\n{steps}output_sink: out\n{TAIL}'
    result = converted(tmp_path, text)
    assert "fork_to: [copy_branch]" in result.text
    assert "input: copy_branch, on_success: copy}" in result.text
