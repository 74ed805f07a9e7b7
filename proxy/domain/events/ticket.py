"""The events of a ticket: created, found, read, decided, fulfilled."""

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from proxy.domain.events.base import Event, Postponed, without_failures
from proxy.domain.models import Decision, Details, Fulfilment, Record, Ticket
from proxy.domain.replace import replace


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateStarted(Event):
    """A create is about to be sent: the intent is stored before the act."""

    event_code: ClassVar[str] = "Sending"

    @override
    def apply(self, record: Record) -> Record:
        return replace(Event.apply(self, record), sent_at=self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateNotSent(Postponed):
    """A create made no ticket, certainly, so it may be sent again."""

    event_code: ClassVar[str] = "NotSent"

    @override
    def apply(self, record: Record) -> Record:
        return replace(Postponed.apply(self, record), sent_at=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketMissing(Postponed):
    """A known ticket was not found, which is never a decision."""

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
    """The ticket was read and is still pending."""

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
    """An outcome was accepted as the decision; the first one wins."""

    event_code: ClassVar[str] = "Decided"

    decision: Decision
    by: str = ""
    """The person, route or operator who decided."""
    native_status: str = ""
    """The status of the ticket that decided."""
    comment: str = ""
    """The comment of the person who decided."""
    evidence: str = ""
    """The source of the decision."""
    reason: str = ""
    """The reason of the operator who released it; for the history only."""
    without_ticket: bool = False
    """True if an operator, a deadline or a route decided, so that a ticket needs a notice."""

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
    """The request is approved, and the callback waits until the access was given."""

    event_code: ClassVar[str] = "FulfilmentAwaited"

    by: int
    """The fulfilment deadline."""

    @override
    def apply(self, record: Record) -> Record:
        awaited = Event.apply(self, record)
        return replace(awaited, fulfilment=Fulfilment.WAITING, fulfil_by=self.by, polls=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fulfilled(Event):
    """The access was given, or it never will be."""

    event_code: ClassVar[str] = "Fulfilled"

    fulfilment: Fulfilment
    native_status: str = ""
    """The status of the ticket, if the ticket said so."""
    evidence: str = ""
    """The operator who said so, if not the ticket."""
    reason: str = ""
    """The operator's reason; for the history only."""

    @override
    def apply(self, record: Record) -> Record:
        return replace(
            without_failures(Event.apply(self, record)),
            fulfilment=self.fulfilment,
            native_status=self.native_status or record.native_status,
        )

    @override
    def write(self, texts: Details) -> Details:
        evidence = "; ".join(filter(None, (texts.evidence, self.evidence)))
        return replace(Event.write(self, texts), evidence=evidence)
