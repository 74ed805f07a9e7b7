"""The nouns: approval request, ticket, decision, record. Plain immutable values.

Times are milliseconds since the epoch, durations are milliseconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

TRIAL: Final = "(trial)"
"""The `instance` of a trial: a request that an operator opened to try a ticket system."""


class State(StrEnum):
    """The state of an approval request; `lifecycle` has the transitions."""

    RECEIVED = "received"
    OPENING = "opening"
    PENDING = "pending"
    DECIDED = "decided"
    FULFILLING = "fulfilling"
    DONE = "done"
    HELD = "held"
    DEAD = "dead"


class Outcome(StrEnum):
    """The meaning of a native status, by the status map; an unknown status has none."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Decision(StrEnum):
    """The accepted outcome, written once."""

    APPROVED = "approved"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    FAILED = "failed"


class Fulfilment(StrEnum):
    """The state of the access after an approval: approved is not granted."""

    WAITING = "waiting"
    FULFILLED = "fulfilled"
    FAILED = "failed"


class Verb(StrEnum):
    """The kind of change that a hook call asks for."""

    GRANT = "grant"
    REVOKE = "revoke"


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """The access request, read from a hook call.

    Only `identities`, `verb` and `motivation` have a documented place. The other fields are read
    where they are present, because witboost's documentation does not promise them.
    """

    correlation_id: str
    """Our id of the request, written into the ticket."""
    respond_to: str
    """The URL that witboost waits to have called."""
    fields: Mapping[str, Any]
    """All fields of the hook call, those that we do not understand included."""
    verb: Verb
    """Grant or revoke."""
    identities: Sequence[str]
    """The people and groups that get or lose the access."""
    motivation: str
    """The requester's reason."""
    requester: str
    """The person who asked."""
    resource: str
    """The URN of the resource, or its name if it has no URN."""
    request_id: str
    """The `X-Request-ID` of the hook call."""
    requester_email: str = ""
    """The requester's e-mail address, if the settings know the person."""
    resource_urn: str = ""
    resource_name: str = ""
    resource_owner: str = ""
    """The owner of the resource."""
    resource_link: str = ""
    """A link to the resource."""
    duration: str = ""
    """How long the access shall last, as the hook call says it."""
    expires: str = ""
    """When the access shall end, as the hook call says it."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket as its system shows it now; a field is empty where the system does not show it."""

    id: str
    """The id by which the ticket is followed; it survives a move to another project."""
    key: str
    """The key that people use, such as INC0012 or ABC-1."""
    url: str = ""
    native_status: str = ""
    """The status in the ticket system's own words."""
    outcome: Outcome | None = None
    """The meaning of the native status, or None if the status map does not know it."""
    fulfilment: Fulfilment | None = None
    """The state of the access, if the fulfilment map knows the native status."""
    decided_by: str = ""
    """The name of the person who decided, for people to read."""
    decided_at: str = ""
    comment: str = ""
    """The comment of the person who decided."""
    created_at: str = ""
    deciders: Sequence[str] = ()
    """All names by which the system knows who decided, such as account and e-mail address."""
    decider_groups: Sequence[str] = ()
    """The groups for which they decided."""
    key_fields: str = ""
    """The digest of the fields that the decision is about."""
    note: str = ""
    """A warning about a new ticket for a person to read."""
    correlation_values: Sequence[str] = ()
    """The values in the field where the correlation id belongs."""


@dataclass(frozen=True, slots=True)
class TicketHint:
    """The content of a verified event: look at these tickets. It is never a decision."""

    refs: Sequence[str]
    """Ids or keys of tickets, and the correlation id if the event has it."""
    replay_keys: Sequence[str]
    """Keys that are the same for every repeat of one event; those that its proof covers first."""


@dataclass(frozen=True)
class Record:
    """The record of an approval request: the small values that decide what happens next."""

    id: str
    state: State
    instance: str
    """The name of the witboost instance."""
    system: str
    """The name of the ticket system; empty if the route decides without one."""
    route: str
    """The hash of the route."""
    client: str
    """The name of the API client that sent the hook call."""
    content_digest: str
    """The keyed digest of the hook call's fields."""
    admitted_at: int
    deadline_at: int
    """When the decision is due."""
    url_digest: str = ""
    """The keyed digest of the normalised respondToUrl."""
    request_id: str = ""
    run_id: str = ""
    """The run id of the store's server at admission, or of a later one whose doubt is recorded."""
    fence: int = 0
    """Rises with every claim and every operator action, so that late writers are refused."""
    attempt: int = 0
    """Failures in a row in the present state."""
    waited: int = 0
    """The request's own time that these failures cost; it stands still during a pause."""
    waited_before_code: int = 0
    """The value of `waited` when the present `code` began."""
    sent_at: int = 0
    """When the last create was sent that may have reached the ticket system."""
    ticket_id: str = ""
    ticket_key: str = ""
    native_status: str = ""
    polls: int = 0
    """Reads of the ticket in the present state."""
    missing: int = 0
    """Reads in a row that did not find the ticket."""
    decision: Decision | None = None
    decided_by: str = ""
    """The name of the person, route or operator who decided."""
    decided_at: int = 0
    fulfilment: Fulfilment | None = None
    fulfil_by: int = 0
    """When the access is due, after an approval."""
    callbacks_sent: int = 0
    """Callbacks that may have reached witboost."""
    conflicts: int = 0
    """Later outcomes that contradict the accepted decision."""
    decided_without_ticket: int = 0
    """1 if an operator, a deadline or a route decided."""
    ticket_notice_due: int = 0
    """1 if the ticket must still be withdrawn or get a comment."""
    announced: int = 0
    """1 if witboost got the link to the open ticket."""
    key_fields: str = ""
    """The digest of the ticket's key fields at its first read."""
    refused_at: int = 0
    """When the last 401 or 403 came that may concern this request alone."""
    refusals: int = 0
    """How many of these came in a row."""
    deadline_fired: int = 0
    """1 if the decision deadline has held the request once."""
    resume_state: State | None = None
    """The state to which a held or dead request returns."""
    code: str = ""
    """The code of the reason for which the request waits or is parked."""
    finished_at: int = 0
    version: int = 0
    """The layout of the store at admission."""

    @property
    def trial(self) -> bool:
        """True if an operator opened this request to try a ticket system."""
        return self.instance == TRIAL

    @property
    def may_have_unknown_ticket(self) -> bool:
        """True if a ticket may exist whose id we do not know, and that still needs our attention.

        If the ticket system refused the create and that decided the request, there is none.
        """
        decided = self.decision is not None and not self.decided_without_ticket
        return bool(self.system and not (self.ticket_id or self.finished_at or decided))

    @property
    def final(self) -> bool:
        """True if the respondToUrl may be used again: done, or dead after its decision."""
        return self.state is State.DONE or (self.state is State.DEAD and self.decision is not None)


@dataclass(frozen=True)
class Details:
    """The texts of a request: for people to read, or too long for the record."""

    reason: str = ""
    """Why the request waits or is parked."""
    ticket_url: str = ""
    comment: str = ""
    """The comment of the person who decided."""
    evidence: str = ""
    """The source of the decision and of the fulfilment."""
    callback: str = ""
    """The body of the callback, the same for every attempt."""


@dataclass(frozen=True)
class StoredRequest:
    """A record with its texts and its hook call."""

    record: Record
    details: Details
    payload: bytes
    """The body of the hook call as it came."""
