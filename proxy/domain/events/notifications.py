"""Notifications other than the final status; they change nothing about the request itself."""

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from proxy.domain.events.base import Event
from proxy.domain.models import Details, Record
from proxy.domain.replace import replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced(Event):
    """witboost got the link to the open ticket, or the attempt failed; it is not repeated."""

    event_code: ClassVar[str] = "Announced"

    note: str = ""

    @override
    def apply(self, record: Record) -> Record:
        return replace(record, announced=1)

    @override
    def write(self, texts: Details) -> Details:
        return texts


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketNotified(Event):
    """The ticket was withdrawn or got a comment, or that was given up; `note` says which."""

    event_code: ClassVar[str] = "Told"

    note: str

    @override
    def apply(self, record: Record) -> Record:
        return replace(Event.apply(self, record), ticket_notice_due=0)

    @override
    def write(self, texts: Details) -> Details:
        return texts
