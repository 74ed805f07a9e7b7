"""Whether the running program takes events that are signed with the secrets of these settings.

An event that names no ticket changes nothing: 400 says that its proof is good, 401 that it is not.
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
        ConfigurationError: a secret is unusable, or what answers there refuses its event.
    """
    if outgoing.settings.listen.events is not None:
        return Inspected("not asked, as events listen at a place of their own", proven=False)
    url = f"{outgoing.settings.public_url}/ticket-events/{name}"
    http = outgoing.outbound.destination(
        f"{name}: events",
        origins=[url],
        deadline=system.deadline,
        concurrency=1,
        credential=NoCredential(),
        networks=read_networks(["private"]),  # we are often called from inside only
        networks_setting="public_url",
        direct=True,
    )
    for secret in system.event_secrets():
        event = _event(name, system, secret, clock.now())
        if event is None:
            return Inspected("its events can be verified here, and not be imitated", proven=False)
        headers, body = event
        try:
            answer = await http.send(Call("POST", url, headers, body), repeatable=True)
        except TemporaryError as error:
            said = f"not asked, as no program answers at public_url: {error}"
            return Inspected(said, proven=False)
        if answer.status in _UNANSWERED:
            said = f"not asked, as {url} answers {answer.status}: is the program running?"
            return Inspected(said, proven=False)
        _judge(answer, url)
    return Inspected(f"the program at {url} takes events that are signed with our secret")


def _event(
    name: str, system: System, secret: bytes, now: int
) -> tuple[Mapping[str, str], bytes] | None:
    assert system.events is not None
    try:
        return empty_event(system.events, secret, now=now, name=f"check-{secrets.token_hex(8)}")
    except ValueError as error:
        raise ConfigurationError(f"ticket_systems.{name}.events.secrets: {error}") from error


def _judge(answer: Response, url: str) -> None:
    if answer.status == HTTPStatus.BAD_REQUEST:
        return
    if answer.status == HTTPStatus.UNAUTHORIZED:
        raise ConfigurationError(
            f"{url} refuses an event that is signed with our secret: start the program with these"
            " settings, and compare the clock of its machine with this one's"
        )
    raise ConfigurationError(
        f"{url} answers {answer.status} to an event and not as an approval proxy does: let"
        " `public_url` lead to the program, with /ticket-events/ as it comes"
    )
