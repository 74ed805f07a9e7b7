"""The events of the callback that sends the final status to witboost."""

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from proxy.domain.events.base import Event, Postponed
from proxy.domain.models import Details, Record
from proxy.domain.replace import replace


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackNotSent(Postponed):
    """A callback had no effect, certainly, so a later 409 cannot come from it."""

    event_code: ClassVar[str] = "Uncalled"

    @override
    def apply(self, record: Record) -> Record:
        return replace(Postponed.apply(self, record), callbacks_sent=record.callbacks_sent - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackStarted(Event):
    """A callback is about to be sent; from now on, a 409 may mean that it has arrived."""

    event_code: ClassVar[str] = "CallingBack"

    body: str
    """The body, which every later attempt repeats."""

    @override
    def apply(self, record: Record) -> Record:
        return replace(record, callbacks_sent=record.callbacks_sent + 1)

    @override
    def write(self, texts: Details) -> Details:
        return replace(texts, callback=self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackAccepted(Event):
    """witboost has the final status."""

    event_code: ClassVar[str] = "CalledBack"

    note: str = ""
    """How we know, if the answer was not a plain 2xx."""
    write_back: bool = False
    """True if the ticket shall get a comment about it."""

    @override
    def write(self, texts: Details) -> Details:
        return replace(texts, reason=self.note)

    @override
    def apply(self, record: Record) -> Record:
        notice = record.ticket_notice_due or int(self.write_back and bool(record.ticket_id))
        return replace(Event.apply(self, record), finished_at=self.at, ticket_notice_due=notice)
