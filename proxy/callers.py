"""Who may call us, as the settings say it."""

from typing import Final

from proxy.settings import Settings
from proxy.settings.neighbours import Client as ClientSettings
from proxy.web.auth import Caller, Client, Clients

_EVENT_MEMORY: Final = 2  # times the longest tolerance: longer than a replay can be fresh


def clients(settings: Settings) -> Clients:
    """Return who may send hook calls, each for its witboost instance."""
    known = [
        _client(Caller(name, instance), client)
        for instance, its in settings.witboost.items()
        for name, client in its.clients.items()
    ]
    opened = [name for name, its in settings.witboost.items() if its.authentication == "off"]
    return Clients(known, open_to=opened)


def _client(caller: Caller, client: ClientSettings) -> Client:
    return Client(caller, frozenset(client.keys))


def operators(settings: Settings) -> Clients:
    """Return who may see and repair requests."""
    its = settings.operators.clients
    return Clients([_client(Caller(name), client) for name, client in its.items()])


def certified(settings: Settings) -> frozenset[str]:
    """Return the ticket systems whose events are proven by a header of a trusted proxy."""
    systems = settings.ticket_systems.items()
    return frozenset(n for n, it in systems if it.events and it.events.auth == "client_certificate")


def event_memory(settings: Settings) -> int:
    """Return for how long, in milliseconds, an event is known again."""
    longest = max(
        (it.events.tolerance for it in settings.ticket_systems.values() if it.events), default=0
    )
    return _EVENT_MEMORY * longest
