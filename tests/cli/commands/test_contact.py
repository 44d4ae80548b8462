"""The contact that a bag names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.evidence.format import bag
from elspeth.evidence.format.bag import Contact
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.verifier.procedure import Step
from elspeth.evidence.verifier.verify import verify_bag

Captured = pytest.CaptureFixture[str]

SETTINGS = """
datasource: {plugin: "null"}
output_sink: out
sinks: {out: {plugin: "null"}}
landscape:
  url: "sqlite:///audit.db"
  export: {enabled: true, path: "{run_id}", format: bag, contact_name: Anna Müller, contact_email: anna@example.org}
"""


@pytest.fixture
def run_bag(own_directory: Path) -> Path:
    """Run a pipeline, and return the bag that it exports."""
    Path("settings.yaml").write_text(SETTINGS, encoding="utf-8")
    assert main(["run", "-s", "settings.yaml", "--execute", "--no-dotenv"]) == 0
    (path,) = (each for each in own_directory.iterdir() if (each / bag.BAGIT).exists())
    return path


def said(path: Path) -> str:
    return next(each.detail for each in verify_bag(path).steps if each.step is Step.SIGNATURE)


def test_settings_can_name_a_contact_for_bags(run_bag: Path) -> None:
    info = (run_bag / bag.BAG_INFO).read_text(encoding="utf-8").splitlines()
    assert {"Contact-Email: anna@example.org", "Contact-Name: Anna Müller"} <= {*info}
    contact = json.loads((run_bag / bag.STATEMENT).read_bytes())["predicate"]["contact"]
    assert contact == {"email": "anna@example.org", "name": "Anna Müller"}
    assert said(run_bag).endswith("; made by Anna Müller <anna@example.org>, it says")


def test_options_can_name_a_contact_for_a_bag(run_bag: Path, capsys: Captured) -> None:
    command = ["export", run_bag.name, "-d", "audit.db", "--format", "bag", "-o"]
    assert main([*command, "named", "--contact-name", "Acme"]) == 0
    assert said(Path("named")).endswith("; made by Acme, it says")
    assert "Contact-Email" not in Path("named", bag.BAG_INFO).read_text()
    assert main([*command, "mailed", "--contact-email", "a@example.org"]) == 0
    info = Path("mailed", bag.BAG_INFO).read_text()
    assert ("Contact-Email: a@example.org\n" in info, "Contact-Name" in info) == (True, False)
    assert main([*command, "unnamed"]) == 0
    assert "contact" not in json.loads(Path("unnamed", bag.STATEMENT).read_bytes())["predicate"]
    capsys.readouterr()
    assert main(["export", run_bag.name, "-d", "audit.db", "-o", "trail.jsonl", "--contact-name", "Acme"]) == 2
    assert "--contact-name: only with --format bag" in capsys.readouterr().err
    assert main([*command, "bad", "--contact-name", "Acme\nBagging-Date: 1999-01-01"]) != 0
    assert "contact: name: expected printable text on one line" in capsys.readouterr().err
    assert not Path("bad").exists()


@pytest.mark.parametrize("text", ["", " a", "a\nb", "a\u202eb", "\x1b[2J"])
def test_a_contact_is_a_single_line_of_text(text: str) -> None:
    with pytest.raises(EvidenceError, match="expected printable text on one line"):
        Contact(email=text)
