"""Bags of examples, validated as Workflow Run RO-Crates.

`nox -s crate -- [NAME ...]` runs it. The validator has an environment of its own, as it needs an older rich. It may
load nothing from the web: the one context that it needs is a stored copy.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path

from rocrate_validator.models import Severity, ValidationSettings
from rocrate_validator.services import validate
from rocrate_validator.utils.http import HttpRequester

from elspeth.cli import main

ROOT = Path(__file__).parents[1]
CONTEXT = ROOT.parent / "shared" / "spec" / "ro-crate" / "ro-crate-1.1-context.jsonld"
PROFILE = "workflow-run-crate-0.5"  # with those that it is based on
EXAMPLES = ("database_sink", "error_routing", "fork_coalesce")

IN_THE_CRATE = "process-run-crate-0.5_5.1"
"""The check that software has an absolute URI, also made of a workflow that is a file of the crate, which has none."""


LEAST = 130
"""How many checks pass at least: the validator leaves checks out without a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The response with a stored document."""

    url: str
    text: str
    status_code: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/ld+json"})

    def json(self) -> object:
        """Return the document."""
        return json.loads(self.text)

    def raise_for_status(self) -> None:
        """Do nothing: the status is 200."""


def load(_: object, url: str, **__: object) -> Stored:
    """Return the stored copy of a requested document."""
    if url != "https://w3id.org/ro/crate/1.1/context":
        raise RuntimeError(f"{url}: expected no document that is not stored")
    return Stored(url=url, text=CONTEXT.read_text(encoding="utf-8"))


def problems(crate: Path) -> Iterator[str]:
    """Yield the problems, including those with mere recommendations."""
    result = validate(
        ValidationSettings(
            rocrate_uri=str(crate), profile_identifier=PROFILE, requirement_severity=Severity.RECOMMENDED
        )
    )
    for issue in result.get_issues():
        if issue.check.identifier != IN_THE_CRATE:
            yield f"{issue.check.identifier} ({issue.severity.name.lower()}): {issue.message}"
    passed = result.statistics.to_dict()["total_passed_checks"]
    if passed < LEAST:
        yield f"expected at least {LEAST} checks that pass, got {passed}"


def bag_of(name: str) -> Path:
    """Run an example below the current directory; return its bag."""
    place = Path("examples", name)
    shutil.copytree(ROOT / place, place, ignore=shutil.ignore_patterns("output", "runs", "expected"))
    commands = (
        ["run", "-s", str(place / "settings.yaml"), "--execute", "--no-dotenv"],
        ["export", "latest", "-d", str(place / "runs" / "audit.db"), "-o", f"{name}-bag", "--format", "bag"],
    )
    if any(map(main, commands)):
        sys.exit(f"example {name}: cannot be made a bag")
    return Path(f"{name}-bag")


def validate_examples(names: tuple[str, ...]) -> int:
    """Print the problems of bags; return their number."""
    found = 0
    for name in names:
        crate = bag_of(name) / "data"
        told = list(problems(crate))
        found += len(told)
        print(f"{name}: {len(told)} problems", *told, sep="\n    ")
    # The validator passes parts that it does not examine: a crate without its workflow must not pass.
    metadata = crate / "ro-crate-metadata.json"
    metadata.write_text(metadata.read_text(encoding="utf-8").replace('"mainEntity"', '"about"'), encoding="utf-8")
    if not any("workflow-ro-crate" in problem for problem in problems(crate)):
        found += 1
        print("expected a problem of a crate without its workflow, got none")
    return found


if __name__ == "__main__":
    if not CONTEXT.exists():
        sys.exit(f"{CONTEXT} is missing: expected the stored context" if "CI" in os.environ else 0)
    HttpRequester.get = HttpRequester.fetch_fresh = HttpRequester.head = load
    with tempfile.TemporaryDirectory() as directory, chdir(directory):
        sys.exit(validate_examples(tuple(sys.argv[1:]) or EXAMPLES) > 0)
