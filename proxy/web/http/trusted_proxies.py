"""Who is at the other end of a connection, and whom a proxy before us speaks for."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from aiohttp import web

from proxy.net.addresses import Network, within

_FORWARDED: Final = "X-Forwarded-For"


class TrustedProxies:
    """Knows the proxies that may say for whom they call; everybody else speaks for themselves."""

    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._trusted = tuple(trusted)

    def is_proxy(self, request: web.BaseRequest) -> bool:
        """Whether the connection comes from a trusted proxy."""
        return self.is_trusted(request.remote or "")

    def client(self, request: web.BaseRequest) -> str:
        """Return the address of the client: the last one that no trusted proxy stands for.

        Each proxy appends whom it was called by; what stands further left is the caller's word.
        """
        remote = request.remote or ""
        if not self.is_trusted(remote):
            return remote
        named = ",".join(request.headers.getall(_FORWARDED, ())).split(",")
        for each in reversed(named):
            address = each.strip()
            if not _is_address(address):
                break
            remote = address
            if not self.is_trusted(address):
                break
        return remote

    def is_trusted(self, text: str) -> bool:
        """Whether an address is that of a trusted proxy."""
        return bool(self._trusted) and _is_address(text) and within(text, self._trusted)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
