"""Loading settings: file, environment, and all problems at once."""

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts.environment import VARIABLES
from elspeth.contracts.plugins import PluginKind, PluginOptions, SourceOptions, TransformOptions
from elspeth.contracts.schema import MAX_INTEGER
from elspeth.core.settings import Settings, SettingsError, _yaml_file, load_settings
from elspeth.core.settings._yaml_file import read_settings_file, read_settings_mapping
from elspeth.core.settings.loading import load_landscape, read_dotenv
from elspeth.plugins.csv import CsvSinkOptions

ROOT = Path(__file__).parent.parent.parent.parent


class Catalogue:
    """Plugins for tests, independent of installed ones."""

    models: dict[tuple[PluginKind, str], type[PluginOptions]]

    def __init__(self) -> None:
        self.models = {
            (PluginKind.SOURCE, "csv"): FileSourceOptions,
            (PluginKind.SOURCE, "null"): SourceOptions,
            (PluginKind.TRANSFORM, "passthrough"): TransformOptions,
            (PluginKind.TRANSFORM, "explode"): TransformOptions,
            (PluginKind.AGGREGATION, "stats"): TransformOptions,
            (PluginKind.SINK, "csv"): CsvSinkOptions,
            (PluginKind.SINK, "null"): PluginOptions,
            (PluginKind.SINK, "table"): TableSinkOptions,
        }

    def names(self, kind: PluginKind) -> list[str]:
        return sorted(name for known, name in self.models if known is kind)

    def options_model(self, kind: PluginKind, name: str) -> type[PluginOptions]:
        return self.models[kind, name]

    def expands(self, name: str, options: Mapping[str, object]) -> bool:  # noqa: ARG002
        return name == "explode"

    def calls(self, kind: PluginKind, name: str) -> bool:  # noqa: ARG002
        return name == "call"


class FileSourceOptions(SourceOptions):
    path: str


class TableSinkOptions(PluginOptions):
    url: str
    table: str


TWO_TABLES = """plugin: table
    options: {url: sqlite:///a.db, table: people}
  other:
    plugin: table
    options: {url: sqlite:///a.db, table: people}"""


SECOND = '\n  - {{name: second, condition: "True", routes: {{"true": out, "false": {}}}}}'
THIRD = '\n  - {name: third, condition: "True", routes: {"true": out, "false": out}}'
SOME_ERROR_FIELDS = '{mode: strict, fields: ["kind: str", "error_reason: str", "error_step: str"]}'
SPARE_SINK = """  spare:
    plugin: csv
    options: {path: spare.csv}
output_sink: out
landscape: {export: {enabled: false, sink: spare, format: csv}}"""


VALID = """
datasource:
  plugin: csv
  options: {path: in.csv}
sinks:
  out:
    plugin: csv
    options: {path: out.csv}
  other:
    plugin: csv
    options: {path: other.csv}
output_sink: out
gates:
  - name: split
    condition: row['kind'] == 'x'
    routes:
      true: other
      "false": continue
"""


def load(tmp_path: Path, text: str, **environ: str) -> Settings:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    return load_settings(path, environ=environ, plugins=Catalogue())


def problems(tmp_path: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text, **environ)
    return [str(problem) for problem in caught.value.problems]


def test_defaults_agree_with_the_reference(tmp_path: Path) -> None:
    settings = load(tmp_path, VALID)
    assert settings.landscape.url == "sqlite:///./runs/audit.db"
    assert (settings.landscape.enabled, settings.landscape.auto_migrate) == (True, False)
    assert not settings.landscape.export.enabled
    assert not settings.landscape.export.sign
    assert settings.concurrency.max_workers == 4
    assert settings.retry.model_dump() == {
        "max_attempts": 3,
        "initial_delay_seconds": 1.0,
        "max_delay_seconds": 60.0,
        "exponential_base": 2.0,
    }
    assert (settings.checkpoint.enabled, settings.checkpoint.aggregation_boundaries) == (True, True)
    assert (settings.payload_store.base_path, settings.payload_store.retention_days) == (".elspeth/payloads", 90)
    assert settings.run_mode == "live"


def test_an_unquoted_true_can_be_a_label(tmp_path: Path) -> None:
    assert load(tmp_path, VALID).gates[0].routes == {"true": "other", "false": "continue"}


def test_names_are_stripped_and_have_at_most_64_characters(tmp_path: Path) -> None:
    assert load(tmp_path, VALID.replace("split", f"' {'x' * 64} '")).gates[0].name == "x" * 64
    (found,) = problems(tmp_path, VALID.replace("split", "x" * 65))
    assert found.startswith("gates[0].name: expected at most 64 characters, got ")


def test_a_line_break_in_a_key_does_not_start_another_problem(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, f'{VALID}"a\\nb: c": 1\n')
    assert len(str(caught.value).splitlines()) == 2


def test_numbers_can_be_labels(tmp_path: Path) -> None:
    text = VALID.replace("row['kind'] == 'x'", "row['n'] % 2").replace("true:", "1:").replace('"false":', "0:")
    assert load(tmp_path, text).gates[0].routes == {"1": "other", "0": "continue"}


def test_variables_are_expanded_with_defaults(tmp_path: Path) -> None:
    text = VALID.replace("out.csv", '"${DIR:-output}/${NAME}.csv"')
    assert load(tmp_path, text, NAME="result").sinks["out"].options == {"path": "output/result.csv"}
    assert load(tmp_path, text, NAME="result", DIR="").sinks["out"].options == {"path": "/result.csv"}
    text = VALID.replace("out.csv", '"result${SUFFIX:-}.csv"')
    assert load(tmp_path, text).sinks["out"].options == {"path": "result.csv"}


def test_an_unset_variable_without_default_is_a_problem(tmp_path: Path) -> None:
    assert problems(tmp_path, VALID.replace("out.csv", '"${NAME}.csv"')) == [
        "sinks.out.options.path: environment variable NAME is not set: set it, or write a default as ${NAME:-default}"
    ]


def test_the_environment_overrides_keys_at_any_depth(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        VALID,
        ELSPETH_CONCURRENCY__MAX_WORKERS="8",
        ELSPETH_LANDSCAPE__EXPORT__SIGN="true",
        ELSPETH_SINKS__OUT__OPTIONS__PATH="elsewhere.csv",
        ELSPETH_GATES__0__NAME="renamed",
        ELSPETH_SIGNING_KEY="is no override",
        OTHER__KEY="is not ours",
    )
    assert settings.concurrency.max_workers == 8
    assert settings.landscape.export.sign
    assert settings.sinks["out"].options["path"] == "elsewhere.csv"
    assert settings.gates[0].name == "renamed"


def test_an_override_reaches_a_key_with_capitals(tmp_path: Path) -> None:
    capitals = VALID.replace("out:", "Out:").replace("output_sink: out", "output_sink: Out")
    settings = load(tmp_path, capitals, ELSPETH_SINKS__OUT__OPTIONS__PATH="elsewhere.csv")
    paths = {name: sink.options["path"] for name, sink in settings.sinks.items()}
    assert paths == {"Out": "elsewhere.csv", "other": "other.csv"}


def test_an_override_beyond_the_end_of_a_list_is_a_problem(tmp_path: Path) -> None:
    assert problems(tmp_path, VALID, ELSPETH_GATES__1__NAME="second", ELSPETH_GATES__2="third") == [
        "the environment sets ELSPETH_GATES__1__NAME: the settings have nothing at that place that could hold it",
        "the environment sets ELSPETH_GATES__2: the settings have nothing at that place that could hold it",
    ]


def test_the_environment_overrides_keys_at_the_top(tmp_path: Path) -> None:
    settings = load(tmp_path, VALID, ELSPETH_RUN_MODE="replay", ELSPETH_REPLAY_SOURCE_RUN_ID="latest")
    assert (settings.run_mode, settings.replay_source_run_id) == ("replay", "latest")


def test_an_unknown_variable_with_the_prefix_is_a_problem(tmp_path: Path) -> None:
    known = (
        "expected one of ELSPETH_SIGNING_KEY, ELSPETH_FINGERPRINT_KEY, ELSPETH_ALLOW_RAW_SECRETS, "
        "ELSPETH_KEY_PASSPHRASE, "
        "ELSPETH_SETTINGS, ELSPETH_DATABASE, ELSPETH_NO_PROGRESS, ELSPETH_LOG_LEVEL, ELSPETH_LOG_FORMAT, "
        "ELSPETH_OUTPUT_SINK, ELSPETH_RUN_MODE, ELSPETH_REPLAY_SOURCE_RUN_ID, ELSPETH_LIMIT, or ELSPETH_SECTION__KEY"
    )
    environ = {"ELSPETH_RUN_MOD": "replay", "ELSPETH_SIGNING_KY": "k", "ELSPETH_RETRY": "1", "ELSPETH_X": ""}
    found = problems(tmp_path, VALID, **environ)
    assert found == [
        "the environment sets ELSPETH_RETRY: 'retry' is a section: name a key in it, as in ELSPETH_RETRY__KEY",
        f"the environment sets ELSPETH_RUN_MOD: {known}; did you mean 'ELSPETH_RUN_MODE'?",
        f"the environment sets ELSPETH_SIGNING_KY: {known}; did you mean 'ELSPETH_SIGNING_KEY'?",
        f"the environment sets ELSPETH_X: {known}",
    ]


def test_every_variable_that_is_read_is_known() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    named = set(re.findall(r"\bELSPETH_[A-Z_]*[A-Z]\b", source))
    assert named - {"ELSPETH_SECTION", "ELSPETH_KEY"} - {"ELSPETH_SECTION__KEY"} == set(VARIABLES)


def test_a_section_that_may_be_left_out_is_a_section_too(tmp_path: Path) -> None:
    environ = dict.fromkeys(["ELSPETH_FAIL_IF", "ELSPETH_OPENLINEAGE", "ELSPETH_COALESCE", "ELSPETH_LABELS"], "1")
    assert problems(tmp_path, VALID, **environ) == [
        f"the environment sets {name}: {name.removeprefix('ELSPETH_').lower()!r} is a section: "
        f"name a key in it, as in {name}__KEY"
        for name in sorted(environ)
    ]


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("limit", "expected KEY=VALUE, with dots in KEY, as in landscape.url=sqlite:///audit.db"),
        ("=1", "expected KEY=VALUE, with dots in KEY, as in landscape.url=sqlite:///audit.db"),
        ("sinks..out=1", "expected KEY=VALUE, with dots in KEY, as in landscape.url=sqlite:///audit.db"),
        ("limit=" + "[" * 5000, "the value is not valid YAML: nested too deeply"),
        ("limit=]", "the value is not valid YAML: expected the node content, but found ']'"),
        ("limit={a: .inf}", "the value expected a finite number, got inf"),
        ("gates.7.name=x", "the settings have nothing at that place that could hold it"),
    ],
    ids=lambda text: text[:30],
)
def test_an_override_that_cannot_be_applied_is_a_problem(tmp_path: Path, override: str, problem: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(VALID)
    with pytest.raises(SettingsError) as caught:
        load_settings(path, environ={}, plugins=Catalogue(), overrides=[override, "limit=3"])
    assert [str(each) for each in caught.value.problems] == [f"--set {override}: {problem}"]


def test_a_text_in_a_list_is_reported_at_its_place(tmp_path: Path) -> None:
    text = VALID.replace("path: in.csv", 'path: in.csv, more: [a, {b: ["c", "d\\0"]}]')
    assert "datasource.options.more[1].b[1]: expected text, got a NUL character or a lone surrogate in it" in problems(
        tmp_path, text
    )


def test_an_unknown_key_deep_in_a_section_is_compared_with_the_keys_there(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, f"{VALID}landscape: {{export: {{pth: x}}}}\n")
    assert found.startswith("landscape.export.pth: unknown key: expected one of path, ")
    assert found.endswith("; did you mean 'path'?")


def test_an_override_of_an_unknown_key_is_a_problem(tmp_path: Path) -> None:
    assert problems(tmp_path, VALID, ELSPETH_CONCURENCY__MAX_WORKERS="8", ELSPETH_OUTPUT_SINK__X="1") == [
        "the environment sets ELSPETH_CONCURENCY__MAX_WORKERS: no section 'concurency'; did you mean 'concurrency'?",
        "the environment sets ELSPETH_OUTPUT_SINK__X: the settings have nothing at that place that could hold it",
    ]


ALL_AT_ONCE = """
datasource:
  plugin: cvs
  options: {path: in.csv}
sinks:
  out:
    plugin: csv
    options: {pth: out.csv}
  stray:
    plugin: csv
    options: {path: stray.csv, schema: {mode: strict, fields: ["id: integer"]}}
output_sink: outt
gates:
  - name: split
    condition: row['kind'] == 'x'
    routes: {"yes": out, "no": nowhere}
  - name: split
    condition: row['kind'] ==
    routes: {a: out, b: continue}
  - name: call
    condition: row['kind'].upper() == 'X'
    routes: {"true": out, "false": continue}
concurrency: {max_workers: none}
landscpe: {}
landscape:
  backend: postgresql
  url: sqlite:///audit.db
  export: {enabled: true, format: json}
"""


def test_all_problems_are_reported_at_once_with_their_paths(tmp_path: Path) -> None:
    found = problems(tmp_path, ALL_AT_ONCE)
    assert found[0].startswith("concurrency.max_workers: expected a valid integer, got 'none'")
    assert found[1].startswith("landscpe: unknown key: expected one of sinks, datasource, output_sink,")
    assert found[1].endswith("; did you mean 'landscape'?")
    assert found[2:] == [
        "datasource.plugin: unknown source plugin 'cvs': expected one of csv, null; did you mean 'csv'?",
        "sinks.out.options.path: is required but missing",
        (
            "sinks.out.options.pth: unknown key: expected one of path, schema, compression, "
            "delimiter, quote, decimal, null_value, encoding; did you mean 'path'?"
        ),
        (
            "sinks.stray.options.schema: field 'id: integer' is not understood: "
            "expected 'name: type' with the type one of any, bool, date, datetime, decimal(N), duration, "
            "float, int, str"
        ),
        "output_sink: unknown sink 'outt': expected one of out, stray; did you mean 'out'?",
        "gates[0].routes.no: unknown sink 'nowhere': expected one of continue, fork, out, stray",
        "gates[1].name: the name 'split' is taken by gates[0]: give each its own",
        "gates[0].routes: the condition is true or false: expected the labels 'true' and 'false', got 'yes', 'no'",
        "gates[1].condition: the condition is not a valid expression: invalid syntax",
        ("gates[2].condition: the condition has a method at column 1: functions are written as upper(row['kind'])"),
        "landscape.url: expected a URL that begins with 'postgresql', got 'sqlite'",
        "landscape.export.path: is required when the export is enabled: where it is written to",
    ]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            "output_sink: out",
            "output_sink: out\nlandscape: {export: {enabled: true, sink: other, format: csv}}",
            [
                "gates[0].routes.true: sink 'other' takes the export of the audit trail: rows need another sink",
            ],
        ),
        (
            "path: other.csv",
            "path: ./out.csv",
            ["sinks.other.options.path: the file './out.csv' is also that of sinks.out: give each its own"],
        ),
        (
            "plugin: csv\n    options: {path: out.csv}\n  other:\n    plugin: csv\n    options: {path: other.csv}",
            TWO_TABLES,
            ["sinks.other.options.table: the table 'people' is also that of sinks.out: give each its own"],
        ),
        (
            "plugin: csv\n    options: {path: out.csv}\n  other:\n    plugin: csv\n    options: {path: other.csv}",
            TWO_TABLES.replace("sqlite:///a", "postgresql://u:x@h/a", 1).replace("sqlite:///a", "postgresql://v@h/a"),
            ["sinks.other.options.table: the table 'people' is also that of sinks.out: give each its own"],
        ),
        (
            "path: out.csv",
            "path: in.csv",
            ["sinks.out.options.path: the file 'in.csv' is also that of datasource: give each its own"],
        ),
        (
            '"false": continue',
            '"false": out\n  - {name: second, condition: "True", routes: {"true": out, "false": out}}',
            ["gates[1]: no row comes here: no route of gates[0] continues"],
        ),
        ("true: other", "true: out", ["sinks.other: no row comes here: no route leads to this sink"]),
        (
            '"false": continue',
            f'"false": out{SECOND.format("continue")}{THIRD}',
            ["gates[1]: no row comes here: no route of gates[0] continues"],
        ),
        (
            '"false": continue',
            f'"false": out{SECOND.format("out")}{THIRD}',
            [
                "gates[1]: no row comes here: no route of gates[0] continues",
                "gates[2]: no row comes here: nothing leads to it",
            ],
        ),
        (
            '"false": continue',
            f'"false": continue{SECOND.format("out")}{THIRD}',
            ["gates[2]: no row comes here: no route of gates[1] continues"],
        ),
        (
            "options: {path: other.csv}",
            f"error_fields: true\n    options: {{path: other.csv, schema: {SOME_ERROR_FIELDS}}}",
            [
                (
                    "sinks.other.error_fields: the schema of the sink allows no field 'error_source', 'error_line', "
                    "'error_row': name them in the schema, make it free, or leave error_fields out"
                ),
            ],
        ),
        (
            '"false": continue',
            f'"false": continue{SECOND.format("continue")}{THIRD}'.replace("second", "split").replace("third", "split"),
            [f"gates[{index}].name: the name 'split' is taken by gates[0]: give each its own" for index in (1, 2)],
        ),
        ("output_sink: out", SPARE_SINK, ["sinks.spare: no row comes here: no route leads to this sink"]),
        (
            "options: {path: in.csv}",
            "options: {path: in.csv, on_validation_failure: othr}",
            [
                (
                    "datasource.options.on_validation_failure: "
                    "unknown sink 'othr': expected one of discard, out, other; did you mean 'other'?"
                ),
            ],
        ),
        (
            "  other:\n",
            "  continue:\n",
            [
                "sinks.continue: the name 'continue' is reserved: give the sink another one",
                "gates[0].routes.true: unknown sink 'other': expected one of continue, fork, out",
            ],
        ),
        (
            "output_sink: out",
            "output_sink: out\nretry: {max_attempts: 0, api_key: {a: 1}}",
            [
                "retry.max_attempts: expected greater than 0, got 0",
                (
                    "retry.api_key: unknown key: expected one of max_attempts, initial_delay_seconds, "
                    "max_delay_seconds, exponential_base"
                ),
            ],
        ),
        (
            "output_sink: out",
            "output_sink: out\nlandscape: {export: {enabled: true, sink: gone, format: json}}",
            ["landscape.export.sink: unknown sink 'gone': expected one of out, other"],
        ),
        (
            "output_sink: out",
            "output_sink: out\ncoalesce: [{name: c, branches: [a]}]",
            [
                "coalesce[0].branches: expected at least 2 items, got a list",
            ],
        ),
        ("path: out.csv}", "path: ''}", ["sinks.out.options.path: expected at least 1 character, got ''"]),
        (
            "path: out.csv}",
            "path: 2024-01-01}",
            ["sinks.out.options.path: expected text, a number, true, false or null, got a date; quote it"],
        ),
        (
            "path: out.csv}",
            "path: 2024-13-45}",
            ["sinks.out.options.path: expected text, a number, true, false or null, got a date; quote it"],
        ),
        (
            "path: out.csv}",
            f"path: {'59:' * 200}59.5}}",
            ["sinks.out.options.path: expected text, a number, true, false or null, got a number in base 60; quote it"],
        ),
        (
            "path: out.csv}",
            "path: !!int ''}",
            [
                (
                    "sinks.out.options.path: expected text, a number, true, false or null, "
                    "got a number or truth value that cannot be read; quote it"
                )
            ],
        ),
        (
            "path: out.csv}",
            f"path: 0x{'f' * 5000}}}",
            [
                (
                    "sinks.out.options.path: expected text, a number, true, false or null, "
                    "got an integer with too many digits; quote it"
                )
            ],
        ),
        (
            "path: out.csv}",
            'path: "a\\0b"}',
            ["sinks.out.options.path: expected text, got a NUL character or a lone surrogate in it"],
        ),
        (
            "output_sink: out",
            "output_sink: out\npayload_store: {retention_days: 99999999999}",
            ["payload_store.retention_days: expected less than or equal to 365000, got 99999999999"],
        ),
        ("path: out.csv}", "path: .nan}", ["sinks.out.options.path: expected a finite number, got nan"]),
    ],
)
def test_contradictions_between_sections_are_reported(
    tmp_path: Path, before: str, after: str, expected: list[str]
) -> None:
    assert problems(tmp_path, VALID.replace(before, after)) == expected


@pytest.mark.parametrize(
    ("addition", "expected"),
    [
        ("run_mode: replay", ["replay_source_run_id: run mode 'replay' needs the id of a recorded run"]),
        (
            "run_mode: verify\nreplay_source_run_id: a\nlandscape: {enabled: false}",
            ["landscape.enabled: run mode 'verify' needs the audit database that holds the recorded run"],
        ),
        (
            "replay_source_run_id: a",
            [
                (
                    "replay_source_run_id: only the run modes replay and verify have a recorded run: "
                    "set run_mode, or leave this out"
                )
            ],
        ),
    ],
)
def test_a_run_mode_needs_its_recorded_run(tmp_path: Path, addition: str, expected: list[str]) -> None:
    assert problems(tmp_path, VALID + addition) == expected


def test_a_secret_value_is_not_shown_in_a_message(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, VALID + "rate_limit: {services: {api_token: hunter2}}")
    assert found.startswith("rate_limit.services.api_token: expected ")
    assert found.endswith(", got a value that is not shown because it may be secret")
    (found,) = problems(tmp_path, VALID + "rate_limit: {enabled: 'https://me:hunter2@h/'}")
    assert found.endswith(", got 'https://me:[redacted]@h/'")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: expected at least sources and sinks, or datasource, sinks and output_sink"),
        (b"# nothing\n", "is empty: expected at least sources and sinks, or datasource, sinks and output_sink"),
        (b"- a\n- b\n", "expected a mapping of settings, got a list"),
        (b"just text", "expected a mapping of settings, got text"),
        (b"true", "expected a mapping of settings, got true or false"),
        (b"7.5", "expected a mapping of settings, got a number"),
        (b"2026-01-01", "expected a mapping of settings, got a date"),
        (b"\xef\xbb\xbf- a\n", "expected a mapping of settings, got a list"),
        (b"a: {<<: {b: 1, b: 2}}\n", "is not valid YAML at line 1, column 16: key 'b' occurs twice"),
        (b"a: {<<: [{b: 1}, {c: 1, c: 2}]}\n", "is not valid YAML at line 1, column 25: key 'c' occurs twice"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "is not text: it contains NUL bytes"),
        (b"a: 1\nb: \xff\n", "is not UTF-8 text: byte 0xff in line 2"),
        (b"a: [1, 2\nb: 3\n", "is not valid YAML at line 2, column 2: expected ',' or ']', but got ':'"),
        (b"a: 1\nb: 2\na: 3\n", "is not valid YAML at line 3, column 1: key 'a' occurs twice"),
        (b"a: {true: 1, yes: 2}\n", "is not valid YAML at line 1, column 14: key 'true' occurs twice"),
        (b"a: !!python/object:os.system {}\n", None),
        (b"a: &a [*a]\n", "a[0][0]: is nested deeper than 50 levels, or contains itself"),
        (b"[" * 5000, "is not valid YAML: nested too deeply"),
        (b"#" * 1_048_577, "is too large for a settings file: expected at most 1048576 bytes"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_an_unreadable_settings_file_gives_one_message(tmp_path: Path, content: bytes, message: str | None) -> None:
    path = tmp_path / "settings.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_settings(path, environ={}, plugins=Catalogue())
    (problem,) = caught.value.problems
    if message is not None:
        assert str(problem) == message
    assert str(caught.value) == f"{path}: 1 problem\n  {problem}"


def test_aliases_cannot_make_a_small_file_arbitrarily_large(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert problems(tmp_path, "\n".join(lines)) == ["is too large: expected at most 100000 values, aliases included"]


def test_merges_cannot_make_a_small_file_arbitrarily_large(tmp_path: Path) -> None:
    lines = ["a0: &a0 {k: x}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 13)]
    assert problems(tmp_path, "\n".join(lines)) == [
        "is not valid YAML at line 7, column 5: too large: expected at most 100000 merged keys"
    ]


def test_a_key_merged_twice_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("top: {<<: &mid {<<: &base {a: 1}, a: 2}}\nother: *mid\n")
    assert read_settings_file(tmp_path / "s.yaml") == {"top": {"a": 2}, "other": {"a": 2}}


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.yaml", "cannot be read: No such file or directory"), (".", "cannot be read: Is a directory")],
)
def test_a_path_that_cannot_be_read_gives_one_message(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path / name, environ={}, plugins=Catalogue())
    assert [str(problem) for problem in caught.value.problems] == [message]


SCALARS = st.sampled_from(
    [
        *("", "~", "yes", "1", "-1", "0x1f", "0o7", "1_000", "1:30", "59:59.5", ".inf", "-.nan", "1e999", "9" * 5000),
        *("2026-02-30", "2001-12-14t21:59:43.10-99:99", "!!int ''", "!!float x", "!!bool maybe", "!!timestamp x"),
        *("!!binary '%'", "!!null x", "!!str [a]", "!!set {a: 1}", "!!omap [a: 1]", "!!pairs [a: 1]", "!x y", "="),
        *("${A}", "${A:-b}", "${B", '"\\ud800"', '"\\0"', "csv", "out", "continue", "*a", "&a b", "<<", "? a", "'"),
        *("row['a'] == 1", "sqlite:///a.db", "postgresql://u:p@h:x/d", "latest", "replay", "{fields: dynamic}"),
    ]
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(st.tuples(SCALARS, inner), max_size=3).map(
            lambda pairs: f"{{{', '.join(f'{key}: {value}' for key, value in pairs)}}}"
        ),
    ),
    max_leaves=8,
)
SECTIONS = st.sampled_from([*Settings.model_fields, "sections", "<<"])
FILES = st.one_of(
    st.text(),
    st.text(st.sampled_from("ab:-[]{},&*!<>?|'\"% \n0159.#")),
    st.lists(st.tuples(SECTIONS, TREES), max_size=5).map(
        lambda pairs: "".join(f"{key}: {value}\n" for key, value in pairs)
    ),
    st.tuples(st.sampled_from(VALID.split()), TREES).map(lambda pair: VALID.replace(pair[0], pair[1], 1)),
)


NAMES = st.sampled_from(["A", "ELSPETH_RETRY__MAX_ATTEMPTS", "ELSPETH_SINKS__OUT", "ELSPETH_RUN_MODE", "ELSPETH_X"])


@given(text=FILES, environ=st.dictionaries(NAMES, st.text()))
def test_any_text_gives_settings_or_a_settings_error(
    tmp_path_factory: pytest.TempPathFactory, text: str, environ: dict[str, str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(SettingsError):
        assert isinstance(load_settings(path, environ=environ, plugins=Catalogue()), Settings)


DOTENV = """
# a comment
PLAIN=value
export EXPORTED = spaced out
QUOTED="with # and = and spaces "  # a comment
SINGLE='single'
TRAILING=value # a comment
HASH=va#lue
EMPTY=
"""


def test_assignments_in_dotenv_are_read(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(DOTENV)
    assert read_dotenv(path) == {
        "PLAIN": "value",
        "EXPORTED": "spaced out",
        "QUOTED": "with # and = and spaces ",
        "SINGLE": "single",
        "TRAILING": "value",
        "HASH": "va#lue",
        "EMPTY": "",
    }


def test_a_missing_dotenv_has_no_assignments(tmp_path: Path) -> None:
    assert read_dotenv(tmp_path / ".env") == {}


def test_a_dotenv_that_is_not_text_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(b"A=\xff\n")
    for place in (tmp_path, path):
        with pytest.raises(SettingsError, match="cannot be read: "):
            read_dotenv(place)


def test_the_audit_database_is_found_whatever_else_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("landscape: {url: 'sqlite:///${NAME}.db'}\nsinks: '${OTHER}'\nretry: 3\n")
    assert load_landscape(path, {"NAME": "audit"}).url == "sqlite:///audit.db"
    with pytest.raises(SettingsError) as caught:
        load_landscape(path, {})
    assert [each.location for each in caught.value.problems] == [("landscape", "url")]


def test_settings_may_be_as_large_as_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deepest: list[object] = []
    for _ in range(49):
        deepest = [deepest]
    assert read_settings_mapping({"a": deepest, "b": [-MAX_INTEGER, MAX_INTEGER]})["b"] == [-MAX_INTEGER, MAX_INTEGER]
    for more in ([deepest], MAX_INTEGER + 1, -MAX_INTEGER - 1):
        with pytest.raises(SettingsError):
            read_settings_mapping({"a": more})
    path = tmp_path / "settings.yaml"
    path.write_text("a: 1\n")
    monkeypatch.setattr(_yaml_file, "_MAX_BYTES", 5)
    assert read_settings_file(path) == {"a": 1}
    path.write_text("a: 11\n")
    with pytest.raises(SettingsError, match="is too large for a settings file: expected at most 5 bytes"):
        read_settings_file(path)


def test_every_other_line_of_dotenv_is_reported(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\nno assignment\n2B=x\n")
    with pytest.raises(SettingsError) as caught:
        read_dotenv(path)
    assert str(caught.value) == f"{path}: 2 problems\n  line 2: expected NAME=value\n  line 3: expected NAME=value"
