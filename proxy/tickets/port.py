"""The port to ticket systems: read this page before writing an adapter.

An adapter is a class that satisfies `TicketSystem`, in a folder of its own with the same file names
as its neighbours: `system` (the class, and its `KIND`), `client` (the HTTP API), `declaration` (the
settings that people write) and `preflight`. `kinds` lists it, and tests/tickets/
test_ticket_contract.py must pass for it.

The other protocols are optional capabilities. The program tests with `isinstance` whether a system
has one, so a system must not have the method if its declaration does not describe the call.

Rules for every adapter:
- It raises only `TemporaryError`, `PermanentError` (with `NotFoundError` and `ConflictError`) and
  `ConfigurationError`. After a failed create, `maybe_sent` must be False only if certainly nothing
  was sent, because then the create is repeated without looking for a ticket.
- It never decides. The flow does, from the outcome that `fetch` returns.
- An answer that cannot be read is an error, never "not found" and never "nothing changed".
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from proxy.domain.models import ApprovalRequest, Ticket, TicketHint


class TicketSystem(Protocol):
    """One ticket system under one declaration."""

    @property
    def name(self) -> str:
        """The name in the settings, for messages."""
        ...

    @property
    def deadline(self) -> int:
        """Milliseconds that one operation may take, including retries and all its calls."""
        ...

    @property
    def settle(self) -> int:
        """The longest time, in milliseconds, for which `find` may not see a new ticket."""
        ...

    @property
    def finds(self) -> bool:
        """True if `find` can prove that a ticket does not exist."""
        ...

    @property
    def idempotent(self) -> bool:
        """True if creates with the same correlation id lead to one ticket."""
        ...

    async def find(self, correlation_id: str) -> Sequence[Ticket]:
        """Return every ticket that carries the correlation id, oldest first.

        An empty answer is taken as proof that no ticket exists, and a ticket is created. So the
        adapter compares what came back with what it asked for: systems ignore filters that they do
        not know.
        """
        ...

    async def open(self, request: ApprovalRequest) -> Ticket:
        """Create the ticket, with the correlation id in it; see `maybe_sent` above for errors."""
        ...

    async def fetch(self, ticket_id: str) -> Ticket:
        """Read the ticket: the only source of an outcome.

        Raises:
            NotFoundError: the system does not show the ticket, or not any more.
        """
        ...

    async def ping(self) -> None:
        """Prove that the system answers and accepts our credential."""
        ...


@runtime_checkable
class PushesEvents(Protocol):
    """A system that sends an event when a ticket changes."""

    def read_event(self, headers: Mapping[str, str], body: bytes, *, now: int) -> TicketHint:
        """Verify and parse an event; `now` is in milliseconds since the epoch.

        Raises:
            UnauthorizedError: the proof is wrong; one message for all causes.
            InvalidRequestError: the proof is right, but the event names no ticket.
        """
        ...


@runtime_checkable
class AnswersChallenges(Protocol):
    """A system that checks that an event URL is ours before it uses it."""

    def answer_challenge(self, method: str, query: Mapping[str, str], body: bytes) -> Any:
        """Return the expected answer, a text or a JSON tree; None if this is not a challenge."""
        ...


@runtime_checkable
class ListsChanges(Protocol):
    """A system that lists everything that changed, however many tickets are open."""

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
        """The number of tickets that one call may name."""
        ...

    async def fetch_many(self, ticket_ids: Sequence[str]) -> Mapping[str, Ticket]:
        """Read at most `most_fetched` tickets; return those in the answer, by the id asked for.

        A ticket that is missing from the answer may still exist: the caller fetches it alone, as it
        fetches every ticket alone if the system refuses the call.
        """
        ...


@dataclass(frozen=True, slots=True)
class Inspected:
    """The result of a preflight check that found no mistake."""

    message: str
    """What was checked, for the operator."""
    proven: bool = True
    """False if the system does not show enough to be sure."""


Inspection = Callable[[], Awaitable[Inspected]]
"""One preflight check. It raises ConfigurationError for a mistake, with what to do about it."""


@runtime_checkable
class Preflight(Protocol):
    """A system that shows, without a ticket being opened, whether one could be opened."""

    def preflight_checks(self) -> Mapping[str, Inspection]:
        """Return the checks by their names; none of them changes anything in the system."""
        ...


@runtime_checkable
class Cancels(Protocol):
    """A system whose tickets can be withdrawn."""

    async def cancel(self, ticket_id: str, reason: str) -> None:
        """Withdraw the ticket, with the reason for its readers.

        Raises:
            ConflictError: the ticket is decided already, or cannot be withdrawn any more.
        """
        ...


@runtime_checkable
class Comments(Protocol):
    """A system whose tickets take comments."""

    async def comment(self, ticket_id: str, text: str) -> None:
        """Add a comment to the ticket."""
        ...
