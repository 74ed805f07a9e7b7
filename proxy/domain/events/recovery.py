"""What happens to a request whose record was lost, or may be older than what was done."""

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
    """Whether a create was sent while it was not known what had become of the one before.

    Nothing was found then; where the first was delivered later than anything may be, there are two.
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
    """Return a record without a ticket as after a create, sent at that moment and never answered.

    One that was decided without a ticket still has to look for it.
    """
    if not record.may_have_unknown_ticket:
        return record
    back = (
        State.OPENING
        if record.state in PARKED and record.resume_state in _BEFORE
        else record.resume_state
    )
    return replace(
        record, resume_state=back, sent_at=at, ticket_notice_due=int(record.decision is not None)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateInDoubt(Event):
    """Another server of the store answers than at the admission: a create may be forgotten.

    It was restarted, failed over or was restored, and what was written last may be lost. `run_id`
    is the server that knows of the doubt.
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
    """A record was written back from the audit, which may lack the last that happened to it.

    Without a ticket, a create may have been sent meanwhile: as after a lost answer, a look-up comes
    first. A callback may have been sent as well, so that a 409 means that it arrived.
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
