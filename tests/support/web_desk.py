"""A ticket system that the web side asks for a ticket or hands an event, and nothing else."""

from collections.abc import Mapping, Sequence

from proxy.domain.models import ApprovalRequest, Ticket, TicketHint
from proxy.errors import NotFoundError
from proxy.tickets.events.declaration import Events
from proxy.tickets.events.reader import EventReader

EVENT_SECRET = "event-secret-canary"
EVENTS = Events(
    auth="hmac",
    header="X-Desk-Signature",
    prefix="sha256=",
    signed="{timestamp}.{body}",
    timestamp_header="X-Desk-Timestamp",
    id_header="X-Desk-Event-Id",
    ticket="ticket.id",
)


class Desk:
    """A ticket system of one process; it can look up nothing, so doubts stay doubts."""

    name = "desk"
    deadline = 1_000
    settle = 1_000
    finds = False
    idempotent = False

    def __init__(self) -> None:
        self.tickets: dict[str, Ticket] = {}
        self._reader = EventReader(EVENTS, lambda: [EVENT_SECRET.encode()])

    async def find(self, _correlation_id: str) -> Sequence[Ticket]:
        return []

    async def open(self, _request: ApprovalRequest) -> Ticket:
        raise AssertionError("the web side opens no ticket")

    async def fetch(self, ticket_id: str) -> Ticket:
        if ticket_id not in self.tickets:
            raise NotFoundError(f"desk knows no ticket {ticket_id}", status=404)
        return self.tickets[ticket_id]

    async def ping(self) -> None:
        pass

    def read_event(self, headers: Mapping[str, str], body: bytes, *, now: int) -> TicketHint:
        return self._reader.read(headers, body, now=now)
