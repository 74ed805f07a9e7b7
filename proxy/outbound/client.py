"""The connection pools of all destinations: every outgoing HTTP call of the program uses one.

Destinations with the same egress policy share a pool. Callers import from here what they need to
call another system.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
    """The HTTP proxy through which calls leave."""

    url: str = field(repr=False)
    """The URL of the proxy; it may hold user and password."""
    networks: Sequence[Network] = ()
    """Networks, in addition to public addresses, in which the proxy itself may be."""


@contextmanager
def _usable(name: str) -> Iterator[None]:
    """Translate what is wrong with the addresses and files of a destination."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise ConfigurationError(
            f"{name}: an origin, `ca_file` or `client_certificate` cannot be used: {error}"
        ) from error


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
        """Open nothing yet; `monotonic`, in seconds, decides when TLS files are read again.

        `loopback` allows every destination to connect to this machine, for demos and tests;
        `resolver` replaces the system's name resolution.
        """
        self._monotonic = monotonic
        self._loopback = loopback
        self._proxy = proxy
        self._resolver = resolver
        self._new = partial(self.kind, observe=observe, dice=dice)
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

        `origins` are URLs; a call must be below the path of one of them. `networks` are allowed in
        addition to public addresses, and `networks_setting` names the setting that allows more.
        A `direct` destination is not called through the proxy. Raises ConfigurationError if an
        origin, the CA file or the client certificate cannot be used.
        """
        proxy = None if direct else self._proxy
        egress = self._egress(proxy, networks, networks_setting)
        with _usable(name):
            return self._new(
                partial(self._pool, egress),
                name=name,
                origins=origins,
                egress=egress,
                proxy=proxy.url if proxy else None,
                deadline=deadline,
                concurrency=concurrency,
                credential=credential,
                renew_on=renew_on,
                tls=Tls(ca_file, client_certificate, monotonic=self._monotonic),
                answer_limit=answer_limit,
            )

    def _egress(
        self, proxy: EgressProxy | None, networks: Sequence[Network], setting: str
    ) -> EgressPolicy:
        """Return where connections may go: to the proxy where there is one, which does the rest."""
        if proxy is not None:
            networks, setting = proxy.networks, "outbound.proxy.networks"
        return EgressPolicy(tuple(networks), setting, self._loopback)

    def _pool(self, egress: EgressPolicy) -> Connector:
        """Return the pool of one policy: a pooled connection is not checked again when reused."""
        if self._pools is None:
            raise ConfigurationError("the connections are not open: calls are made while serving")
        pool = self._pools.get(egress)
        if pool is None:
            pool = self._pools[egress] = Connector(self._resolver)
        return pool
