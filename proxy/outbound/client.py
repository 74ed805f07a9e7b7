"""The only outgoing HTTP; destinations that may be led to the same places share connections.

Callers import from here what they need to call another system.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import random
from typing import ClassVar, Self

from aiohttp.abc import AbstractResolver

from proxy.domain.schedule import Jitter
from proxy.errors import ConfigurationError
from proxy.net.addresses import EgressPolicy, Network
from proxy.outbound.credentials import Credential, NoCredential, StaticHeader, WithHeaders
from proxy.outbound.destination import ANSWER_LIMIT, Destination, Observe
from proxy.outbound.guarded_connector import Connector
from proxy.outbound.responses import Call, Response, raise_for_status
from proxy.security.tls import Certificate, Tls

__all__ = [
    "Call",
    "Credential",
    "Destination",
    "EgressProxy",
    "NoCredential",
    "Observe",
    "Outbound",
    "Response",
    "StaticHeader",
    "WithHeaders",
    "raise_for_status",
]


@dataclass(frozen=True, slots=True)
class EgressProxy:
    """The HTTP proxy through which calls leave; `networks` are where itself may be."""

    url: str = field(repr=False)
    networks: Sequence[Network] = ()


class Outbound:
    """The connections of all destinations; an async context that opens and closes them.

    `kind` is the class of its destinations.
    """

    kind: ClassVar[type[Destination]] = Destination

    def __init__(
        self,
        *,
        observe: Observe = lambda _name, _outcome, _seconds: None,
        dice: Jitter = random,
        monotonic: Callable[[], float] = time.monotonic,
        loopback: bool = False,
        proxy: EgressProxy | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """Open nothing yet; `monotonic`, in seconds, says when TLS files are looked at again.

        `loopback` opens this machine itself to every destination, for demos and tests; `resolver`
        looks up names in place of the system.
        """
        self._monotonic = monotonic
        self._loopback = loopback
        self._proxy = proxy
        self._resolver = resolver
        self._observe = observe
        self._dice = dice
        self._pools: dict[EgressPolicy, Connector] | None = None

    async def __aenter__(self) -> Self:
        self._pools = {}
        return self

    async def __aexit__(self, *_: object) -> None:
        pools, self._pools = self._pools or {}, None
        for pool in pools.values():
            await pool.close()

    def destination(
        self,
        name: str,
        *,
        origins: Sequence[str],
        deadline: int,
        concurrency: int,
        credential: Credential,
        renew_on: frozenset[int] = frozenset({401}),
        ca_file: Path | None = None,
        client_certificate: Certificate | None = None,
        answer_limit: int = ANSWER_LIMIT,
        networks: Sequence[Network] = (),
        networks_setting: str = "networks",
        direct: bool = False,
    ) -> Destination:
        """Return a destination; `deadline` in milliseconds, `answer_limit` in bytes.

        `origins` are URLs; what is below their paths may be called. `networks` are opened beside
        public addresses, and `networks_setting` is where a person opens more. A
        destination that is `direct` is called past the proxy.

        Raises:
            ConfigurationError: an origin, the CA file or the client certificate cannot be used.
        """
        proxy = None if direct else self._proxy
        if proxy is not None:  # then what we connect to is the proxy, and it sees to the rest
            networks, networks_setting = proxy.networks, "outbound.proxy.networks"
        reach = EgressPolicy(tuple(networks), networks_setting, self._loopback)
        try:
            return self.kind(
                partial(self._pool, reach),
                name=name,
                origins=origins,
                reach=reach,
                proxy=proxy.url if proxy else None,
                deadline=deadline,
                concurrency=concurrency,
                credential=credential,
                renew_on=renew_on,
                tls=Tls(ca_file, client_certificate, monotonic=self._monotonic),
                answer_limit=answer_limit,
                dice=self._dice,
                observe=self._observe,
            )
        except (ValueError, OSError) as error:
            raise ConfigurationError(
                f"{name}: an origin, `ca_file` or `client_certificate` is unusable: {error}"
            ) from error

    def _pool(self, reach: EgressPolicy) -> Connector:
        """Return the connections that lead nowhere else: a pooled one is not judged once more."""
        if self._pools is None:
            raise ConfigurationError("the connections are not open: calls are made while serving")
        pool = self._pools.get(reach)
        if pool is None:
            pool = self._pools[reach] = Connector(self._resolver)
        return pool
