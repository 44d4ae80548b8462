"""docs/assistants.md agrees with the server."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import asdict
from pathlib import Path

import elspeth
from elspeth.assistant.limited_sql import QueryLimits
from elspeth.assistant.server import build_server
from elspeth.cli.program import main
from tests.fixtures.example_runs import ExampleRun

PAGE = (Path(__file__).parent.parent / "docs" / "assistants.md").read_text(encoding="utf-8")


def test_the_table_names_the_tools_of_a_bag(example_run: ExampleRun, tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    database = str(example_run("error_routing").database)
    assert main(["export", "latest", "-d", database, "--format", "bag", "-o", str(bag)]) == 0
    with elspeth.open(bag) as trail:
        tools = asyncio.run(build_server(trail, bag=bag).list_tools())
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == [tool.name for tool in tools]


def test_the_configuration_names_the_command() -> None:
    [block] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    [server] = json.loads(block)["mcpServers"].values()
    assert (server["command"], server["args"][0]) == ("elspeth", "mcp")


def test_the_limits_are_those_of_queries() -> None:
    assert asdict(QueryLimits()) == {"seconds": 5.0, "rows": 200, "characters": 100_000}
    assert "within 5 seconds, at most 200 rows and 100,000 characters" in PAGE
