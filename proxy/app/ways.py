"""The way to a system that we call, which its settings say once for all its URLs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from proxy.domain.addresses import Network, read_networks
from proxy.settings.neighbours import WitboostInstance
from proxy.settings.systems import System


class Way(TypedDict):
    """Whom TLS trusts, what is opened beside public addresses, and whether to pass the proxy by."""

    ca_file: Path | None
    networks: Sequence[Network]
    networks_setting: str
    direct: bool


def way_to(
    system: System | WitboostInstance, setting: str, networks: Sequence[str] | None = None
) -> Way:
    """Return the way to a system; `setting` is where a person opens more networks.

    A part that may be elsewhere, such as a token endpoint, has `networks` of its own; None means
    that they are the system's.
    """
    return Way(
        ca_file=system.ca_file,
        networks=read_networks(system.networks if networks is None else networks),
        networks_setting=setting,
        direct=system.direct,
    )
