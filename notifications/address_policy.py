"""Which addresses an alarm may be sent to: a route must not reach into the network behind the server."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# Gateways translate these to the address of IPv4 in the last 32 bits (RFC 6052).
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# Translated in ways that only the local network knows (RFC 8215, RFC 2765), or the obsolete form of an IPv4 address.
_NOT_PUBLIC: Final = tuple(
    ipaddress.IPv6Network(text) for text in ("64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96")
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AddressRefused(Exception):
    """A name has an address that no alarm may be sent to; the message says why, as the end of a sentence."""


@dataclass(frozen=True)
class AddressPolicy:
    """The private networks that routes may reach; public addresses are always allowed."""

    networks: Sequence[Network] = ()

    def is_private(self, address: str) -> bool:
        """Return whether an address is one of this machine, of a private network, or otherwise not public."""
        return not _is_public(_parse(address))

    def check(self, address: str) -> None:
        """Raise AddressRefused if no alarm may be sent to an address."""
        parsed = _parse(address)
        if parsed.is_multicast or parsed.is_unspecified or not self._allows(parsed):
            raise AddressRefused(
                "its address is not a public one: an administrator of the machine can allow its network by "
                "MILLWRIGHT_ALARM_PRIVATE_NETWORKS"
            )

    def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host.

        Raises
        ------
        AddressRefused
            One of them is forbidden: a name with a public and a private address may be there to deceive.
        OSError
            The name cannot be resolved.
        """
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
        for address in addresses:
            self.check(address)
        return addresses

    def connect(self, host: str, port: int, timeout_seconds: float) -> socket.socket:
        """Connect to an address that was checked: a second lookup could return another one."""
        failure: OSError = OSError("the name has no address")
        for address in self.resolve(host, port):
            try:
                return socket.create_connection((address, port), timeout=timeout_seconds)
            except OSError as error:
                failure = error
        raise failure

    def _allows(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return _is_public(address) or any(address in network for network in self.networks)


def parse_networks(texts: Sequence[str]) -> AddressPolicy:
    """Return the policy of a setting: networks such as ``10.0.0.0/8``, and single addresses."""
    return AddressPolicy([ipaddress.ip_network(text, strict=False) for text in texts])


def _parse(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address without its zone; one of IPv4 that is written as IPv6 is judged as what it is."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv4Address):
        return parsed
    if parsed in _NAT64:
        return ipaddress.IPv4Address(int(parsed) & 0xFFFF_FFFF)
    return parsed.ipv4_mapped or parsed.sixtofour or parsed


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_global and not any(address in network for network in _NOT_PUBLIC)
