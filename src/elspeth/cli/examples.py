"""The examples that `--help` shows below each command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["EXAMPLES", "leaves", "show_examples"]

EXAMPLES: Mapping[str, Sequence[str]] = {
    "run": (
        "elspeth run -s settings.yaml --dry-run",
        "elspeth run -s settings.yaml --execute",
    ),
    "resume": (
        "elspeth resume latest -s settings.yaml --dry-run",
        "elspeth resume latest -s settings.yaml --execute",
        "elspeth resume 0v8 -s settings.yaml --abandon",
    ),
    "purge": ("elspeth purge -s settings.yaml --dry-run",),
    "validate": (
        "elspeth validate -s settings.yaml",
        "elspeth validate -s settings.yaml --graph mermaid > graph.mmd",
        "elspeth validate -s settings.yaml --graph svg > graph.svg",
    ),
    "explain": (
        "elspeth explain --row 2 -d runs/audit.db",
        "elspeth explain --row 2 --from evidence.zip --json",
    ),
    "rows": (
        "elspeth rows -d runs/audit.db --outcome failed --outcome quarantined",
        "elspeth rows --from evidence.zip --reason 'expected an integer' --json",
    ),
    "outputs": (
        "elspeth outputs latest -d runs/audit.db --check",
        "elspeth outputs --file out/orders.csv -d runs/audit.db",
    ),
    "report": (
        "elspeth report latest -d runs/audit.db -o report.html",
        "elspeth report evidence.zip -o report.html",
    ),
    "diff": (
        "elspeth diff 0v8 latest -d runs/audit.db",
        "elspeth diff evidence-1.zip evidence-2.zip --json",
    ),
    "differences": ("elspeth differences latest -d runs/audit.db",),
    "export": (
        "elspeth export latest -d runs/audit.db -o trail.jsonl",
        "elspeth export latest -d runs/audit.db -o evidence.zip --key keys/elspeth.key.pem",
        "elspeth export --as-found old.db -o old --format bag --key keys/elspeth.key.pem",
    ),
    "import": ("elspeth import trail.jsonl -d restored.db",),
    "verify": (
        "elspeth verify evidence.zip --key keys/elspeth.pub.pem",
        "elspeth verify trail.jsonl --hmac",
        "elspeth verify run.tlog-proof --policy policy",
    ),
    "mcp": ("elspeth mcp runs/audit.db", "elspeth mcp evidence.zip --key keys/elspeth.pub.pem"),
    "prove": ("elspeth prove evidence.zip row cfnd2h3gm88w3 -o proof.json",),
    "keys generate": ("elspeth keys generate -o keys",),
    "settings convert": ("elspeth settings convert -s settings.yaml -o wired.yaml",),
    "settings schema": ("elspeth settings schema > elspeth.schema.json",),
    "plugins list": ("elspeth plugins list --json",),
    "plugins show": (
        "elspeth plugins show csv",
        "elspeth plugins show csv --kind sink --json",
    ),
    "plugins new": (
        "elspeth plugins new strip_text",
        "elspeth plugins new mailbox --kind source --output plugins/mailbox",
    ),
    "landscape status": ("elspeth landscape status -d runs/audit.db",),
    "landscape check": ("elspeth landscape check -d runs/audit.db --key keys/elspeth.pub.pem",),
    "landscape migrate": (
        "elspeth landscape migrate -d runs/audit.db --dry-run",
        "elspeth landscape migrate -d runs/audit.db",
    ),
    "landscape adopt": ("elspeth landscape adopt old.db -d runs/audit.db",),
    "landscape runs": ("elspeth landscape runs -d runs/audit.db --json",),
    "landscape prune": (
        "elspeth landscape prune --before 2026-01-01 -d runs/audit.db --archive archive --dry-run",
        "elspeth landscape prune --before 2026-01-01 -d runs/audit.db --archive archive --execute --vacuum",
    ),
    "landscape log checkpoint": (
        "elspeth landscape log checkpoint -d runs/audit.db --key log/elspeth.key.pem -o 1.checkpoint",
        "elspeth landscape log checkpoint -d runs/audit.db --key log/elspeth.key.pem --policy policy -o 2.checkpoint",
    ),
    "landscape log check": ("elspeth landscape log check -d runs/audit.db --against kept --key log/elspeth.pub.pem",),
    "landscape send-events": ("elspeth landscape send-events -s settings.yaml",),
    "landscape log leave": ("elspeth landscape log leave -s settings.yaml",),
    "landscape log prove": (
        "elspeth landscape log prove latest -d runs/audit.db --checkpoint 2.checkpoint -o run.tlog-proof",
    ),
    "landscape log cosign": (
        "elspeth landscape log cosign 1.checkpoint --key w.pem --name w.org --policy logs --state w -o c.checkpoint",
    ),
    "landscape log witness": (
        "elspeth landscape log witness --listen 127.0.0.1:80 --key w.pem --name w.example --policy logs --state w",
    ),
}
"""The examples of each command."""


def show_examples(program: Any) -> None:  # noqa: ANN401  its type is private to typer
    """Make the help of each command end with its examples."""
    for name, command in leaves(program):
        if name in EXAMPLES:
            # \b prevents rewrapping of the lines.
            command.epilog = "\n".join(["\b", "Examples:", *(f"  $ {line}" for line in EXAMPLES[name])])


def leaves(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401  as above
    """Yield each command that is not a group, by name."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for part, below in command.commands.items():
        yield from leaves(below, f"{name} {part}".strip())
