"""The nouns: approval request, ticket, decision, route. Plain immutable values.

Points in time are milliseconds since the epoch, durations are milliseconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

TRIAL: Final = "(trial)"
"""In place of a witboost instance: a request that an operator opened to try a ticket system."""


class State(StrEnum):
    """Where an approval request stands; the order of work is in `lifecycle`."""

    RECEIVED = "received"
    OPENING = "opening"
    PENDING = "pending"
    DECIDED = "decided"
    FULFILLING = "fulfilling"
    DONE = "done"
    HELD = "held"
    DEAD = "dead"


class Outcome(StrEnum):
    """What a status map makes of a native status. An unknown native status has no outcome."""

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
    """Whether the access is really there: approved is not granted."""

    WAITING = "waiting"
    FULFILLED = "fulfilled"
    FAILED = "failed"


class Verb(StrEnum):
    """What a hook call asks for."""

    GRANT = "grant"
    REVOKE = "revoke"


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """What somebody asked for, read from a hook call; `fields` keeps what we do not understand.

    Only `identities`, `verb` and `motivation` have a place we know; requester, resource and for how
    long are read where they are present, because witboost's documentation does not promise them.
    `resource` is its URN where there is one, else its name. `requester_email` is the address by
    which the settings know the requester; empty where they do not.
    """

    correlation_id: str
    respond_to: str
    fields: Mapping[str, Any]
    verb: Verb
    identities: Sequence[str]
    motivation: str
    requester: str
    resource: str
    request_id: str
    requester_email: str = ""
    resource_urn: str = ""
    resource_name: str = ""
    resource_owner: str = ""
    resource_link: str = ""
    duration: str = ""
    expires: str = ""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One ticket as its system shows it now. Followed by `id`; `key` is what people say.

    `decided_by` is how people name who decided; `deciders` are all the ways in which the system
    names that person or those persons (account, e-mail address), `decider_groups` the groups that
    they decided for, `key_fields` is a digest of the fields that a decision is about: guards
    compare them. `note` is what a person should know of a new ticket, `carries` what stands where
    the correlation id of its request does. Each is empty where the system does not say.
    """

    id: str
    key: str
    url: str = ""
    native_status: str = ""
    outcome: Outcome | None = None
    fulfilment: Fulfilment | None = None
    decided_by: str = ""
    decided_at: str = ""
    comment: str = ""
    created_at: str = ""
    deciders: Sequence[str] = ()
    decider_groups: Sequence[str] = ()
    key_fields: str = ""
    note: str = ""
    correlation_values: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class TicketHint:
    """What a verified event says: look at this ticket. Never a decision.

    `refs` are ids or keys of the ticket, the correlation id among them where the event has it;
    `replay_keys` are the same for every repeat of one event; what its proof covers comes first.
    """

    refs: Sequence[str]
    replay_keys: Sequence[str]


@dataclass(frozen=True)
class Record:
    """The truth about one approval request: small values that decide what happens next.

    `url` is the digest of the normalised respondToUrl, `content` that of the fields, `run_id` the
    store server's at admission, or that of one which came later and whose doubt is noted. `fence`
    rises with every claim and every operator action, so a late writer is refused.
    `attempt` counts failures in a row of the present state and `waited` the pauses they cost:
    the request's own time, which stands still while a destination is paused; `before` is what they
    had cost when the present `code` began. `back` is the state
    that a held or dead request returns to. `sent_at` is the moment of the last create that may
    have reached the ticket system; `doubt` says that its answer was lost. `calls` counts callbacks
    that may have reached witboost. `ours` says that an operator, a deadline or a route decided and
    not the ticket, `untold` that the ticket must still hear how its request ended, `announced` that
    witboost heard of the ticket while it was open. `refused_at` is the last 401 or 403 that may be
    about this one request, `refusals` how many there were in a row. `key_fields` is the digest of
    the ticket's key fields when it was first read. `version` is the store's layout when it was
    admitted.
    """

    id: str
    state: State
    instance: str
    system: str
    route: str
    client: str
    content_digest: str
    admitted_at: int
    deadline_at: int
    url_digest: str = ""
    request_id: str = ""
    run_id: str = ""
    fence: int = 0
    attempt: int = 0
    waited: int = 0
    waited_before_code: int = 0
    sent_at: int = 0
    ticket_id: str = ""
    ticket_key: str = ""
    native_status: str = ""
    polls: int = 0
    missing: int = 0
    decision: Decision | None = None
    decided_by: str = ""
    decided_at: int = 0
    fulfilment: Fulfilment | None = None
    fulfil_by: int = 0
    callbacks_sent: int = 0
    conflicts: int = 0
    decided_without_ticket: int = 0
    ticket_notice_due: int = 0
    announced: int = 0
    key_fields: str = ""
    refused_at: int = 0
    refusals: int = 0
    deadline_fired: int = 0
    resume_state: State | None = None
    code: str = ""
    finished_at: int = 0
    version: int = 0

    @property
    def trial(self) -> bool:
        """Whether nobody waits for this request but the operator who tries a ticket system."""
        return self.instance == TRIAL

    @property
    def may_have_unknown_ticket(self) -> bool:
        """Whether a ticket that we do not know of would matter: one may be there, and not be told.

        Where the ticket system refused to create it and that decided, there is none.
        """
        decided = self.decision is not None and not self.decided_without_ticket
        return bool(self.system and not (self.ticket_id or self.finished_at or decided))

    @property
    def final(self) -> bool:
        """Whether this request's URL may be used again: done, or dead after its decision."""
        return self.state is State.DONE or (self.state is State.DEAD and self.decision is not None)


@dataclass(frozen=True)
class Details:
    """What a person reads beside a record, and what is too long for its small hash."""

    reason: str = ""
    ticket_url: str = ""
    comment: str = ""
    evidence: str = ""
    callback: str = ""


@dataclass(frozen=True)
class StoredRequest:
    """A record with what lies beside it: texts and the hook call's body as it came."""

    record: Record
    details: Details
    payload: bytes
