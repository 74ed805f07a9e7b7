"""Recovery: events of a request whose record was lost, or may be older than what was done."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from proxy.domain.events.base import PARKED, Event
from proxy.domain.events.ticket import CreateNotSent, CreateStarted
from proxy.domain.models import Details, Record, State
from proxy.domain.replace import replace

_BEFORE = (State.RECEIVED, State.OPENING)


def sent_again(events: Iterable[str]) -> bool:
    """Return True if a second create may have made a second ticket.

    That is so if a create was sent while the one before was in doubt. The look-up between them
    found nothing, but the first create may have been delivered after the look-up.
    """
    in_doubt = False
    for event in events:
        if event == CreateStarted.event_code and in_doubt:
            return True
        in_doubt = event == CreateStarted.event_code or (
            in_doubt and event != CreateNotSent.event_code
        )
    return False


def _doubted(record: Record, at: int) -> Record:
    """Return the record as after a create that was sent at that time and never answered.

    If it was decided without a ticket, the ticket still has to be looked up and withdrawn.
    """
    if not record.may_have_unknown_ticket:
        return record
    resume = (
        State.OPENING
        if record.state in PARKED and record.resume_state in _BEFORE
        else record.resume_state
    )
    return replace(
        record, resume_state=resume, sent_at=at, ticket_notice_due=int(record.decision is not None)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateInDoubt(Event):
    """The store may have lost the intent of a create.

    Another server answers than at the admission: the store was restarted, failed over or restored,
    and the last writes may be lost. `run_id` is the server that has recorded this doubt.
    """

    event_code: ClassVar[str] = "Doubted"

    run_id: str
    reason: str

    @override
    def apply(self, record: Record) -> Record:
        return replace(_doubted(record, self.at), run_id=self.run_id)

    @override
    def write(self, texts: Details) -> Details:
        return texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored(Event):
    """A record was written back from the audit, which may lack the latest events.

    If it has no ticket, a create may have been sent meanwhile, so a look-up comes first, as after
    a lost answer. A callback may have been sent too, so a 409 means that it arrived.
    """

    event_code: ClassVar[str] = "Restored"

    by: str
    reason: str

    @override
    def apply(self, record: Record) -> Record:
        unsettled = record.decision is not None and record.state is not State.DONE
        return replace(
            _doubted(record, self.at),
            callbacks_sent=max(record.callbacks_sent, 1) if unsettled else record.callbacks_sent,
            polls=0,
            missing=0,
        )

    @override
    def write(self, texts: Details) -> Details:
        return texts
