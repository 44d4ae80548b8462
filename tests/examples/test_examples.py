"""Every example behaves as expected; `tests/examples/rebuild.py` writes the expectations."""

from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.accounting import account_for
from tests.engine.pipelines import assert_sound, trail
from tests.examples.running import EXAMPLES, copy_example, names, run_example, script, surroundings
from tests.examples.trails import told
from tests.fixtures.example_runs import ExampleRun
from tests.fixtures.graphs import assert_graph
from tests.report.flows import assert_counted, flow_of


@pytest.mark.parametrize("name", names())
def test_an_example_writes_the_expected_files(name: str, example_run: ExampleRun) -> None:
    expected = {path.name: path.read_text(encoding="utf-8") for path in (EXAMPLES / name / "expected").iterdir()}
    ran = example_run(name)
    assert ran.files == expected
    assert_graph(ran.database)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/settings.yaml")), ids=lambda path: path.parent.name)
def test_every_example_has_a_readme_and_expected_files(path: Path) -> None:
    readme = (path.parent / "README.md").read_text(encoding="utf-8")
    assert readme.startswith(f"# {path.parent.name}\n")
    assert f"elspeth run -s examples/{path.parent.name}/settings.yaml --execute" in readme
    assert path.parent.name in {*names(), "large_run", "plugin_package"}


def test_the_large_run_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 2_000
    monkeypatch.chdir(tmp_path)
    place = copy_example("large_run", tmp_path)
    script(place / "generate.py").generate(place / "runs" / "input.csv", rows)
    assert main(["run", "-s", "examples/large_run/settings.yaml", "--execute", "--no-dotenv"]) == 0
    lines = {name: (place / "output" / f"{name}.csv").read_text().count("\n") - 1 for name in ("regular", "large")}
    assert lines == {"regular": 1801, "large": 199}
    records = trail(tmp_path, f"sqlite:///{place / 'runs' / 'audit.db'}")
    assert_sound(records, status="completed")
    with LandscapeDB.from_url(f"sqlite:///{place / 'runs' / 'audit.db'}") as db:
        account = account_for(db, records["run"][0]["run_id"])
    assert (account.rows, account.breaches) == (rows, ())
    assert_counted(flow_of(f"sqlite:///{place / 'runs' / 'audit.db'}", records["run"][0]["run_id"]), records)


@pytest.mark.parametrize("name", names())
def test_an_example_with_converted_settings_writes_the_same_files(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = EXAMPLES / name
    text = (place / "settings.yaml").read_text(encoding="utf-8")
    if "\nsources:" in text:
        assert main(["settings", "convert", "-s", str(place / "settings.yaml"), "--no-dotenv"]) == 2
        assert "there is nothing to convert" in capsys.readouterr().err
        return
    monkeypatch.chdir(tmp_path)

    def convert(copy: Path) -> None:
        settings = str(copy / "settings.yaml")
        assert main(["settings", "convert", "-s", settings, "-o", "wired.yaml", "--no-dotenv"]) == 0
        Path("wired.yaml").replace(settings)
        assert "\nsources:" in Path(settings).read_text(encoding="utf-8")

    files = run_example(name, tmp_path, change=convert)
    expected = {path.name: path.read_text(encoding="utf-8") for path in (place / "expected").iterdir()}
    assert {path: text for path, text in files.items() if path != "trail.txt"} == {
        path: text for path, text in expected.items() if path != "trail.txt"
    }


def _run(place: Path, sections: str = "") -> dict[str, str]:
    """Run an example with additional settings; return its files."""
    text = (place / "settings.yaml").read_text(encoding="utf-8")
    settings = place / "changed.yaml"
    settings.write_text(f"{text}\n{sections}\n", encoding="utf-8")
    assert main(["run", "-s", str(settings), "--execute", "--no-dotenv"]) == 0
    return {path.name: path.read_text(encoding="utf-8") for path in (place / "output").iterdir()}


def test_the_answers_of_a_language_model_are_verified_and_replayed_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    place = copy_example("llm_sentiment", tmp_path)
    database = f"sqlite:///{place / 'runs' / 'audit.db'}"
    with surroundings(place) as url:
        written = _run(place)
        live = trail(tmp_path, database)
        source = f"replay_source_run_id: {live['run'][0]['run_id']}"
        assert _run(place, f"run_mode: verify\n{source}") == written
        assert "answers that differ  0\n" in capsys.readouterr().out
    monkeypatch.setenv("LLM_URL", url)
    assert _run(place, f"run_mode: replay\n{source}") == written
    assert told(trail(tmp_path, database)) == told(live)
