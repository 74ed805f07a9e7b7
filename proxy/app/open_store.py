"""Opens the store of the settings, and checks that it fits them."""

from contextlib import AsyncExitStack
from pathlib import Path

from proxy.app.keys import privacy
from proxy.domain.clock import Clock
from proxy.domain.models import TRIAL
from proxy.errors import ConfigurationError
from proxy.observability.alarms import Alarm, Alarms
from proxy.settings import Settings
from proxy.store.client.connections import connect_url
from proxy.store.durability import durability_problems
from proxy.store.embedded.server import EmbeddedServer
from proxy.store.layout import StoreLayout
from proxy.store.pauses import PauseStore
from proxy.store.requests import RequestStore
from proxy.store.transfer.namespace import service_name


async def open_store(
    settings: Settings,
    stack: AsyncExitStack,
    alarms: Alarms,
    clock: Clock | None,
    opened_url: str | None = None,
) -> tuple[RequestStore, EmbeddedServer | None]:
    """Connect to the server at `redis_url`, or start the embedded server.

    `opened_url` is the URL of a server that another process of this program has opened and
    checked.
    """
    store_settings, name = settings.store, service_name(settings.store.namespace)
    if opened_url is not None:
        return _connection(settings, opened_url, stack, clock, name), None
    server = None
    if store_settings.redis_url is None:
        server = await _start_embedded(settings, stack)
    store = _connection(settings, store_url(settings, server), stack, clock, name)
    problems = [] if server else await durability_problems(store.client)
    if problems and store_settings.dangerous == "refuse":
        raise ConfigurationError(f"store.dangerous is refuse: {' '.join(problems)}")
    for problem in problems:
        alarms.sound(Alarm.STORE_DANGEROUS, problem)
    return store, server


async def connect_store(settings: Settings, stack: AsyncExitStack) -> RequestStore:
    """Connect to the store of a service; start the embedded server if it does not run."""
    if settings.store.redis_url is not None:
        url = settings.store.redis_url.reveal()
    else:
        url = await EmbeddedServer.running(Path(settings.store.folder)) or ""
    return _connection(
        settings, url or (await _start_embedded(settings, stack)).url, stack, None, ""
    )


def store_url(settings: Settings, server: EmbeddedServer | None) -> str:
    """Return the URL of the store: of the embedded server, or `redis_url` as it is now."""
    if server is not None:
        return server.url
    return settings.store.redis_url.reveal() if settings.store.redis_url else ""


async def check_store(settings: Settings, store: RequestStore) -> None:
    """Check that the store fits the settings, and resume the destinations that they dropped.

    Raises:
        ConfigurationError: the store has other partitions, or requests of removed systems.
    """
    await StoreLayout(store).connect()
    await _refuse_to_drop(settings, store)
    await _resume_removed_destinations(settings, PauseStore(store))


async def _refuse_to_drop(settings: Settings, store: RequestStore) -> None:
    """Raise ConfigurationError if open requests need a removed instance or system."""
    problems = []
    for (instance, system), count in (await store.open_counts()).items():
        if instance not in {*settings.witboost, TRIAL}:
            problems.append(f"witboost.{instance} is gone, but has {count} open requests")
        if system and system not in settings.ticket_systems:
            problems.append(f"ticket_systems.{system} is gone, but has {count} open requests")
    if problems:
        raise ConfigurationError(f"{'; '.join(problems)}. Keep it until they are done.")


async def _resume_removed_destinations(settings: Settings, pauses: PauseStore) -> None:
    """End the pauses of systems and instances that are no longer in the settings.

    They are never called again, so no success would end the pause, and readiness would stay
    degraded.
    """
    for name, pause in (await pauses.pauses()).items():
        if pause.since and name not in {*settings.witboost, *settings.ticket_systems}:
            await pauses.resume(name, reason="not in the settings any more")


async def _start_embedded(settings: Settings, stack: AsyncExitStack) -> EmbeddedServer:
    server = await EmbeddedServer.start(Path(settings.store.folder), fsync=settings.store.fsync)
    stack.push_async_callback(server.close)
    return server


def _connection(
    settings: Settings, url: str, stack: AsyncExitStack, clock: Clock | None, client_name: str
) -> RequestStore:
    client = connect_url(url, client_name)
    stack.push_async_callback(client.aclose)
    store = RequestStore(
        client,
        namespace=settings.store.namespace,
        partitions=settings.store.partitions,
        clock=clock,
        privacy=privacy(settings),
    )
    stack.push_async_callback(store.batcher.close)
    return store
