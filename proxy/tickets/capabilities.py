"""What ticket systems offer on top of the port: each capability is a class of its own.

A capability is a method that is there or not (`port`), so a system is put together of exactly those
that its declaration describes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from proxy.domain.models import Outcome, Ticket, TicketHint
from proxy.errors import ConfigurationError, ConflictError
from proxy.outbound.destination import Destination
from proxy.tickets.declaring.base import Declaration
from proxy.tickets.events.challenges import Challenges
from proxy.tickets.events.reader import EventReader
from proxy.tickets.port import TicketSystem


def require_undecided(ticket: Ticket, *, system: str) -> Ticket:
    """Return a ticket that may still be withdrawn; raises Conflict where it is decided already."""
    if ticket.outcome not in {None, Outcome.PENDING}:
        raise ConflictError(f"{system}: {ticket.key} is {ticket.native_status} already")
    return ticket


class ReadsEvents:
    """Takes events that prove themselves as the declaration says."""

    events: EventReader
    challenges: Challenges

    def read_event(self, headers: Mapping[str, str], body: bytes, *, now: int) -> TicketHint:
        """Verify and read an event."""
        return self.events.read(headers, body, now=now)

    def answer_challenge(self, method: str, query: Mapping[str, str], body: bytes) -> Any:
        """Return what the system wants to hear before it sends events; None: it did not ask."""
        return self.challenges.answer(method, query, body)


def compose(
    base: type[TicketSystem],
    offered: Mapping[type, Any],
    *,
    name: str,
    declaration: Declaration,
    http: Destination,
    event_secrets: Callable[[], Sequence[bytes]],
) -> TicketSystem:
    """Return a system with exactly those of the offered capabilities that are declared.

    Raises:
        ConfigurationError: events are declared, but there is no secret to verify them with.
    """
    taken = [capability for capability, declared in offered.items() if declared]
    if declaration.events is not None:
        taken.append(ReadsEvents)
    system = type(base.__name__, (*taken, base), {})
    opened: TicketSystem = system(name=name, declaration=declaration, http=http)
    if declaration.events is not None and isinstance(opened, ReadsEvents):
        if not event_secrets():
            raise ConfigurationError(
                f"{name}: events has no secret, so no event could be told from a forged one"
            )
        opened.events = EventReader(declaration.events, event_secrets)
        opened.challenges = Challenges(declaration.events, event_secrets)
    return opened
