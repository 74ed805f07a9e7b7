"""A check of the event secrets: does the running program accept events signed with them?

An event that names no ticket changes nothing: 400 means that its proof is valid, and 401 that it
is not.
"""

import secrets
from collections.abc import Mapping
from http import HTTPStatus

from proxy.app.destinations import Destinations
from proxy.domain.clock import Clock
from proxy.errors import ConfigurationError, TemporaryError
from proxy.net.addresses import read_networks
from proxy.outbound.credentials import NoCredential
from proxy.outbound.responses import Call, Response
from proxy.settings.ticket_systems import System
from proxy.tickets.events.probe import empty_event
from proxy.tickets.port import Inspected

_UNANSWERED = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE})


async def event_secrets(
    name: str, system: System, outgoing: Destinations, *, clock: Clock
) -> Inspected:
    """Send one event for each live secret to `public_url`, as the ticket system would.

    Raises:
        ConfigurationError: a secret is unusable, or its event is refused.
    """
    if outgoing.settings.listen.events is not None:
        return Inspected("not tried, as listen.events has an address of its own", proven=False)
    url = f"{outgoing.settings.public_url}/ticket-events/{name}"
    http = outgoing.outbound.destination(
        f"{name}: events",
        origins=[url],
        deadline=system.deadline,
        concurrency=1,
        credential=NoCredential(),
        networks=read_networks(["private"]),  # the program is often reachable from inside only
        networks_setting="public_url",
        direct=True,
    )
    for secret in system.event_secrets():
        event = _event(name, system, secret, clock.now())
        if event is None:
            return Inspected(
                "not tried, as only the ticket system can sign its events", proven=False
            )
        headers, body = event
        try:
            response = await http.send(Call("POST", url, headers, body), repeatable=True)
        except TemporaryError as error:
            reason = f"not tried, as no program answers at public_url: {error}"
            return Inspected(reason, proven=False)
        if response.status in _UNANSWERED:
            reason = f"not tried, as {url} answers {response.status}: is the program running?"
            return Inspected(reason, proven=False)
        _raise_if_refused(response, url)
    return Inspected(f"the program at {url} accepts events that are signed with our secret")


def _event(
    name: str, system: System, secret: bytes, now: int
) -> tuple[Mapping[str, str], bytes] | None:
    assert system.events is not None
    try:
        return empty_event(system.events, secret, now=now, name=f"check-{secrets.token_hex(8)}")
    except ValueError as error:
        raise ConfigurationError(f"ticket_systems.{name}.events.secrets: {error}") from error


def _raise_if_refused(response: Response, url: str) -> None:
    if response.status == HTTPStatus.BAD_REQUEST:
        return
    if response.status == HTTPStatus.UNAUTHORIZED:
        raise ConfigurationError(
            f"{url} refuses an event that is signed with our secret: start the program with these"
            " settings, and compare the clocks of the two machines"
        )
    raise ConfigurationError(
        f"{url} answers {response.status} to an event and not as an approval proxy does:"
        " `public_url` must lead to the program, with the path /ticket-events/ unchanged"
    )
