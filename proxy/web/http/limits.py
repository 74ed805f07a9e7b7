"""What the web side wants of the flow and of the operators' operations, and its limits."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from proxy.domain.models import StoredRequest, TicketHint
from proxy.store.requests import Admitted
from proxy.witboost.hook_call import HookCall


class Flow(Protocol):
    """The part of the story that begins at the listener."""

    async def admit(self, call: HookCall, *, instance: str, client: str) -> Admitted:
        """Store a hook call; durable when this returns.

        Raises:
            InvalidRequest: the call cannot be an approval request.
            TemporaryError: nothing was stored for certain; the caller sends it again.
        """
        ...

    async def hint(self, system: str, hint: TicketHint) -> None:
        """Make the requests that an event names due soon."""
        ...


class Tries(Protocol):
    """Opens a request to try a ticket system."""

    async def open_trial(self, system: str, fields: Mapping[str, Any], *, by: str) -> str:
        """Return its correlation id.

        Raises:
            InvalidRequest: no route leads to this system.
        """
        ...


class OperatorActions(Tries, Protocol):
    """What an operator may do to a request."""

    async def allowed_fields(self, entry: StoredRequest) -> Collection[str] | None:
        """Return the fields of a hook call that may be shown; None for all."""
        ...

    async def retry(
        self, correlation_id: str, *, by: str, reason: str, no_ticket_exists: bool = False
    ) -> StoredRequest:
        """Send a request back to work.

        Raises:
            NotFound: there is no such request.
            InvalidRequest: it is in no state for this, and the message says which way is open.
        """
        ...

    async def attach(
        self, correlation_id: str, ticket: str, *, by: str, reason: str
    ) -> StoredRequest:
        """Tell a request which ticket is its own; raises as `retry` does."""
        ...

    async def release(self, correlation_id: str, *, by: str, reason: str) -> StoredRequest:
        """Accept the approval that a guard holds back; raises as `retry` does."""
        ...

    async def reject(self, correlation_id: str, *, by: str, reason: str) -> StoredRequest:
        """Decide without the ticket: no; raises as `retry` does."""
        ...

    async def cancel(self, correlation_id: str, *, by: str, reason: str) -> StoredRequest:
        """End a request as not wanted any more; raises as `retry` does."""
        ...

    async def refresh(self, correlation_id: str, *, by: str, reason: str) -> StoredRequest:
        """Go on with a request now; raises as `retry` does."""
        ...

    async def reroute(self, correlation_id: str, *, by: str, reason: str) -> StoredRequest:
        """Choose a request's route again; raises as `retry` does."""
        ...


class Action(Protocol):
    """An operation that wants nothing but a reason."""

    async def __call__(self, correlation_id: str, *, by: str, reason: str) -> StoredRequest:
        """Act on a request; raises as `Operations.retry` does."""
        ...


class Crew(Protocol):
    """The worker processes of this process, if it has any."""

    @property
    def down(self) -> Mapping[str, str]:
        """Those that ended and do not work again yet, each with how that was."""
        ...

    async def metrics(self) -> Mapping[str, bytes]:
        """Return the metrics of each, in the text format."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a caller may ask of us: bytes, levels of JSON, milliseconds for a body."""

    body: int = 262_144
    event: int = 65_536
    depth: int = 32
    body_deadline: int = 10_000
