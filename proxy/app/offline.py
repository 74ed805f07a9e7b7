"""The objects of commands, which run with or without a running service and never disturb it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from proxy.app.destinations import Destinations, open_destinations
from proxy.app.keys import open_tokens
from proxy.app.open_store import connect_store
from proxy.domain.clock import SystemClock
from proxy.errors import ConfigurationError
from proxy.settings import Settings
from proxy.settings.oauth2 import OAuth2
from proxy.store.embedded.server import EmbeddedServer
from proxy.store.layout import StoreLayout
from proxy.store.requests import RequestStore
from proxy.tickets.port import TicketSystem


@asynccontextmanager
async def open_clients(settings: Settings) -> AsyncIterator[Destinations]:
    """Open the destinations for a command; a running service is not affected.

    The store is opened only if it has refresh tokens (the embedded server: the running one, if it
    runs); everything else stays in this process.

    Raises:
        ConfigurationError: the store or the settings cannot be used.
    """
    async with AsyncExitStack() as stack:
        auths = [system.auth for system in settings.ticket_systems.values()]
        tokens = None
        if any(isinstance(auth, OAuth2) and auth.grant == "refresh_token" for auth in auths):
            tokens = open_tokens(settings, await connect_store(settings, stack))
        yield await open_destinations(settings, stack, tokens, clock=SystemClock())


@asynccontextmanager
async def open_stopped_store(settings: Settings) -> AsyncIterator[RequestStore]:
    """Open the store while no service uses it; starts the embedded server for this.

    Raises:
        ConfigurationError: the store or the settings cannot be used, or a service is running.
    """
    folder = Path(settings.store.folder)
    if settings.embedded and await EmbeddedServer.running(folder):
        raise ConfigurationError(
            f"a service runs on store.folder {folder} now. Stop it, and try again."
        )
    async with AsyncExitStack() as stack:
        yield await connect_store(settings, stack)


@asynccontextmanager
async def open_for_doctor(
    settings: Settings, *, publish: bool
) -> AsyncIterator[tuple[RequestStore, Mapping[str, TicketSystem]]]:
    """Open the store and the ticket systems of a service; `publish` stores the present routes.

    Raises:
        ConfigurationError: the store or the settings cannot be used.
    """
    async with AsyncExitStack() as stack:
        store = await connect_store(settings, stack)
        await StoreLayout(store).connect()
        tokens = open_tokens(settings, store)
        outgoing = await open_destinations(settings, stack, tokens, clock=SystemClock())
        if publish:
            await outgoing.routes(store).publish()
        yield store, outgoing.systems()
