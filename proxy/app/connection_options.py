"""The way to a system that we call, which its settings say once for all its URLs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from proxy.net.addresses import Network, read_networks
from proxy.settings.neighbours import WitboostInstance
from proxy.settings.ticket_systems import System
from proxy.settings.url_rules import networks_of


class ConnectionOptions(TypedDict):
    """Whom TLS trusts, what is opened beside public addresses, and whether to pass the proxy by."""

    ca_file: Path | None
    networks: Sequence[Network]
    networks_setting: str
    direct: bool


def connection_options(
    system: System | WitboostInstance, setting: str, networks: Sequence[str] | None = None
) -> ConnectionOptions:
    """Return the way to a system, or to a part of it that has `networks` of its own.

    `setting` is where a person opens more networks.
    """
    return ConnectionOptions(
        ca_file=system.ca_file,
        networks=read_networks(networks_of(system, networks)),
        networks_setting=setting,
        direct=system.direct,
    )
