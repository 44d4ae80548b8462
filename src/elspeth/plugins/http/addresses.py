"""Checks the network addresses that a pipeline may call.

Without the check, the answer of a name server could direct a request into the network in which the pipeline runs.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from elspeth.contracts.plugins import CallError

__all__ = ["AddressGuard", "Network", "address_problem"]

Network = IPv4Network | IPv6Network
_Address = IPv4Address | IPv6Address

_NAT64 = ip_network("64:ff9b::/96")
"""The prefix of translated IPv4 addresses (RFC 6052, section 2.1)."""


class AddressGuard:
    """Resolves names of servers to public addresses.

    Addresses of `allowed` networks are accepted, too. A request goes to the address that was checked, so that the name
    server cannot substitute another one afterwards.
    """

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = tuple(allowed)

    def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host that may be called.

        There is at least one. Raises CallError if the name has no address that may be called.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise CallError(f"the name {host} cannot be resolved: {error}", is_retryable=True) from error
        addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
        problems = [address_problem(address, self._allowed) for address in addresses]
        if all(problems):
            raise CallError(f"{host} is not called: {problems[0]}", is_retryable=False)
        return [address for address, problem in zip(addresses, problems, strict=True) if problem is None]


def address_problem(text: str, allowed: Sequence[Network]) -> str | None:
    """Return why an address must not be called.

    Returns None if it may be called, or if the text is a name.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if any(each.version == network.version and each in network for each in _meant(address) for network in allowed):
        return None
    if all(map(_is_public, _meant(address))):
        return None
    return f"{text} is no public address; list its network in allowed_networks if it may be called"


def _is_public(address: _Address) -> bool:
    # `is_global` is also true of the former site-local addresses (RFC 3879), and of multicast groups.
    was_local = isinstance(address, IPv6Address) and address.is_site_local
    return address.is_global and not address.is_multicast and not was_local


def _meant(address: _Address) -> Iterator[_Address]:
    """Yield an address, and those that it embeds."""
    if isinstance(address, IPv4Address):
        yield address
        return
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
    embedded = [each for each in inner if each is not None]
    if address.ipv4_mapped is None:
        yield address
    yield from embedded
