"""The egress policy: public addresses are called, others only if their network is opened.

A name may resolve to any address, and its owner can change the address between two look-ups, so
the address of the connection itself is checked. `ipaddress` alone is not enough: it treats several
transition and reserved ranges as public, and an IPv6 address may stand for an IPv4 one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PRIVATE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
"""The networks that the word `private` stands for (RFC 1918, RFC 4193)."""


def _all(*texts: str) -> tuple[Network, ...]:
    return tuple(map(ip_network, texts))


_METADATA: Final = _all(
    "169.254.169.254/32",  # AWS, Azure, Google Cloud, OpenStack ...
    "fd00:ec2::/32",  # AWS
    "fd20:ce::254/128",  # Google Cloud
    "100.100.100.200/32",  # Alibaba Cloud
    "168.63.129.16/32",  # Azure's host
    "192.0.0.192/32",  # Oracle Cloud
)
_LOOPBACK: Final = _all("127.0.0.0/8", "::1/128")
_NEVER: Final = _all(
    "0.0.0.0/8",  # "this host" (RFC 1122 3.2.1.3): Linux connects to itself
    "::/128",
    "169.254.0.0/16",  # link-local
    "fe80::/10",
    "224.0.0.0/4",  # multicast
    "ff00::/8",
    "240.0.0.0/4",  # reserved, and broadcast
)
_NOT_PUBLIC: Final = _all(
    "192.88.99.0/24",  # 6to4 relays (RFC 7526)
    "::/96",  # IPv4-compatible (RFC 4291 2.5.5.1)
    "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765)
    "64:ff9b:1::/48",  # local NAT64 (RFC 8215)
    "2001::/32",  # Teredo (RFC 4380)
    "2002::/16",  # 6to4 (RFC 3056)
    "3fff::/20",  # documentation (RFC 9637)
    "5f00::/16",  # segment routing (RFC 9602)
    "fec0::/10",  # site-local (RFC 3879)
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
_TRANSLATED: Final = IPv6Network("::ffff:0:0:0/96")
_COMPATIBLE: Final = IPv6Network("::/96")
_LOCAL_NAT64: Final = IPv6Network("64:ff9b:1::/48")
_ISATAP: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})
_LOW: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """The addresses that one destination may connect to."""

    networks: tuple[Network, ...] = ()
    """Networks that are opened in addition to the public ones."""
    setting: str = "networks"
    """Name of the setting that opens networks, for messages."""
    loopback: bool = False
    """True if this machine itself may be called."""

    def refusal_reason(self, text: str) -> str:
        """Return why the address is refused and how to allow it; empty if it is allowed.

        Raises:
            ValueError: the text is not an IP address.
        """
        for address in effective_addresses(ip_address(text)):
            if reason := self._refusal_reason(address):
                return reason
        return ""

    def _refusal_reason(self, address: Address) -> str:
        if _in(address, _METADATA):
            return f"{address} is the metadata service of a cloud, which is never called"
        if _in(address, _LOOPBACK):
            advice = "outbound.loopback: true opens this machine, for demos and tests"
            return "" if self.loopback else f"{address} is this machine itself; {advice}"
        if _in(address, _NEVER):
            return f"{address} is link-local, multicast or reserved, which is never called"
        if _is_public(address) or _in(address, self.networks):
            return ""
        return f"{address} is not public; if it is right, open its network in {self.setting}"


PUBLIC: Final = EgressPolicy()


def effective_addresses(address: Address) -> Iterator[Address]:
    """Yield every address that a connection to this one may reach; the address itself is last."""
    if isinstance(address, IPv4Address):
        yield address
        return
    number = int(address)
    if address.ipv4_mapped is not None:  # the kernel connects to the IPv4 address
        yield address.ipv4_mapped
        return
    if address in _NAT64 or address in _TRANSLATED or address in _LOCAL_NAT64:
        yield IPv4Address(number & _LOW)
    if address in _COMPATIBLE and number > 1:
        yield IPv4Address(number)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if number >> 32 & _LOW in _ISATAP:  # RFC 5214 6.1
        yield IPv4Address(number & _LOW)
    if address not in _NAT64:  # networks with IPv6 alone reach public IPv4 through it
        yield address


def read_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Return the networks of a setting; `private` stands for `PRIVATE`.

    Raises:
        ValueError: a text is not a network.
    """
    networks: list[Network] = []
    for text in texts:
        if text == "private":
            networks.extend(map(ip_network, PRIVATE))
            continue
        try:
            networks.append(ip_network(text))
        except ValueError as error:
            reason = ": host bits are set" if "host bits" in str(error) else ""
            raise ValueError(
                f"{text!r} is not a network{reason} (expected 10.0.0.0/8, fd12:3456::/32 or"
                " private)"
            ) from None
    return tuple(networks)


def openable(networks: Sequence[Network]) -> None:
    """Refuse networks whose addresses are never called.

    Raises:
        ValueError: opening a network would have no effect.
    """
    for network in networks:
        if any(_inside(network, other) for other in (*_METADATA, *_LOOPBACK, *_NEVER)):
            raise ValueError(
                f"{network} cannot be opened: loopback, link-local, multicast, reserved and cloud"
                " metadata addresses are never called (remove it)"
            )


def within(text: str, networks: Sequence[Network]) -> bool:
    """Return True if the address is in one of the networks.

    Raises:
        ValueError: the text is not an IP address.
    """
    address = ip_address(text)
    return _in(getattr(address, "ipv4_mapped", None) or address, networks)


def _is_public(address: Address) -> bool:
    return address.is_global and not _in(address, _NOT_PUBLIC)


def _in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def _inside(network: Network, other: Network) -> bool:
    return (
        network.version == other.version
        and network.network_address in other
        and network.prefixlen >= other.prefixlen
    )
