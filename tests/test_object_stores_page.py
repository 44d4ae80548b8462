"""The examples in docs/object-stores.md work, with an S3 server."""

from __future__ import annotations

import gzip
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from tests.fixtures.object_store import ObjectServer, make_bucket

PAGE = (Path(__file__).parent.parent / "docs" / "object-stores.md").read_text(encoding="utf-8")


def test_every_command_of_the_page_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, object_server: ObjectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = "".join(re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
    Path("runs").mkdir()
    Path("elspeth.yaml").write_text(settings)
    landing, results, evidence = (make_bucket(object_server, name) for name in ("landing", "results", "evidence"))
    for day in ("01", "02"):
        landing.put(f"orders/2026-01-{day}.csv.gz", gzip.compress(f"id\n{day}\n".encode()))
    assert main(["run", "--execute"]) == 0
    assert results.get("large.csv") == b"id\n01\n02\n"
    commands = [shlex.split(line)[1:] for line in re.findall(r"^\$ (.*)$", PAGE, re.MULTILINE)]
    expected = ["explain", "export", "purge", "export", "verify", "explain", "report", "import", "outputs", "outputs"]
    assert [command[0] for command in commands] == expected
    codes = [main(command) for command in commands]
    assert codes == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    told = capsys.readouterr()
    assert "CONSISTENT BUT UNSIGNED" in told.err
    assert '"id": "01"' in told.out
    kept = Counter(key.partition("/")[0] for key in evidence.listed())
    with LandscapeDB.from_url("sqlite:///runs/audit.db") as db, db.connection() as connection:
        run_id = connection.exec_driver_sql("SELECT run_id FROM runs").scalar_one()
    assert kept == {"payloads": 4, f"{run_id}.zip": 1, "latest.html": 1, "run.html": 1, "run.zip": 1}
