"""Who may call us, as the settings say it."""

from collections.abc import Iterator, Mapping
from typing import Final

from proxy.domain.schedule import DAY
from proxy.settings import Settings
from proxy.settings.neighbours import Client as ClientSettings
from proxy.web.auth import Caller, Client, Clients

_SOON: Final = 14 * DAY
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
    return Client(caller, {key.hash: key.until for key in client.keys})


def operators(settings: Settings) -> Clients:
    """Return who may see and repair requests."""
    its = settings.operators.clients
    return Clients([_client(Caller(name, role=it.role), it) for name, it in its.items()])


def expiring_keys(settings: Settings, now: int) -> Iterator[str]:
    """Yield what is to be said of keys that are over, or soon; `now` is in milliseconds."""
    owners: list[tuple[str, Mapping[str, ClientSettings]]] = [
        *((f"witboost.{at}.clients", it.clients) for at, it in settings.witboost.items()),
        ("operators.clients", settings.operators.clients),
    ]
    for place, its in owners:
        for name, client in its.items():
            for key in client.keys:
                if key.until is not None and key.until <= now + _SOON:
                    what = "is over" if key.until <= now else "is over soon"
                    yield (
                        f"A key of {place}.{name} {what} (expires: {key.expires}): make a new one"
                        " with `approval-proxy keys new`, and let both live until it is in use"
                    )


def client_certificate_systems(settings: Settings) -> frozenset[str]:
    """Return the ticket systems whose events are proven by a header of a trusted proxy."""
    systems = settings.ticket_systems.items()
    return frozenset(n for n, it in systems if it.events and it.events.auth == "client_certificate")


def event_memory(settings: Settings) -> int:
    """Return for how long, in milliseconds, an event is known again."""
    longest = max(
        (it.events.tolerance for it in settings.ticket_systems.values() if it.events), default=0
    )
    return _EVENT_MEMORY * longest
