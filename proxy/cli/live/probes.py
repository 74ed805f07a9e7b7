"""What `check --live` asks of every system in the settings, as a service would call it."""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

from proxy.app.destinations import Destinations
from proxy.app.token_sources import certificate
from proxy.cli.live.checks import Probe
from proxy.cli.live.events import event_secrets
from proxy.domain.schedule import SECOND
from proxy.net.addresses import EgressPolicy, read_networks
from proxy.oauth2.discovery import Discovery, StaticMetadata
from proxy.oauth2.token_source import Fetch
from proxy.security.tls import Tls
from proxy.settings import Settings
from proxy.settings.effective import format_duration
from proxy.settings.neighbours import AccessToken
from proxy.settings.oauth2 import OAuth2
from proxy.settings.ticket_systems import System
from proxy.settings.url_rules import called
from proxy.tickets.port import Inspected, Inspection, Preflight, TicketSystem


def probes(outgoing: Destinations) -> Iterator[Probe]:
    """Yield every destination; tokens are asked for anew and kept nowhere.

    Raises:
        ConfigurationError: a file or a key that the settings name cannot be used.
    """
    settings = outgoing.settings
    systems = outgoing.systems()
    probe = _ways(settings)
    for name, system in settings.ticket_systems.items():
        place = f"ticket_systems.{name}"
        auth = system.auth if isinstance(system.auth, OAuth2) else None
        tls = Tls(system.ca_file, certificate(auth) if auth else None).context()
        if auth is not None:
            metadata = outgoing.sources.metadata(name, system, auth)
            yield probe(
                f"{place}.auth.{'token_url' if auth.token_url else 'issuer'}",
                system=name,
                tls=tls,
                discover=_discovery(metadata) if isinstance(metadata, Discovery) else None,
                token=_token(outgoing.sources.fetch(name, system, auth)),
            )
        yield probe(
            f"{place}.base_url",
            system=name,
            tls=tls,
            ping=systems[name].ping,
            preflight_checks=dict(_preflight_checks(name, system, outgoing, systems[name])),
        )
    for name, instance in settings.witboost.items():
        place = f"witboost.{name}"
        tls = Tls(instance.ca_file).context()
        if isinstance(wanted := instance.credential, AccessToken):
            token = _token(outgoing.exchange(name, instance, wanted))
            yield probe(f"{place}.credential.url", system=name, tls=tls, token=token)
        for index in range(len(instance.callback_urls)):
            yield probe(f"{place}.callback_urls.{index}", system=name, tls=tls)


def _ways(settings: Settings) -> Callable[..., Probe]:
    """Return what makes the probe of a URL in the settings, by its key, with the way there."""
    known = {it.key: it for it in called(settings)}
    proxy = settings.outbound.proxy

    def probe(key: str, **what: Any) -> Probe:
        it = known[key]
        if proxy is None or it.direct:
            return Probe(url=it.url, way=it.url, may=it.reach, **what)
        opened = read_networks(proxy.networks)
        may = EgressPolicy(opened, "outbound.proxy.networks", settings.outbound.loopback)
        return Probe(url=it.url, way=proxy.url.reveal(), may=may, **what)

    return probe


def _preflight_checks(
    name: str, system: System, outgoing: Destinations, opened: TicketSystem
) -> Iterator[tuple[str, Inspection]]:
    """Yield what can be asked of a ticket system, and at the end what cannot."""
    if isinstance(opened, Preflight):
        yield from opened.preflight_checks().items()
    if system.events is not None:
        ask = partial(event_secrets, name, system, outgoing, clock=outgoing.clock)
        yield "event secret", ask

    async def tried() -> Inspected:
        said = f"only a ticket shows that one can be opened: approval-proxy try --system {name}"
        return Inspected(said, proven=False)

    yield "opening", tried


def _token(fetch: Fetch) -> Callable[[], Awaitable[str]]:
    async def found() -> str:
        token = await fetch()
        whole = token.lifetime // SECOND * SECOND
        lives = f"lives {format_duration(whole)}" if token.lifetime else "is good for one call"
        return f"the authorization server gives a token, which {lives}"

    return found


def _discovery(metadata: Discovery | StaticMetadata) -> Callable[[], Awaitable[str]]:
    async def found() -> str:
        server = await metadata.server()
        return f"the token endpoint is {server.token_endpoint}"

    return found
