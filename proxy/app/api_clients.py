"""The API clients of the settings: clients of the hook API, operators, and senders of events."""

from collections.abc import Iterator, Mapping
from typing import Final

from proxy.domain.schedule import DAY
from proxy.settings import Settings
from proxy.settings.clients import Client as ClientSettings
from proxy.web.auth import Caller, Client, Clients

_EXPIRY_NOTICE: Final = 14 * DAY
_EVENT_MEMORY: Final = 2  # times the longest tolerance: no replay is fresh for longer


def clients(settings: Settings) -> Clients:
    """Return the clients that may send hook calls, each for its witboost instance."""
    instances = settings.witboost
    hook_clients = [
        _client(Caller(name, instance), client)
        for instance, tree in instances.items()
        for name, client in tree.clients.items()
    ]
    opened = [name for name, tree in instances.items() if tree.authentication == "off"]
    return Clients(hook_clients, open_to=opened)


def _client(caller: Caller, client: ClientSettings) -> Client:
    return Client(caller, {key.hash: key.until for key in client.keys})


def operators(settings: Settings) -> Clients:
    """Return the operators, who may see and repair requests."""
    clients = settings.operators.clients.items()
    return Clients([_client(Caller(name, role=client.role), client) for name, client in clients])


def expiring_keys(settings: Settings, now: int) -> Iterator[str]:
    """Yield a warning for each key that has expired or expires soon; `now` is in milliseconds."""
    owners: list[tuple[str, Mapping[str, ClientSettings]]] = [
        *((f"witboost.{name}.clients", tree.clients) for name, tree in settings.witboost.items()),
        ("operators.clients", settings.operators.clients),
    ]
    for setting, clients in owners:
        for name, client in clients.items():
            for key in client.keys:
                if key.until is not None and key.until <= now + _EXPIRY_NOTICE:
                    state = "has expired" if key.until <= now else "expires soon"
                    yield (
                        f"A key of {setting}.{name} {state} (expires: {key.expires}): make a new"
                        " one with `approval-proxy keys new`, and keep both until it is in use"
                    )


def client_certificate_systems(settings: Settings) -> frozenset[str]:
    """Return the ticket systems whose events a trusted proxy authenticates by certificate."""
    return frozenset(
        name
        for name, system in settings.ticket_systems.items()
        if system.events and system.events.auth == "client_certificate"
    )


def event_memory(settings: Settings) -> int:
    """Return the milliseconds within which a repeated event is ignored."""
    events = [system.events for system in settings.ticket_systems.values() if system.events]
    return _EVENT_MEMORY * max((declared.tolerance for declared in events), default=0)
