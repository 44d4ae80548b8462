"""``python -m elspeth``: the console script."""

from elspeth.cli import run

if __name__ == "__main__":
    run()
