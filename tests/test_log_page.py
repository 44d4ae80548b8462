"""The examples in docs/log.md work."""

from __future__ import annotations

import re
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from elspeth.cli import main
from elspeth.core.settings.landscape import LogSettings
from elspeth.evidence.format.notes import NoteKeyType, NoteSigner
from elspeth.evidence.format.signatures import load_signer
from elspeth.evidence.witness.server import WitnessServer
from elspeth.evidence.witness.witness import Witness

PAGE = (Path(__file__).parent.parent / "docs" / "log.md").read_text(encoding="utf-8")

SETTINGS = """
datasource: {plugin: csv, options: {path: in.csv}}
output_sink: out
sinks: {out: {plugin: csv, options: {path: out.csv}}}
landscape:
  url: sqlite:///audit.db
  log: {key: log/elspeth.key.pem, after_run: [{file: left/}]}
  export: {enabled: true, format: bag, path: "bags/{run_id}.zip", key: keys/elspeth.key.pem, sign: true}
"""

Captured = pytest.CaptureFixture[str]


def commands() -> Iterator[list[str]]:
    """Yield the arguments of each command on the page."""
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                program, *arguments = shlex.split(line[2:])
                assert program == "elspeth"
                yield arguments


def write_policies(url: str) -> None:
    """Write the policies of both departments."""
    Path("first.checkpoint").unlink(missing_ok=True)
    note = next(Path("kept").iterdir()).read_text()
    log = NoteSigner(name=note.partition("\n")[0], signer=load_signer("log/elspeth.key.pem"))
    audit = NoteSigner(name="witness.example", signer=load_signer("audit/elspeth.key.pem"))
    line = f"log {log.verifier_key(NoteKeyType.ED25519)}\n"
    Path("logs").write_text(f"{line}quorum none\n")
    key = audit.verifier_key(NoteKeyType.COSIGNATURE)
    Path("policy").write_text(f"{line}witness audit {key} {url}\nquorum audit\n")


def run() -> None:
    assert main(["run", "-s", "settings.yaml", "--execute"]) == 0


@pytest.fixture
def departments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make the place where both departments work."""
    monkeypatch.chdir(tmp_path)
    Path("settings.yaml").write_text(SETTINGS)
    Path("in.csv").write_text("id\n1\n")
    servers: list[tuple[WitnessServer, threading.Thread]] = []

    class Served(WitnessServer):
        """Serves in a thread, at a free port."""

        def __init__(self, address: tuple[str, int], witness: Witness, report: object) -> None:
            super().__init__((address[0], 0), witness, lambda _: None)
            assert address[1] == 8099
            assert callable(report)

        def serve_forever(self, poll_interval: float = 0.01) -> None:
            thread = threading.Thread(target=super().serve_forever, args=(poll_interval,))
            thread.start()
            servers.append((self, thread))
            write_policies(f"http://127.0.0.1:{self.server_address[1]}")

        def server_close(self) -> None:
            """Stay open after the command has ended."""

    monkeypatch.setattr("elspeth.evidence.witness.server.WitnessServer", Served)
    yield tmp_path
    for server, thread in servers:
        server.shutdown()
        thread.join()
        WitnessServer.server_close(server)


@pytest.mark.usefixtures("departments")
def test_every_command_works_in_its_order(capsys: Captured) -> None:
    assert main(["keys", "generate", "-o", "keys"]) == 0
    found = list(commands())
    names = [" ".join(each[:3]) for each in found]
    for arguments in found:
        if arguments[:1] == ["verify"] and "monday.zip" in arguments:
            for path, name in zip(Path("bags").iterdir(), ("monday.zip", "tuesday.zip"), strict=True):
                path.rename(name)
        if "witness" in arguments:
            write_policies("")
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        assert code == 0, (arguments, captured.err)
        if arguments == found[0]:
            run()
        if arguments[:3] == ["landscape", "log", "leave"]:
            run()
            assert captured.err == "a checkpoint was left at 1 place\n"
    assert captured.err.endswith("2 bags are points of one history\n")
    assert len(names) == 14


def test_the_settings_of_the_page_are_valid() -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    log = LogSettings.model_validate(yaml.safe_load(text)["landscape"]["log"])
    assert [bool(place.file) for place in log.after_run] == [True, True, False]
