"""The store, opened as the settings say: for a service, or for a command beside one."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from proxy.audit.files import Folder, Sink, StandardOutput
from proxy.audit.sealer import AuditKeys
from proxy.domain.clock import Clock
from proxy.domain.models import TRIAL
from proxy.errors import ConfigurationError
from proxy.observability.alarms import Alarm, Alarms
from proxy.security.key_ring import KeyRing, kept_key, read_key
from proxy.security.signing import key_set
from proxy.settings import Settings
from proxy.store.at_rest import Privacy
from proxy.store.client.connections import connect_url
from proxy.store.durability import durability_problems
from proxy.store.embedded.server import EmbeddedServer
from proxy.store.pauses import PauseStore
from proxy.store.requests import RequestStore
from proxy.store.signing_keys import open_signer, published_keys
from proxy.store.tokens import RedisTokens
from proxy.store.transfer.namespace import service_name

_FOLDER_KEY: Final = "encryption"
_INDEX_KEY: Final = "index"


async def open_store(
    settings: Settings,
    stack: AsyncExitStack,
    alarms: Alarms,
    clock: Clock | None,
    running: str | None = None,
) -> tuple[RequestStore, EmbeddedServer | None]:
    """Connect to the server at `redis_url`, or start our own.

    `running` is where another process of this program has the server already, and has looked at
    how it is configured.
    """
    wanted, name = settings.store, service_name(settings.store.namespace)
    if running is not None:
        return _connection(settings, running, stack, clock, name), None
    server = None
    if wanted.redis_url is None:
        server = await EmbeddedServer.start(Path(wanted.folder), fsync=wanted.fsync)
        stack.push_async_callback(server.close)
    store = _connection(settings, store_url(settings, server), stack, clock, name)
    problems = [] if server else await durability_problems(store.client)
    if problems and wanted.dangerous == "refuse":
        raise ConfigurationError(f"store.dangerous is refuse: {' '.join(problems)}")
    for problem in problems:
        alarms.sound(Alarm.STORE_DANGEROUS, problem)
    return store, server


def store_url(settings: Settings, server: EmbeddedServer | None) -> str:
    """Return where the store is: at our own server, or at `redis_url` as it reads now."""
    if server is not None:
        return server.url
    return settings.store.redis_url.reveal() if settings.store.redis_url else ""


async def open_store_beside(settings: Settings, stack: AsyncExitStack) -> RequestStore:
    """Connect to the store of a service; our own server is the running one, if it runs."""
    wanted = settings.store
    if wanted.redis_url is not None:
        url = wanted.redis_url.reveal()
    else:
        folder = Path(wanted.folder)
        url = await EmbeddedServer.running(folder) or ""
        if not url:
            server = await EmbeddedServer.start(folder, fsync=wanted.fsync)
            stack.push_async_callback(server.close)
            url = server.url
    return _connection(settings, url, stack, None, "")


async def refuse_to_drop(settings: Settings, store: RequestStore) -> None:
    """Raise ConfigurationError if open requests need an instance or system that is gone."""
    problems = []
    for (instance, system), count in (await store.open_counts()).items():
        if instance not in {*settings.witboost, TRIAL}:
            problems.append(f"witboost.{instance} is gone, but has {count} open requests")
        if system and system not in settings.ticket_systems:
            problems.append(f"ticket_systems.{system} is gone, but has {count} open requests")
    if problems:
        raise ConfigurationError(f"{'; '.join(problems)}. Keep it until they are done.")


async def resume_removed_destinations(settings: Settings, pauses: PauseStore) -> None:
    """End the pauses of systems and instances that are not in the settings any more.

    Nobody calls those, so nothing else would, and we would be degraded for ever.
    """
    for name, pause in (await pauses.pauses()).items():
        if pause.since and name not in {*settings.witboost, *settings.ticket_systems}:
            await pauses.resume(name, reason="not in the settings any more")


def open_tokens(settings: Settings, store: RequestStore) -> RedisTokens | None:
    """Return where all processes share tokens, None if there is no key to encrypt them with."""
    ring = _key_ring(settings)
    return RedisTokens(store, ring) if ring else None


def _key_ring(settings: Settings) -> KeyRing | None:
    """Return the keys in force; our own server has one of its own in its data folder.

    That one stays in the ring when keys are configured, so that what it encrypted can be read.
    """
    keys = [(each.id, read_key(each.key.reveal())) for each in settings.encryption.keys]
    if settings.embedded:
        keys.append((_FOLDER_KEY, kept_key(Path(settings.store.folder) / f"{_FOLDER_KEY}.key")))
    return KeyRing(keys) if keys else None


def _privacy(settings: Settings) -> Privacy:
    """Return what hides payloads; our own server has an index key in its folder, if none is given.

    Payloads are hidden where tokens are: with keys, or with a server of our own.
    """
    given = settings.encryption.index_key
    if given is not None:
        return Privacy(_key_ring(settings), read_key(given.reveal()))
    if settings.embedded:
        kept = kept_key(Path(settings.store.folder) / f"{_INDEX_KEY}.key")
        return Privacy(_key_ring(settings), kept)
    return Privacy()


async def open_audit_keys(settings: Settings, store: RequestStore) -> AuditKeys:
    """Return what the audit and receipts are signed and encrypted with."""
    ring = store.privacy.ring

    async def published() -> bytes:
        return key_set(await published_keys(store))

    keys = [key.reveal() for key in settings.signing.keys]
    return AuditKeys(signer=await open_signer(store, keys, ring), ring=ring, published=published)


def open_sink(settings: Settings) -> Sink | None:
    """Return where the audit goes."""
    match settings.audit.to:
        case "folder":
            return Folder(settings.audit_folder)
        case "stdout":
            return StandardOutput()
        case "off":
            return None


def _connection(
    settings: Settings, url: str, stack: AsyncExitStack, clock: Clock | None, called: str
) -> RequestStore:
    client = connect_url(url, called)
    stack.push_async_callback(client.aclose)
    wanted = settings.store
    store = RequestStore(
        client,
        namespace=wanted.namespace,
        partitions=wanted.partitions,
        clock=clock,
        privacy=_privacy(settings),
    )
    stack.push_async_callback(store.batcher.close)
    return store
