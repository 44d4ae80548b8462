"""Attempts of servers and the environment to misuse an endpoint."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from elspeth.contracts.plugins import CallError
from elspeth.core.canonical import canonical_bytes
from elspeth.engine.calls.exchange import describe_error
from elspeth.plugins.http.addresses import AddressGuard
from elspeth.plugins.http.endpoint import Endpoint
from elspeth.plugins.http.transport import GuardedTransport
from tests.evidence.pki import Certified, make_root, pem, write
from tests.fixtures.llm_server import Answer, LlmServer, _Handler, answers, drips_headers, llm_server

KEY = "sk-do-not-tell"
LOOPBACK = [ip_network("127.0.0.0/8")]


@contextmanager
def endpoint(*, key: str | None = None, parameter: str | None = None, timeout: float = 30.0) -> Iterator[Endpoint]:
    made = Endpoint(api_key=key, key_parameter=parameter, timeout=timeout, guard=AddressGuard(LOOPBACK))
    try:
        yield made
    finally:
        made.close()


@contextmanager
def asking(*script: Answer, **options: str | float) -> Iterator[tuple[Endpoint, LlmServer]]:
    with llm_server(*script) as server, endpoint(**options) as asked:  # type: ignore[arg-type]  # drawn from literals
        yield asked, server


def test_cookies_of_an_answer_are_not_sent_with_the_next_request() -> None:
    with asking(*[answers(200, headers={"Set-Cookie": "row=1; Path=/"})] * 2) as (asked, server):
        for _ in range(2):
            asked.exchange("GET", server.url)
        assert [each.headers.get("cookie") for each in server.received] == [None, None]


def test_an_endpoint_can_be_used_again_after_it_was_closed() -> None:
    with asking(*[answers(200)] * 2) as (asked, server):
        for _ in range(2):
            assert asked.exchange("GET", server.url)[0] == 200
            asked.close()
            asked.close()


def test_an_answer_that_is_not_read_to_its_end_leaves_no_connection() -> None:
    with asking(answers(200, b"12"), answers(200, b"12")) as (asked, server):
        assert asked.exchange("GET", server.url, limit=2)[2] == b"12"
        with pytest.raises(CallError, match=r"^the answer is larger than 1 bytes$"):
            asked.exchange("GET", server.url, limit=1)
        transport = asked._connect()._transport
        assert isinstance(transport, GuardedTransport)
        assert transport._pool("http").connections == []


def test_an_answer_is_refused_as_soon_as_it_is_too_large() -> None:
    def stalls(handler: _Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"x" * 20)
        handler.server.closing.wait()

    too_large = pytest.raises(CallError, match=r"^the answer is larger than 10 bytes$")
    with asking(stalls, timeout=2.0) as (asked, server), too_large:
        asked.exchange("GET", server.url, limit=10)


def test_only_named_headers_of_an_answer_are_returned_and_none_may_repeat_the_key() -> None:
    headers = {"ETag": '"7"', "X-Request-Id": "r", "Link": "<a>", "Server-Timing": "x"}
    with llm_server(answers(200, headers=headers), answers(200, headers={"ETag": KEY})) as server:
        asked = Endpoint(api_key=KEY, timeout=30.0, guard=AddressGuard(LOOPBACK), kept=("etag", "link"))
        expected = {"content-type": "application/json", "x-request-id": "r", "etag": '"7"', "link": "<a>"}
        assert asked.exchange("GET", server.url)[1] == expected
        with pytest.raises(CallError) as raised:
            asked.exchange("GET", server.url)
        asked.close()
    assert str(raised.value) == "the answer repeats the api_key: it is neither used nor kept"
    assert (raised.value.is_retryable, raised.value.details) == (False, {"status": 200})


def test_an_answer_is_requested_without_compression() -> None:
    with asking(answers(200)) as (asked, server):
        asked.exchange("GET", server.url)
        assert server.received[0].headers["accept-encoding"] == "identity"


def test_a_url_that_cannot_be_called_is_not_tried_again() -> None:
    with endpoint() as asked, pytest.raises(CallError) as raised:
        asked.exchange("GET", "http://[::1/")
    assert str(raised.value).startswith("the URL cannot be called: ")
    assert not raised.value.is_retryable


def test_slow_headers_have_a_deadline() -> None:
    with asking(drips_headers, timeout=0.1) as (asked, server):
        with pytest.raises(CallError, match=r"^no complete answer within 0\.1 seconds$") as raised:
            asked.exchange("GET", server.url)
        assert raised.value.is_retryable


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with llm_server(answers(200)) as proxy, asking(answers(200)) as (asked, server):
        monkeypatch.delenv("NO_PROXY")
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        asked.exchange("GET", server.url)
        assert (len(server.received), proxy.received) == (1, [])


def test_a_key_in_the_url_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with asking(answers(200), key=KEY, parameter="key") as (asked, server), caplog.at_level(logging.DEBUG):
        asked.exchange("GET", f"{server.url}?a=b")
        assert server.received[0].path == f"/v1?a=b&key={KEY}"
    assert KEY not in caplog.text


def test_a_key_in_the_url_is_percent_encoded() -> None:
    with asking(answers(200), key="a+b/c=&d", parameter="the key") as (asked, server):
        asked.exchange("GET", server.url)
        assert server.received[0].path == "/v1?the%20key=a%2Bb%2Fc%3D%26d"


def test_the_next_address_is_tried_if_the_first_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: int, *_: object, **__: object) -> list[object]:
        addresses = ["127.0.0.2", "127.0.0.1"] if host == "api.example.com" else [host]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    with asking(answers(200)) as (asked, server):
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        assert asked.exchange("GET", f"http://api.example.com:{server.server_port}/")[0] == 200


def test_the_certificate_must_be_that_of_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, other = make_root(), make_root("Other")
    names = x509.SubjectAlternativeName([x509.DNSName("api.example.com")]), False
    issuer = (
        x509.AuthorityKeyIdentifier.from_issuer_public_key(cast(EllipticCurvePublicKey, root.key.public_key())),
        False,
    )
    leaf = root.issue("api.example.com", (names, issuer))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(write(tmp_path / "leaf.pem", pem(leaf) + leaf.private_pem))
    with llm_server(answers(200)) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        resolved = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.server_port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: resolved)

        def ask(name: str, trusted: Certified) -> int:
            monkeypatch.setenv("SSL_CERT_FILE", str(write(tmp_path / "roots.pem", pem(trusted))))
            with endpoint(key=KEY) as asked:
                return asked.exchange("GET", f"https://{name}:{server.server_port}/")[0]

        for name, trusted in (("api.example.com", other), ("www.example.com", root)):
            with pytest.raises(CallError, match=r"^the connection failed: .*CERTIFICATE_VERIFY_FAILED"):
                ask(name, trusted)
        assert server.received == []
        assert ask("api.example.com", root) == 200


def test_the_name_is_sent_and_the_checked_address_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for = []

    def resolve(host: str, port: int, *_: object, **__: object) -> list[object]:
        if host != "127.0.0.1":  # of the socket itself
            asked_for.append(host)
        address = "127.0.0.1" if len(asked_for) == 1 else "10.0.0.1"  # as a name server that rebinds would answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    with asking(answers(200)) as (asked, server):
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        asked.exchange("GET", f"http://api.example.com:{server.server_port}/orders")
        assert server.received[0].headers["host"] == f"api.example.com:{server.server_port}"
    assert asked_for == ["api.example.com"]


@pytest.mark.parametrize("after", ["9" * 400, "Fri, 31 Dec 9999 23:59:59 -2359", "-1", "soon", "\u0662"])
def test_any_retry_after_can_be_recorded(after: str) -> None:
    answer = answers(503, headers={"Retry-After": after.encode().decode("latin-1")})
    with asking(answer) as (asked, server), pytest.raises(CallError) as raised:
        asked.exchange("GET", server.url)
    canonical_bytes(describe_error(raised.value))
    assert raised.value.is_retryable
