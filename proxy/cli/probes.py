"""What `check --live` asks of every system in the settings, as a service would call it."""

from collections.abc import Awaitable, Callable, Iterator

from proxy.cli.live import Probe
from proxy.domain.schedule import SECOND
from proxy.oauth2.discovery import Discovery, Fixed
from proxy.oauth2.source import Fetch
from proxy.outgoing import Outgoing
from proxy.settings.explain import humane
from proxy.settings.oauth2 import OAuth2
from proxy.settings.tree import AccessToken
from proxy.tls import Tls
from proxy.token_sources import certificate


def probes(outgoing: Outgoing) -> Iterator[Probe]:
    """Yield every destination; tokens are asked for anew and kept nowhere.

    Raises:
        ConfigurationError: a file or a key that the settings name cannot be used.
    """
    settings = outgoing.settings
    systems = outgoing.systems()
    for name, system in settings.ticket_systems.items():
        auth = system.auth if isinstance(system.auth, OAuth2) else None
        tls = Tls(system.ca_file, certificate(auth) if auth else None).context()
        if auth is not None:
            metadata = outgoing.sources.metadata(name, system, auth)
            yield Probe(
                system=name,
                url=auth.token_url or auth.issuer or "",
                tls=tls,
                discover=_discovery(metadata) if isinstance(metadata, Discovery) else None,
                token=_token(outgoing.sources.fetch(name, system, auth)),
            )
        yield Probe(system=name, url=system.base_url, tls=tls, ping=systems[name].ping)
    for name, instance in settings.witboost.items():
        tls = Tls(instance.ca_file).context()
        if isinstance(wanted := instance.credential, AccessToken):
            token = _token(outgoing.exchange(name, instance, wanted))
            yield Probe(system=name, url=wanted.url, tls=tls, token=token)
        for url in instance.callback_urls:
            yield Probe(system=name, url=url, tls=tls)


def _token(fetch: Fetch) -> Callable[[], Awaitable[str]]:
    async def found() -> str:
        token = await fetch()
        whole = token.lifetime // SECOND * SECOND
        lives = f"lives {humane(whole)}" if token.lifetime else "is good for one call"
        return f"the authorization server gives a token, which {lives}"

    return found


def _discovery(metadata: Discovery | Fixed) -> Callable[[], Awaitable[str]]:
    async def found() -> str:
        server = await metadata.server()
        return f"the token endpoint is {server.token_endpoint}"

    return found
