"""Addresses that a pipeline may call."""

from __future__ import annotations

import socket
from ipaddress import ip_network

import pytest

from elspeth.contracts.plugins import CallError
from elspeth.plugins.http.addresses import AddressGuard, address_problem

PRIVATE = [
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.1", "100.64.0.1", "224.0.0.1"),
    *(
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fe80::1%25eth0",
        "::1%1",
        "::ffff:127.0.0.1%lo",
        "fc00::1",
        "ff02::1",
        "fec0::1",
    ),
    *("::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "2002:7f00:1::", "64:ff9b::7f00:1", "2001:0:7f00:1::", "255.255.255.255"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert address_problem(address, []) == (
        f"{address} is no public address; list its network in allowed_networks if it may be called"
    )


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:21f:cb07::1", "::ffff:93.184.215.14", "api.example.com"]
)
def test_a_public_address_and_a_name_are_not_refused(address: str) -> None:
    assert address_problem(address, []) is None


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "fd00::7"])
def test_an_address_of_an_allowed_network_is_not_refused(address: str) -> None:
    allowed = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
    assert address_problem(address, allowed) is None
    assert address_problem("192.168.1.1", allowed) is not None


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name have these addresses."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def test_a_name_resolves_to_its_public_addresses_only(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "127.0.0.1", "93.184.215.14", "93.184.215.15", "93.184.215.14")
    assert AddressGuard([]).resolve("api.example.com", 80) == ["93.184.215.14", "93.184.215.15"]


def test_a_name_with_only_private_addresses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "127.0.0.1", "::1")
    with pytest.raises(
        CallError, match=r"^api\.example\.com is not called: 127\.0\.0\.1 is no public address"
    ) as raised:
        AddressGuard([]).resolve("api.example.com", 80)
    assert not raised.value.is_retryable


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "017700000001", "localhost"])
def test_other_spellings_of_an_address_are_refused_alike(host: str) -> None:
    with pytest.raises(CallError, match="is not called: "):
        AddressGuard([]).resolve(host, 80)


def test_a_name_without_an_address_is_retryable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(CallError, match=r"^the name api\.example\.com cannot be resolved: ") as raised:
        AddressGuard([]).resolve("api.example.com", 80)
    assert raised.value.is_retryable
