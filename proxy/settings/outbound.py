"""Settings of every outgoing call: loopback addresses and the egress proxy."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from proxy.settings.secrets import Secret
from proxy.settings.types import OpenedNetworks, Section


def _http_url(secret: Secret) -> Secret:
    parts = urlsplit(secret.reveal())
    if secret.readable and (parts.scheme not in {"http", "https"} or not parts.hostname):
        raise ValueError("not the URL of an HTTP proxy (expected http://host:3128)")
    return secret


class EgressProxy(Section):
    """An HTTP proxy through which calls leave."""

    url: Annotated[Secret, AfterValidator(_http_url)]
    """Its address, such as `http://host:3128`; it may hold a user and a password."""
    networks: OpenedNetworks = ()
    """Networks that are not public, in which the proxy may be."""


class Outbound(Section):
    """Settings of every outgoing call."""

    loopback: bool = False
    """`true`: this machine may be called, for demos and tests."""
    proxy: EgressProxy | None = None
    """The egress proxy; null: destinations are called directly."""
