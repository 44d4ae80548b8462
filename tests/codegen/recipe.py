"""The recipes of docs/schema.md, applied to copies of the project.

The guide describes the step from epoch 5 to 6. Here it is the step from the copy's epoch to the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from codegen.__main__ import main
from tests.codegen.trees import hunks

__all__ = ["ADD_COLUMN", "ADD_TABLE", "GUIDE", "apply", "blocks", "generate", "of_epoch"]

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "schema.md").read_text(encoding="utf-8")

_TOLD_OF = 6
"""The epoch that the guide's examples lead to."""

_EPOCH = re.compile(r'(?<=version: ")\d+|(?<=since: )\d+|(?<=epoch )\d+')


def blocks(language: str) -> list[str]:
    """Return the code blocks of the guide in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


ADD_COLUMN, ADD_TABLE = blocks("diff")


def of_epoch(epoch: int, text: str) -> str:
    """Rewrite a text of the guide for another epoch."""
    return _EPOCH.sub(lambda number: str(int(number[0]) - _TOLD_OF + epoch), text)


def apply(diff: str, directory: Path) -> int:
    """Apply a diff of the guide to the copied project.

    Returns the epoch that the copy then has. Hunks are located by their text. A change that the schema already has,
    because somebody followed the guide, is skipped; the epoch is raised in any case.
    """
    container = directory / "schema" / "landscape.yaml"
    text = container.read_text(encoding="utf-8")
    (present,) = re.findall(r'^version: "(\d+)"$', text, re.MULTILINE)
    epoch = int(present) + 1
    container.write_text(text.replace(f'\nversion: "{present}"\n', f'\nversion: "{epoch}"\n'), encoding="utf-8")
    for path, old, new in _hunks(of_epoch(epoch, diff)):
        text = (directory / path).read_text(encoding="utf-8")
        if _EPOCH.sub("N", f"\n{new}\n") in _EPOCH.sub("N", text):
            continue
        fits = text.count(f"\n{old}\n") == 1
        assert fits, f"docs/schema.md: the example no longer fits {path}, which does not hold once:\n{old}"
        (directory / path).write_text(text.replace(f"\n{old}\n", f"\n{new}\n"), encoding="utf-8")
    return epoch


def generate(project: Path) -> None:
    """Run codegen over a copy of the project."""
    schema, output = project / "schema" / "landscape.yaml", project / "generated"
    assert main(["--schema", str(schema), "--output", str(output)]) == 0


def _hunks(diff: str) -> Iterator[tuple[str, str, str]]:
    """Yield path, old text and new text of each hunk."""
    for part in re.split(r"^--- .*\n\+\+\+ b/", diff, flags=re.MULTILINE)[1:]:
        path, _, body = part.partition("\n@@\n")
        yield from ((path, old, new) for old, new in hunks(body))
