"""Write the same rows each time, for the large run."""

import sys
from pathlib import Path

REGIONS = ("north", "east", "south", "west")


def generate(path: Path, rows: int) -> None:
    """Write a CSV file with a header and rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.write("id,region,amount\n")
        for number in range(rows):
            file.write(f"{number},{REGIONS[number * 7 % 4]},{number * 7919 % 100_000 / 100:.2f}\n")


if __name__ == "__main__":
    generate(Path(__file__).parent / "runs" / "input.csv", int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
