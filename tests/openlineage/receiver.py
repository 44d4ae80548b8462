"""A catalogue on this machine that takes events over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, Self

__all__ = ["Receiver", "receiving"]


class Receiver(ThreadingHTTPServer):
    """Answers each request with `status`, or only at its end.

    `events` are those that came, `headers` the ones that came with the last.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, status: int | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.events: list[dict[str, Any]] = []
        self.headers: dict[str, str] = {}
        self.has_ended = Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def transport(self, **more: object) -> dict[str, object]:
        """Return settings that send to here, trying once."""
        return {"type": "http", "url": self.url, "retry": {"total": 0}, **more}


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self: Self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.status is None:
            self.server.has_ended.wait()
            return
        self.server.headers = {name.lower(): value for name, value in self.headers.items()}
        if self.server.status < 300:
            self.server.events.append(json.loads(content))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def receiving(status: int | None = 201) -> Iterator[Receiver]:
    """Yield a catalogue; None as status stands for no answer."""
    with Receiver(status) as receiver:
        thread = Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield receiver
        receiver.has_ended.set()
        receiver.shutdown()
        thread.join()
