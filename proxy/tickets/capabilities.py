"""The base of every adapter, and the composition of one with the capabilities that it declares.

A capability is a class with the methods of one protocol in `port`. A ticket system is composed of
its adapter and exactly those capabilities that its declaration describes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy.domain.models import Outcome, Ticket, TicketHint
from proxy.errors import ConfigurationError, ConflictError
from proxy.outbound.destination import Destination
from proxy.tickets.declaring.base import Declaration
from proxy.tickets.events.challenges import Challenges
from proxy.tickets.events.reader import EventReader
from proxy.tickets.port import TicketSystem

NO_TICKET: Final = "no-such-request"
"""A correlation id that no request ever has."""


class Adapter(ABC):
    """The properties and the harmless call that adapters have in common."""

    idempotent = False
    finds = True

    def __init__(self, *, name: str, declaration: Declaration, http: Destination) -> None:
        self.name = name
        self.settle = declaration.settle
        self._http = http

    @property
    def deadline(self) -> int:
        """Milliseconds that one operation may take, with all its calls."""
        return self._http.deadline

    @abstractmethod
    async def find(self, correlation_id: str) -> Sequence[Ticket]:
        """Return every ticket that carries the correlation id, oldest first."""

    async def ping(self) -> None:
        """Prove that the system answers, accepts our credential and honours our query."""
        await self.find(NO_TICKET)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of ticket system."""

    declaration: type[Declaration]
    """The model of its declaration."""
    system: type[TicketSystem]
    """Its adapter."""
    capabilities: Callable[[Any], Mapping[type, Any]]
    """Returns for a declaration each optional capability, and whether it is declared."""


def require_undecided(ticket: Ticket, *, system: str) -> Ticket:
    """Return a ticket that can still be withdrawn; raises ConflictError if it is decided."""
    if ticket.outcome not in {None, Outcome.PENDING}:
        raise ConflictError(f"{system}: {ticket.key} is {ticket.native_status} already")
    return ticket


class ReadsEvents:
    """Verification and reading of events, as the declaration describes them."""

    events: EventReader
    challenges: Challenges

    def read_event(self, headers: Mapping[str, str], body: bytes, *, now: int) -> TicketHint:
        """Verify and read an event."""
        return self.events.read(headers, body, now=now)

    def answer_challenge(self, method: str, query: Mapping[str, str], body: bytes) -> Any:
        """Return the expected answer to a challenge; None if this is not a challenge."""
        return self.challenges.answer(method, query, body)


def compose(
    kind: Kind,
    *,
    name: str,
    declaration: Declaration,
    http: Destination,
    event_secrets: Callable[[], Sequence[bytes]],
) -> TicketSystem:
    """Return a ticket system with exactly those of its kind's capabilities that are declared.

    Raises:
        ConfigurationError: events are declared, but without a secret to verify them.
    """
    offered = kind.capabilities(declaration)
    taken = [capability for capability, declared in offered.items() if declared]
    if declaration.events is not None:
        taken.append(ReadsEvents)
    system = type(kind.system.__name__, (*taken, kind.system), {})
    opened: TicketSystem = system(name=name, declaration=declaration, http=http)
    if declaration.events is not None and isinstance(opened, ReadsEvents):
        if not event_secrets():
            raise ConfigurationError(
                f"{name}: events has no secret, so a forged event could not be recognised:"
                " set events.secrets"
            )
        opened.events = EventReader(declaration.events, event_secrets)
        opened.challenges = Challenges(declaration.events, event_secrets)
    return opened
