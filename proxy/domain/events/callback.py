"""The events of the callback that sends the final status to witboost."""

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from proxy.domain.events.base import Event, Postponed
from proxy.domain.models import Details, Record
from proxy.domain.replace import replace


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackNotSent(Postponed):
    """A callback certainly had no effect, so a later 409 is not its echo."""

    event_code: ClassVar[str] = "Uncalled"

    @override
    def apply(self, record: Record) -> Record:
        return replace(Postponed.apply(self, record), callbacks_sent=record.callbacks_sent - 1)


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
