"""The HTTP service of a witness.

The size and duration of requests are limited, and so is the number of simultaneous connections.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from elspeth.evidence.format.errors import EvidenceError, printable
from elspeth.evidence.witness.requests import MAX_REQUEST
from elspeth.evidence.witness.witness import RefusedError, Witness

__all__ = ["WitnessServer"]

_PATH = "/add-checkpoint"
_CONNECTIONS = 32
_TIMEOUT_S = 10.0


class WitnessServer(ThreadingHTTPServer):
    """Serves `add-checkpoint` at an address.

    `report` is called with one line per request. Raises OSError if the address cannot be used.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], witness: Witness, report: Callable[[str], None]) -> None:
        self.witness = witness
        self.report = report
        self._places = threading.BoundedSemaphore(_CONNECTIONS)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Handle a connection in a thread, within the limit."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Handle a connection, then release its place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  as in the base class
        """Report a connection that broke."""
        self.report("a connection broke")


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: WitnessServer
    protocol_version = "HTTP/1.1"
    server_version = "elspeth-witness"
    sys_version = ""
    timeout = _TIMEOUT_S

    def do_POST(self) -> None:
        """Answer `add-checkpoint`."""
        if self.path != _PATH:
            self._answer(HTTPStatus.NOT_FOUND, f"expected {_PATH}\n", is_read=False)
            return
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Transfer-Encoding") or not (length.isascii() and length.isdigit()):
            self._answer(HTTPStatus.BAD_REQUEST, "expected a Content-Length\n", is_read=False)
            return
        if len(length) > len(str(MAX_REQUEST)) or int(length) > MAX_REQUEST:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {MAX_REQUEST} bytes\n", is_read=False)
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return
        self._cosign(body)

    def _cosign(self, body: bytes) -> None:
        try:
            cosignature = self.server.witness.add_checkpoint(body)
        except RefusedError as refusal:
            self.server.report(f"{refusal.status.value} {printable(str(refusal))}")
            if refusal.size is None:
                self._answer(refusal.status, f"{printable(str(refusal))}\n")
            else:
                self._answer(refusal.status, f"{refusal.size}\n", content_type="text/x.tlog.size")
        except (EvidenceError, OSError) as error:
            # The witness cannot use its own files or key, so it answers nothing rather than cosign without a check.
            self.server.report(f"500 {printable(str(error))}")
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, "the witness cannot cosign now\n")
        else:
            self.server.report("200 cosigned")
            self._answer(HTTPStatus.OK, cosignature.to_bytes().decode())

    def do_GET(self) -> None:
        """Refuse, because a witness offers nothing to read."""
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, f"expected POST {_PATH}\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as in the base class
        """Log nothing, because `report` is called with each answer."""

    def _answer(
        self, status: HTTPStatus, text: str, *, content_type: str = "text/plain; charset=utf-8", is_read: bool = True
    ) -> None:
        """Send an answer."""
        body = text.encode()
        self.close_connection = self.close_connection or not is_read
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
