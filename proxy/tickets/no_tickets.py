"""The ticket system of a route that opens no tickets, because it decides at once."""

from collections.abc import Sequence
from typing import NoReturn

from proxy.domain.models import ApprovalRequest, Ticket
from proxy.errors import PermanentError


class NoTickets:
    """Takes the place of a ticket system; whoever asks it for a ticket is told why there is none.

    The flow never does; an operator may.
    """

    deadline = 0
    settle = 0
    finds = False
    idempotent = False

    def __init__(self, route: str) -> None:
        self.name = ""
        self._route = route

    async def find(self, correlation_id: str) -> Sequence[Ticket]:  # noqa: ARG002 - the port
        """Refuse."""
        self._refuse()

    async def open(self, request: ApprovalRequest) -> Ticket:  # noqa: ARG002 - the port
        """Refuse."""
        self._refuse()

    async def fetch(self, ticket_id: str) -> Ticket:  # noqa: ARG002 - the port
        """Refuse."""
        self._refuse()

    async def ping(self) -> None:
        """Refuse."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise PermanentError(
            f"route {self._route} has no ticket system; `requests reroute` chooses the route again"
        )
