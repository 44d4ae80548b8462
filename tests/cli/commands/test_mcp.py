"""`elspeth mcp` passes its arguments to the server."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from elspeth.assistant import server
from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.evidence.format.signatures import PUBLIC_KEY


def test_the_server_is_built_from_the_options(
    own_directory: Path, key_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[dict[str, Any]] = []
    ran: list[str] = []

    def build(_: object, **options: Any) -> SimpleNamespace:  # noqa: ANN401  as the server takes them
        built.append(options)
        return SimpleNamespace(run=ran.append)

    LandscapeDB("sqlite:///audit.db").close()
    monkeypatch.setattr(server, "build_server", build)
    monkeypatch.setenv("ELSPETH_DATABASE", str(own_directory / "audit.db"))
    key = key_directory / PUBLIC_KEY
    assert main(["mcp", "audit.db", "--key", str(key), "--all-sql"]) == 0
    assert main(["mcp"]) == 0
    assert built == [
        {"bag": Path("audit.db"), "key": key, "all_sql": True},
        {"bag": own_directory / "audit.db", "key": None, "all_sql": False},
    ]
    assert ran == ["stdio", "stdio"]
