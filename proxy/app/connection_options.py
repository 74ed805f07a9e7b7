"""The connection options of a system that we call, the same for all its URLs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from proxy.net.addresses import Network, read_networks
from proxy.settings.ticket_systems import System
from proxy.settings.url_rules import networks_of
from proxy.settings.witboost import WitboostInstance


class ConnectionOptions(TypedDict):
    """The CA of TLS, further allowed networks, and whether to bypass the proxy."""

    ca_file: Path | None
    networks: Sequence[Network]
    networks_setting: str
    direct: bool


def connection_options(
    system: System | WitboostInstance, setting: str, networks: Sequence[str] | None = None
) -> ConnectionOptions:
    """Return the options of a system, or of a part of it that has its own `networks`.

    `setting` is the setting that allows more networks.
    """
    return ConnectionOptions(
        ca_file=system.ca_file,
        networks=read_networks(networks_of(system, networks)),
        networks_setting=setting,
        direct=system.direct,
    )
