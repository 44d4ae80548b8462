"""Command line: write or check the reference pages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from codegen.reference.pages import gaps, pages
from codegen.writer import drift_of_page, write_page

__all__ = ["main"]

_DOCS = Path(__file__).parents[2] / "docs"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    1 means that pages differ from the models, or lack a meaning or an example.
    """
    parser = argparse.ArgumentParser(prog="python -m codegen.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the pages differ from the models")
    options = parser.parse_args(argv)
    made = {_DOCS / name: text for name, text in pages().items()}
    lacking = gaps()
    if lacking:
        print("\n".join(lacking), file=sys.stderr)
    if not options.check:
        for line in [line for page, text in made.items() for line in write_page(page, text)]:
            print(line)
        return int(bool(lacking))
    differences = [line for page, text in made.items() for line in drift_of_page(page, text)]
    if differences:
        print("\n".join(differences), file=sys.stderr)
        print("Reference pages differ from the models. Run: python -m codegen.reference", file=sys.stderr)
        return 1
    if lacking:
        return 1
    print(f"{len(made)} reference pages agree with the models.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
