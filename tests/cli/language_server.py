"""A client of a language server, like an editor.

It speaks the Language Server Protocol over standard input and output.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import IO, Any

__all__ = ["LanguageServer", "serving"]

Json = dict[str, Any]


class LanguageServer:
    """A language server with documents that are open."""

    def __init__(self, reading: IO[bytes], writing: IO[bytes]) -> None:
        self._reading = reading
        self._writing = writing
        self._numbers = count(1)

    def start(self, directory: Path) -> None:
        """Initialise the server with the capabilities of an editor."""
        document = {
            "completion": {"completionItem": {"documentationFormat": ["plaintext"]}},
            "hover": {"contentFormat": ["plaintext"]},
            "publishDiagnostics": {},
        }
        capabilities = {"textDocument": document, "workspace": {"configuration": True}}
        self.ask("initialize", processId=None, rootUri=directory.as_uri(), capabilities=capabilities)
        self._send({"method": "initialized", "params": {}})

    def open(self, path: Path, text: str) -> list[Json]:
        """Open a document, and return its problems."""
        document = {"uri": path.as_uri(), "languageId": "yaml", "version": 1, "text": text}
        self._send({"method": "textDocument/didOpen", "params": {"textDocument": document}})
        while True:
            message = self._receive()
            if message.get("method") == "textDocument/publishDiagnostics":
                found: list[Json] = message["params"]["diagnostics"]
                return found

    def at(self, method: str, path: Path, line: int, character: int) -> Any:  # noqa: ANN401  an answer of the protocol
        """Send a request about a place in a document."""
        document, position = {"uri": path.as_uri()}, {"line": line, "character": character}
        return self.ask(f"textDocument/{method}", textDocument=document, position=position)

    def ask(self, method: str, **params: object) -> Any:  # noqa: ANN401  an answer of the protocol
        """Send a request, and return the result."""
        number = next(self._numbers)
        self._send({"id": number, "method": method, "params": params})
        while True:
            message = self._receive()
            if message.get("id") == number and "method" not in message:
                return message["result"]

    def _receive(self) -> Json:
        """Return the next message that is not a question."""
        while True:
            length = 0
            while (line := self._reading.readline().strip()) != b"":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            assert length, "the server has ended"
            message: Json = json.loads(self._reading.read(length))
            if "id" not in message or "method" not in message:
                return message
            self._send({"id": message["id"], "result": _answer(message)})

    def _send(self, message: Json) -> None:
        content = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._writing.write(b"Content-Length: %d\r\n\r\n%b" % (len(content), content))
        self._writing.flush()


def _answer(question: Json) -> object:
    """Return the settings that the server asks for.

    It must not fetch schemas from the network.
    """
    if question["method"] != "workspace/configuration":
        return None
    yaml = {"validate": True, "hover": True, "completion": True, "schemaStore": {"enable": False}}
    return [yaml if each.get("section") == "yaml" else None for each in question["params"]["items"]]


@contextmanager
def serving(command: str, directory: Path) -> Iterator[LanguageServer]:
    """Run a language server for the documents of a directory."""
    with subprocess.Popen(
        [command, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=directory
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        server = LanguageServer(process.stdout, process.stdin)
        try:
            server.start(directory)
            yield server
        finally:
            process.terminate()
