"""Rewrite the expected files of the examples.

Run `python -m tests.examples.rebuild [NAME ...]`, then read the diff.
"""

import os
import sys
import tempfile
from pathlib import Path

from tests.examples.running import EXAMPLES, names, run_example


def rebuild(name: str) -> None:
    """Replace the expected files of an example by a run's."""
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        files = run_example(name, Path(directory))
        os.chdir(EXAMPLES)
    expected = EXAMPLES / name / "expected"
    expected.mkdir(exist_ok=True)
    for path in expected.iterdir():
        path.unlink()
    for file, content in files.items():
        (expected / file).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    for wanted in sys.argv[1:] or names():
        rebuild(wanted)
