"""What can happen to an approval request: each event and the fields that it changes.

Which event is possible in which state, and where it leads, is the table in `lifecycle`.
"""

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from proxy.domain.models import Decision, Details, Fulfilment, Record, State, Ticket
from proxy.domain.replace import replace

ACTIVE = (State.RECEIVED, State.OPENING, State.PENDING, State.DECIDED, State.FULFILLING)
"""The states in which the worker goes on by itself."""

PARKED = (State.HELD, State.DEAD)
"""The states in which it does not, until an operator acts or the decision deadline passes."""


def without_failures(record: Record) -> Record:
    """Return the record without its failures: a new stage begins with a clean count."""
    return replace(record, attempt=0, waited=0, waited_before_code=0, refused_at=0, refusals=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened at a time (milliseconds since the epoch)."""

    event_code: ClassVar[str]
    """The name of the event in histories and audit files; stored, so it never changes."""

    at: int

    def apply(self, record: Record) -> Record:
        """Return the record with this event's fields; the table sets the state."""
        return replace(record, code="", resume_state=None)

    def write(self, texts: Details) -> Details:
        """Return the texts with what this event says; a good event clears the last reason."""
        return replace(texts, reason="")


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateStarted(Event):
    """A create is about to be sent: the intent, stored before the act."""

    event_code: ClassVar[str] = "Sending"

    @override
    def apply(self, record: Record) -> Record:
        return replace(Event.apply(self, record), sent_at=self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed(Event):
    """Nothing came of an attempt.

    `delay` is the request's own time; 0 means that the destination is paused, which uses up
    nothing. `refused` marks a 401 or 403 that may concern this one request.
    """

    event_code: ClassVar[str] = "Postponed"

    code: str
    reason: str
    delay: int = 0
    refused: bool = False

    @override
    def apply(self, record: Record) -> Record:
        postponed = replace(
            record,
            # a request set aside keeps the reason why
            code=record.code if record.state in PARKED else self.code,
            refused_at=self.at if self.refused else record.refused_at,
            refusals=record.refusals + self.refused,
        )
        if not self.delay:
            return postponed
        return replace(
            postponed,
            attempt=record.attempt + 1,
            waited=record.waited + self.delay,
            waited_before_code=record.waited_before_code
            if record.code == self.code
            else record.waited,
        )

    @override
    def write(self, texts: Details) -> Details:
        return replace(texts, reason=self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateNotSent(Postponed):
    """A create certainly made no ticket, so it may be sent again."""

    event_code: ClassVar[str] = "NotSent"

    @override
    def apply(self, record: Record) -> Record:
        return replace(Postponed.apply(self, record), sent_at=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackNotSent(Postponed):
    """A callback certainly had no effect, so a later 409 is not its echo."""

    event_code: ClassVar[str] = "Uncalled"

    @override
    def apply(self, record: Record) -> Record:
        return replace(Postponed.apply(self, record), callbacks_sent=record.callbacks_sent - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketMissing(Postponed):
    """A known ticket was not shown: never a decision."""

    event_code: ClassVar[str] = "Missing"

    @override
    def apply(self, record: Record) -> Record:
        return replace(Postponed.apply(self, record), missing=record.missing + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketOpened(Event):
    """The ticket is known: created, found by a look-up, or attached by an operator."""

    event_code: ClassVar[str] = "Opened"

    ticket: Ticket
    how: str = "created"

    @override
    def apply(self, record: Record) -> Record:
        return replace(
            Event.apply(self, record),
            ticket_id=self.ticket.id,
            ticket_key=self.ticket.key,
            native_status=self.ticket.native_status,
            polls=0,
            missing=0,
        )

    @override
    def write(self, texts: Details) -> Details:
        return replace(texts, reason="", ticket_url=self.ticket.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketRead(Event):
    """The ticket was read and says nothing final."""

    event_code: ClassVar[str] = "Read"

    ticket: Ticket

    @override
    def apply(self, record: Record) -> Record:
        return replace(
            without_failures(Event.apply(self, record)),
            native_status=self.ticket.native_status,
            ticket_key=self.ticket.key or record.ticket_key,
            key_fields=record.key_fields or self.ticket.key_fields,
            polls=record.polls + 1,
            missing=0,
        )

    @override
    def write(self, texts: Details) -> Details:
        return replace(texts, reason="", ticket_url=self.ticket.url or texts.ticket_url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided(Event):
    """An outcome was accepted as the decision; the first one wins.

    `evidence` names what it was read from, `comment` is the approver's. `ours`: not the ticket
    decided, so it must hear of it, if there is or may be one. `reason` is an operator's, for the
    history alone.
    """

    event_code: ClassVar[str] = "Decided"

    decision: Decision
    by: str = ""
    native_status: str = ""
    comment: str = ""
    evidence: str = ""
    reason: str = ""
    without_ticket: bool = False

    @override
    def apply(self, record: Record) -> Record:
        return replace(
            Event.apply(self, record),
            decided_without_ticket=int(self.without_ticket),
            ticket_notice_due=int(self.without_ticket and bool(record.ticket_id or record.sent_at)),
            decision=self.decision,
            decided_by=self.by,
            decided_at=self.at,
            native_status=self.native_status or record.native_status,
        )

    @override
    def write(self, texts: Details) -> Details:
        return replace(texts, reason="", comment=self.comment, evidence=self.evidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class FulfilmentAwaited(Event):
    """The callback waits until the access is really there, at the longest until `by`."""

    event_code: ClassVar[str] = "FulfilmentAwaited"

    by: int

    @override
    def apply(self, record: Record) -> Record:
        awaited = Event.apply(self, record)
        return replace(awaited, fulfilment=Fulfilment.WAITING, fulfil_by=self.by, polls=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fulfilled(Event):
    """The access is there, or it never will be; `evidence` names who said so, if not the ticket.

    `reason` is theirs, for the history alone.
    """

    event_code: ClassVar[str] = "Fulfilled"

    fulfilment: Fulfilment
    native_status: str = ""
    evidence: str = ""
    reason: str = ""

    @override
    def apply(self, record: Record) -> Record:
        return replace(
            without_failures(Event.apply(self, record)),
            fulfilment=self.fulfilment,
            native_status=self.native_status or record.native_status,
        )

    @override
    def write(self, texts: Details) -> Details:
        told = [it for it in (texts.evidence, self.evidence) if it]
        return replace(Event.write(self, texts), evidence="; ".join(told))


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackStarted(Event):
    """A callback is about to be sent: from here on a 409 may mean that it arrived before."""

    event_code: ClassVar[str] = "CallingBack"

    body: str

    @override
    def apply(self, record: Record) -> Record:
        return replace(record, callbacks_sent=record.callbacks_sent + 1)

    @override
    def write(self, texts: Details) -> Details:
        return replace(texts, callback=self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackAccepted(Event):
    """witboost has the final status; `note` says how we know where it is not a plain 2xx.

    `write_back`: the ticket shall hear of it.
    """

    event_code: ClassVar[str] = "CalledBack"

    note: str = ""
    write_back: bool = False

    @override
    def write(self, texts: Details) -> Details:
        return replace(texts, reason=self.note)

    @override
    def apply(self, record: Record) -> Record:
        untold = record.ticket_notice_due or int(self.write_back and bool(record.ticket_id))
        return replace(Event.apply(self, record), finished_at=self.at, ticket_notice_due=untold)


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp(Event):
    """Given up, with the reason."""

    event_code: ClassVar[str] = "Died"

    code: str
    reason: str

    @override
    def apply(self, record: Record) -> Record:
        # setting aside twice keeps the first place to return to
        back = record.state if record.state in ACTIVE else record.resume_state
        finished = self.at if record.decision is not None else 0
        return replace(record, resume_state=back, code=self.code, finished_at=finished)

    @override
    def write(self, texts: Details) -> Details:
        return replace(texts, reason=self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(GivenUp):
    """A person must look. `fired`: the decision deadline led here, and it fires only once."""

    event_code: ClassVar[str] = "Held"

    deadline_fired: bool = False

    @override
    def apply(self, record: Record) -> Record:
        aside = GivenUp.apply(self, record)
        return replace(
            aside, deadline_fired=1 if self.deadline_fired else record.deadline_fired, finished_at=0
        )
