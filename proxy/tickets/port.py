"""What the flow wants of a ticket system, and what a system may offer on top.

Adapters raise only `TemporaryError`, `PermanentError` (`NotFound`, `Conflict`) and
`ConfigurationError`. They never decide: the flow does, from the outcome that `fetch` reports.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from proxy.domain.models import ApprovalRequest, Ticket, TicketHint


class TicketSystem(Protocol):
    """One ticket system under one declaration."""

    @property
    def name(self) -> str:
        """The name in the settings."""
        ...

    @property
    def deadline(self) -> int:
        """Milliseconds that one call may take, retries inside it included."""
        ...

    @property
    def settle(self) -> int:
        """The longest, in milliseconds, that a created ticket may be invisible to `find`."""
        ...

    @property
    def finds(self) -> bool:
        """Whether `find` can prove that there is no ticket."""
        ...

    @property
    def idempotent(self) -> bool:
        """Whether a create repeated with the same correlation id makes one ticket."""
        ...

    async def find(self, correlation_id: str) -> Sequence[Ticket]:
        """Return every ticket that carries the correlation id, oldest first."""
        ...

    async def open(self, request: ApprovalRequest) -> Ticket:
        """Create the ticket; after an error, its `sent` tells whether the ticket may exist."""
        ...

    async def fetch(self, ticket_id: str) -> Ticket:
        """Read the ticket: the only source of an outcome.

        Raises:
            NotFound: the system does not show it (any more).
        """
        ...

    async def ping(self) -> None:
        """Prove that the system answers and takes our credential."""
        ...


@runtime_checkable
class PushesEvents(Protocol):
    """A system that tells us about changes."""

    def read_event(self, headers: Mapping[str, str], body: bytes, *, now: int) -> TicketHint:
        """Verify and parse an event; `now` is in milliseconds since the epoch.

        Raises:
            Unauthorized: anything wrong with the proof, one message for all causes.
            InvalidRequest: properly signed, but it names no ticket.
        """
        ...


@runtime_checkable
class AnswersChallenges(Protocol):
    """A system that asks whether an address for its events is ours, before it uses it."""

    def answer_challenge(self, method: str, query: Mapping[str, str], body: bytes) -> Any:
        """Return what it wants to hear, a text or a JSON tree; None where it did not ask."""
        ...


@runtime_checkable
class ListsChanges(Protocol):
    """A system that can be asked for everything that changed, however many tickets are open."""

    @property
    def overlap(self) -> int:
        """How much later, in milliseconds, a change may turn up than its time says.

        It covers the precision of the system's times, and an index that lags.
        """
        ...

    async def changes(self, since: int) -> Mapping[str, int]:
        """Return when each ticket of ours that changed at or after `since` did so last, by its id.

        Times are milliseconds since the epoch by the clock of the ticket system. The answer is
        complete, however many pages that takes: what cannot be read to its end is an error.
        """
        ...


@runtime_checkable
class FetchesMany(Protocol):
    """A system that reads many tickets in one call."""

    @property
    def most_fetched(self) -> int:
        """How many tickets one call may name."""
        ...

    async def fetch_many(self, ticket_ids: Sequence[str]) -> Mapping[str, Ticket]:
        """Read at most `most_fetched` tickets; return those in the answer, by the id asked for.

        A ticket that is missing may exist all the same: the caller asks for it alone, as it does
        for every one where the system refuses the call.
        """
        ...


@dataclass(frozen=True, slots=True)
class Inspected:
    """What an inspection found; not `proven` where the system does not show what it would take."""

    message: str
    proven: bool = True


Inspection = Callable[[], Awaitable[Inspected]]
"""Asks about one thing; raises what is wrong with it, with what to do."""


@runtime_checkable
class Preflight(Protocol):
    """A system that shows, without opening a ticket, whether one could be opened as declared."""

    def preflight_checks(self) -> Mapping[str, Inspection]:
        """Return what can be asked, by what it is about; nothing is written by any of it."""
        ...


@runtime_checkable
class Cancels(Protocol):
    """A system whose tickets can be withdrawn."""

    async def cancel(self, ticket_id: str, reason: str) -> None:
        """Withdraw the ticket, with the reason for its readers."""
        ...


@runtime_checkable
class Comments(Protocol):
    """A system whose tickets take comments."""

    async def comment(self, ticket_id: str, text: str) -> None:
        """Add a comment."""
        ...
