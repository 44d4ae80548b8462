"""`elspeth settings`."""

import json
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.core.settings.json_schema import settings_schema
from elspeth.plugins.manager import PluginManager


def test_schema_prints_the_json_schema_of_settings(own_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "schema"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out) == settings_schema(PluginManager.installed())
    assert output.err == ""
    assert list(own_directory.iterdir()) == []


POSITIONAL = """\
datasource: {plugin: "null"}  # nothing yet
# the only one
output_sink: out
sinks: {out: {plugin: "null"}}
"""


def test_convert_writes_settings_whose_steps_are_wired(own_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("old.yaml").write_text(POSITIONAL)
    assert main(["settings", "convert", "-s", "old.yaml", "-o", "new.yaml"]) == 0
    assert capsys.readouterr() == (
        "",
        "new.yaml: written; 2 comments in rewritten sections were left out\n",
    )
    text = Path("new.yaml").read_text()
    assert main(["settings", "convert", "-s", "old.yaml"]) == 0
    assert capsys.readouterr() == (text, "")
    assert main(["settings", "convert", "-s", "old.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"text": text, "lost_comments": 2}
    Path("old.yaml").write_text(POSITIONAL, encoding="utf-8-sig")
    assert main(["settings", "convert", "-s", "old.yaml"]) == 0
    assert capsys.readouterr() == (text, "")
    assert main(["validate", "-s", "new.yaml"]) == 0
    assert "rows: to sink out" in capsys.readouterr().out
    assert sorted(path.name for path in own_directory.iterdir()) == ["new.yaml", "old.yaml"]


@pytest.mark.usefixtures("own_directory")
def test_convert_finds_the_settings_as_other_commands_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["settings", "convert"]) == 2
    assert capsys.readouterr().err.endswith(
        "there is no elspeth.yaml here: name the settings file with -s, or in ELSPETH_SETTINGS\n"
    )
    Path("elspeth.yaml").write_text(POSITIONAL)
    assert main(["settings", "convert", "-o", "new.yaml"]) == 0
    monkeypatch.setenv("ELSPETH_SETTINGS", str(Path("elspeth.yaml").rename("old.yaml")))
    assert main(["settings", "convert", "-o", "again.yaml"]) == 0
    assert Path("again.yaml").read_text() == Path("new.yaml").read_text()


@pytest.mark.usefixtures("own_directory")
def test_convert_replaces_no_file_and_converts_nothing_twice(capsys: pytest.CaptureFixture[str]) -> None:
    Path("old.yaml").write_text(POSITIONAL)
    assert main(["settings", "convert", "-s", "old.yaml", "-o", "old.yaml"]) == 2
    assert "error: old.yaml: exists already: name a new file\n" in capsys.readouterr().err
    assert Path("old.yaml").read_text() == POSITIONAL
    assert main(["settings", "convert", "-s", "old.yaml", "-o", "new.yaml"]) == 0
    capsys.readouterr()
    assert main(["settings", "convert", "-s", "new.yaml"]) == 2
    assert "new.yaml: its steps are wired by names already: there is nothing to convert" in capsys.readouterr().err


@pytest.mark.parametrize(("comments", "told"), [(0, ""), (1, "; 1 comment in rewritten sections was left out")])
def test_convert_says_whether_a_comment_was_left_out(
    own_directory: Path, capsys: pytest.CaptureFixture[str], comments: int, told: str
) -> None:
    text = POSITIONAL.replace("# nothing yet", "").replace("# the only one\n", "# the only one\n" * comments)
    (own_directory / "old.yaml").write_text(text)
    assert main(["settings", "convert", "-s", "old.yaml", "-o", "new.yaml"]) == 0
    assert capsys.readouterr() == ("", f"new.yaml: written{told}\n")
