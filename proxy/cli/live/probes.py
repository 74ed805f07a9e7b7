"""The probes of `check --live`: every system in the settings, called as a service calls it."""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

from proxy.app.destinations import Destinations
from proxy.app.token_sources import certificate
from proxy.cli.live.checks import Probe
from proxy.cli.live.events import event_secrets
from proxy.domain.durations import format_duration
from proxy.domain.schedule import SECOND
from proxy.net.addresses import EgressPolicy, read_networks
from proxy.oauth2.discovery import Discovery, StaticMetadata
from proxy.oauth2.token_source import Fetch
from proxy.security.tls import Tls
from proxy.settings import Settings
from proxy.settings.oauth2 import OAuth2
from proxy.settings.ticket_systems import System
from proxy.settings.url_rules import called
from proxy.settings.witboost import AccessToken
from proxy.tickets.port import Inspected, Inspection, Preflight, TicketSystem


def probes(outgoing: Destinations) -> Iterator[Probe]:
    """Yield a probe of every destination; tokens are requested anew and not stored.

    Raises:
        ConfigurationError: a file or a key that the settings name cannot be used.
    """
    settings = outgoing.settings
    systems = outgoing.systems()
    probe = _probe_factory(settings)
    for name, system in settings.ticket_systems.items():
        section = f"ticket_systems.{name}"
        auth = system.auth if isinstance(system.auth, OAuth2) else None
        tls = Tls(system.ca_file, certificate(auth) if auth else None).context()
        if auth is not None:
            metadata = outgoing.sources.metadata(name, system, auth)
            yield probe(
                f"{section}.auth.{'token_url' if auth.token_url else 'issuer'}",
                system=name,
                tls=tls,
                discover=_discovery(metadata) if isinstance(metadata, Discovery) else None,
                token=_token(outgoing.sources.fetch(name, system, auth)),
            )
        yield probe(
            f"{section}.base_url",
            system=name,
            tls=tls,
            ping=systems[name].ping,
            preflight_checks=dict(_preflight_checks(name, system, outgoing, systems[name])),
        )
    for name, instance in settings.witboost.items():
        section = f"witboost.{name}"
        tls = Tls(instance.ca_file).context()
        if isinstance(credential := instance.credential, AccessToken):
            token = _token(outgoing.exchange(name, instance, credential))
            yield probe(f"{section}.credential.url", system=name, tls=tls, token=token)
        for index in range(len(instance.callback_urls)):
            yield probe(f"{section}.callback_urls.{index}", system=name, tls=tls)


def _probe_factory(settings: Settings) -> Callable[..., Probe]:
    """Return a function that makes the probe of the URL at a key of the settings."""
    urls = {url.key: url for url in called(settings)}
    proxy = settings.outbound.proxy

    def probe(key: str, **questions: Any) -> Probe:
        url = urls[key]
        if proxy is None or url.direct:
            return Probe(url=url.url, connect_url=url.url, egress=url.reach, **questions)
        networks = read_networks(proxy.networks)
        egress = EgressPolicy(networks, "outbound.proxy.networks", settings.outbound.loopback)
        return Probe(url=url.url, connect_url=proxy.url.reveal(), egress=egress, **questions)

    return probe


def _preflight_checks(
    name: str, system: System, outgoing: Destinations, opened: TicketSystem
) -> Iterator[tuple[str, Inspection]]:
    """Yield the checks of a ticket system, and at the end what no check can prove."""
    if isinstance(opened, Preflight):
        yield from opened.preflight_checks().items()
    if system.events is not None:
        ask = partial(event_secrets, name, system, outgoing, clock=outgoing.clock)
        yield "event secret", ask

    async def opening() -> Inspected:
        reason = f"only a ticket proves that one can be created: approval-proxy try --system {name}"
        return Inspected(reason, proven=False)

    yield "opening", opening


def _token(fetch: Fetch) -> Callable[[], Awaitable[str]]:
    async def fetched() -> str:
        token = await fetch()
        lifetime = format_duration(token.lifetime // SECOND * SECOND)
        valid = f"for {lifetime}" if token.lifetime else "for one call"
        return f"the authorization server issues a token, which is valid {valid}"

    return fetched


def _discovery(metadata: Discovery | StaticMetadata) -> Callable[[], Awaitable[str]]:
    async def discovered() -> str:
        server = await metadata.server()
        return f"the token endpoint is {server.token_endpoint}"

    return discovered
