"""Command line of codegen: write or check the generated files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from codegen import writer
from codegen.errors import SchemaError
from codegen.generate import generate
from codegen.history import read_history
from codegen.known_databases import with_known_databases
from elspeth.schema.predecessor import parse_shapes

__all__ = ["main"]

_ROOT = Path(__file__).parent.parent
_SCHEMA = _ROOT / "schema" / "landscape.yaml"
_PAGE = _ROOT / "docs" / "upgrading.md"


def main(argv: Sequence[str] | None = None) -> int:
    """Run codegen and return its exit code.

    1 means that the schema was refused, or that files differ from it.
    """
    parser = argparse.ArgumentParser(prog="python -m codegen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the files differ from the schema")
    parser.add_argument("--amend", action="store_true", help="the newest epoch is not released: replace its snapshot")
    parser.add_argument("--schema", type=Path, default=_SCHEMA, help="the LinkML schema")
    parser.add_argument("--output", type=Path, default=_ROOT / "generated", help="the directory of generated files")
    options = parser.parse_args(argv)
    try:
        files = generate(options.schema, options.output, amend=options.amend)
    except SchemaError as error:
        print(error, file=sys.stderr)
        return 1
    page = _page() if options.schema == _SCHEMA else None
    if not options.check:
        for line in writer.write(files, options.output) + ([] if page is None else writer.write_page(_PAGE, page)):
            print(line)
        return 0
    differences = writer.drift(files, options.output) + ([] if page is None else writer.drift_of_page(_PAGE, page))
    if differences:
        print("\n".join(differences), file=sys.stderr)
        print(f"Files that differ from the schema: {len(differences)}. Run: nox -s codegen", file=sys.stderr)
        return 1
    print(f"{len(files)} generated files agree with the schema.")
    return 0


def _page() -> str:
    """Return the page that lists the predecessor's databases."""
    shapes = (_ROOT / "src" / "elspeth" / "schema" / "predecessor.json").read_text(encoding="utf-8")
    epochs = read_history(_ROOT / "generated" / "elspeth_schema" / "epochs")
    return with_known_databases(_PAGE.read_text(encoding="utf-8"), parse_shapes(shapes), epochs)


if __name__ == "__main__":
    raise SystemExit(main())
