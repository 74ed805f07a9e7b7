"""What a command opens: beside a running service, or without one, and never in its way."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from proxy.app.destinations import Destinations, open_destinations
from proxy.app.open_store import open_store_beside, open_tokens
from proxy.domain.clock import SystemClock
from proxy.errors import ConfigurationError
from proxy.settings import Settings
from proxy.settings.oauth2 import OAuth2
from proxy.store.embedded.server import EmbeddedServer
from proxy.store.requests import RequestStore
from proxy.store.shared import Shared
from proxy.tickets.port import TicketSystem


@asynccontextmanager
async def open_clients(settings: Settings) -> AsyncIterator[Destinations]:
    """Open what calls other systems, for a command: beside a running service, or without one.

    The store is opened only where it holds refresh tokens, and everything else stays in this
    process, so that a service notices nothing. Our own server is the running one, if it runs.

    Raises:
        ConfigurationError: the store or the settings cannot be used.
    """
    async with AsyncExitStack() as stack:
        auths = [system.auth for system in settings.ticket_systems.values()]
        tokens = None
        if any(isinstance(it, OAuth2) and it.grant == "refresh_token" for it in auths):
            tokens = open_tokens(settings, await open_store_beside(settings, stack))
        yield await open_destinations(settings, stack, tokens, clock=SystemClock())


@asynccontextmanager
async def open_stopped_store(settings: Settings) -> AsyncIterator[RequestStore]:
    """Open the store that no service uses now, as it is; our own server is started for this.

    Raises:
        ConfigurationError: the store or the settings cannot be used, or a service runs our server.
    """
    folder = Path(settings.store.folder)
    if settings.embedded and await EmbeddedServer.running(folder):
        raise ConfigurationError(
            f"a service runs on store.folder {folder} now. Stop it, and do this again."
        )
    async with AsyncExitStack() as stack:
        yield await open_store_beside(settings, stack)


@asynccontextmanager
async def open_for_doctor(
    settings: Settings, *, publish: bool
) -> AsyncIterator[tuple[RequestStore, Mapping[str, TicketSystem]]]:
    """Open the store of a service, and its ticket systems; `publish` the present routes there.

    Raises:
        ConfigurationError: the store or the settings cannot be used.
    """
    async with AsyncExitStack() as stack:
        store = await open_store_beside(settings, stack)
        shared = Shared(store)
        await shared.connect()
        tokens = open_tokens(settings, store)
        outgoing = await open_destinations(settings, stack, tokens, clock=SystemClock())
        if publish:
            await outgoing.routes(shared).publish()
        yield store, outgoing.systems()
