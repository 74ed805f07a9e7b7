"""The client's address behind trusted proxies (X-Forwarded-For)."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from aiohttp import web

from proxy.net.addresses import Network, within

_FORWARDED: Final = "X-Forwarded-For"


class TrustedProxies:
    """The proxies whose X-Forwarded-For is trusted; that of anybody else is ignored."""

    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._trusted = tuple(trusted)

    def is_proxy(self, request: web.BaseRequest) -> bool:
        """Return True if the connection comes from a trusted proxy."""
        return self.is_trusted(request.remote or "")

    def client(self, request: web.BaseRequest) -> str:
        """Return the client's address: the last one that is not a trusted proxy.

        Each proxy appends the address of its own caller, so whatever stands further left is the
        client's unverified claim.
        """
        remote = request.remote or ""
        if not self.is_trusted(remote):
            return remote
        forwarded = ",".join(request.headers.getall(_FORWARDED, ())).split(",")
        for address in map(str.strip, reversed(forwarded)):
            if not _is_address(address):
                break
            remote = address
            if not self.is_trusted(address):
                break
        return remote

    def is_trusted(self, address: str) -> bool:
        """Return True if the address is that of a trusted proxy."""
        return bool(self._trusted) and _is_address(address) and within(address, self._trusted)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
